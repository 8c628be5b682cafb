output "state_bucket" {
  description = "Bucket of the states: terraform init -backend-config=bucket=<this>."
  value       = aws_s3_bucket.state.bucket
}

output "ecr_repository_url" {
  description = "Where images are pushed to."
  value       = module.registry.repository_url
}

output "deploy_role_arns" {
  description = "Roles of the pipeline by environment."
  value       = { for environment, role in aws_iam_role.deploy : environment => role.arn }
}
