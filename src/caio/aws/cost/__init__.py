"""What a deployment on AWS costs a month: its shape, a dated price table, and the estimate made of both."""
