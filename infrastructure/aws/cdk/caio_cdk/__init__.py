"""CAIO on AWS as CDK stacks: for whoever launches it in an account of their own. README.md says how."""
