output "vault_arn" {
  description = "The vault's ARN: copy_vault_arn of the module `backup`."
  value       = aws_backup_vault.this.arn
}
