output "kms_key_arn" {
  description = "The key that encrypts everything at rest: database, cache, buckets, queues, topics, logs, secrets."
  value       = aws_kms_key.data.arn
}

output "kms_key_id" {
  description = "That key's id."
  value       = aws_kms_key.data.key_id
}

output "tenants_key_arn" {
  description = "The key that wraps each tenant's own key (CAIO_KMS_KEY_ID)."
  value       = aws_kms_key.tenants.arn
}

output "tenants_key_id" {
  description = "That key's id."
  value       = aws_kms_key.tenants.key_id
}

output "secret_arns" {
  description = "ARNs of the secrets: db_credentials, auth_secret, cache_auth, api_keys."
  value = {
    db_credentials = aws_secretsmanager_secret.db_credentials.arn
    auth_secret    = aws_secretsmanager_secret.auth_secret.arn
    cache_auth     = aws_secretsmanager_secret.cache_auth.arn
    api_keys       = aws_secretsmanager_secret.api_keys.arn
  }
}

output "secret_names" {
  description = "Names of the secrets, for commands: the same keys as secret_arns."
  value = {
    db_credentials = aws_secretsmanager_secret.db_credentials.name
    auth_secret    = aws_secretsmanager_secret.auth_secret.name
    cache_auth     = aws_secretsmanager_secret.cache_auth.name
    api_keys       = aws_secretsmanager_secret.api_keys.name
  }
}

output "cache_auth_token" {
  description = "The cache's AUTH token as Secrets Manager holds it. The only secret in the state: ElastiCache takes it in no other way."
  value       = local.cache_auth_token
  sensitive   = true
}
