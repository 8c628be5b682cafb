output "vault_arn" {
  description = "The vault's ARN."
  value       = aws_backup_vault.this.arn
}

output "vault_name" {
  description = "The vault's name."
  value       = aws_backup_vault.this.name
}

output "plan_id" {
  description = "The backup plan's id."
  value       = aws_backup_plan.this.id
}

output "role_arn" {
  description = "The role that backs up and restores, also for drills by hand."
  value       = aws_iam_role.this.arn
}
