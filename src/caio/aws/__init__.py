"""Every line that knows AWS. See README.md. Nothing is imported here: a process without AWS never loads its client."""
