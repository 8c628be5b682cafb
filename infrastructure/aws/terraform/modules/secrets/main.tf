# Four secrets. Their generated values are ephemeral: they go to Secrets Manager and are in no plan and no state. Only the
# cache's token is, because ElastiCache takes it as an ordinary argument.
#
# Nothing here rotates by a schedule. The database's master login does (RDS owns it); the others are rotated by hand, in the
# ways that the README describes, because a new value has to reach running tasks in step.

locals {
  # A write-only value is written again when its version changes, so it never does: what an operator has put stays.
  written_once = 1

  generated = var.generate_values ? toset(["database_password", "auth_secret_key", "signing_secret"]) : toset([])
}

ephemeral "aws_secretsmanager_random_password" "this" {
  for_each = local.generated

  password_length     = 64
  exclude_punctuation = true
}

resource "aws_secretsmanager_secret" "db_credentials" {
  #checkov:skip=CKV2_AWS_57:rotated by hand with alternating logins, so that no running task loses its login (README)
  name                    = "${var.name}-db-credentials"
  description             = "The application's login to the database: {username, password}."
  kms_key_id              = aws_kms_key.data.arn
  recovery_window_in_days = var.recovery_window_days
  tags                    = merge(var.tags, { Component = "secrets", Purpose = "database login" })
}

resource "aws_secretsmanager_secret_version" "db_credentials" {
  count = var.generate_values ? 1 : 0

  secret_id = aws_secretsmanager_secret.db_credentials.id
  secret_string_wo = jsonencode({
    username = var.database_user
    password = ephemeral.aws_secretsmanager_random_password.this["database_password"].random_password
  })
  secret_string_wo_version = local.written_once
}

resource "aws_secretsmanager_secret" "auth_secret" {
  #checkov:skip=CKV2_AWS_57:the installation's master key and signing key; a rotation would destroy what they protect
  name                    = "${var.name}-auth-secret"
  description             = "The installation's master key and signing seed: {auth_secret_key, signing_secret}. Never rotate by schedule."
  kms_key_id              = aws_kms_key.data.arn
  recovery_window_in_days = 30
  tags                    = merge(var.tags, { Component = "secrets", Purpose = "installation keys" })

  # API keys, sealed provider keys and the audit log's signatures all hang on it.
  lifecycle {
    prevent_destroy = true
  }
}

resource "aws_secretsmanager_secret_version" "auth_secret" {
  count = var.generate_values ? 1 : 0

  secret_id = aws_secretsmanager_secret.auth_secret.id
  secret_string_wo = jsonencode({
    auth_secret_key = ephemeral.aws_secretsmanager_random_password.this["auth_secret_key"].random_password
    signing_secret  = ephemeral.aws_secretsmanager_random_password.this["signing_secret"].random_password
  })
  secret_string_wo_version = local.written_once

  lifecycle {
    prevent_destroy = true
  }
}

resource "aws_secretsmanager_secret" "cache_auth" {
  #checkov:skip=CKV2_AWS_57:rotated by hand: the cache keeps the old token valid until every task has the new one (README)
  name                    = "${var.name}-cache-auth"
  description             = "The cache's AUTH token: {token}."
  kms_key_id              = aws_kms_key.data.arn
  recovery_window_in_days = var.recovery_window_days
  tags                    = merge(var.tags, { Component = "secrets", Purpose = "cache login" })
}

# Another one each time it is read; the first is kept.
data "aws_secretsmanager_random_password" "cache" {
  count = var.generate_values ? 1 : 0

  password_length     = 64
  exclude_punctuation = true
}

resource "aws_secretsmanager_secret_version" "cache_auth" {
  count = var.generate_values ? 1 : 0

  secret_id     = aws_secretsmanager_secret.cache_auth.id
  secret_string = jsonencode({ token = data.aws_secretsmanager_random_password.cache[0].random_password })

  # What an operator puts stays, and reaches the cache at the next apply: the token is read from the secret.
  lifecycle {
    ignore_changes = [secret_string]
  }
}

data "aws_secretsmanager_secret_version" "cache_auth" {
  count = var.generate_values ? 0 : 1

  secret_id = aws_secretsmanager_secret.cache_auth.id
}

locals {
  cache_auth_token = jsondecode(one(concat(
    aws_secretsmanager_secret_version.cache_auth[*].secret_string,
    data.aws_secretsmanager_secret_version.cache_auth[*].secret_string,
  ))).token
}

# Provider and integration keys, a member each, put by an operator. Made empty, so that roles and canary can name it.
resource "aws_secretsmanager_secret" "api_keys" {
  #checkov:skip=CKV2_AWS_57:keys of other companies' services, which only their owners rotate
  name                    = "${var.name}-api-keys"
  description             = "Provider and integration keys by name, and the canary's API key as `canary`."
  kms_key_id              = aws_kms_key.data.arn
  recovery_window_in_days = var.recovery_window_days
  tags                    = merge(var.tags, { Component = "secrets", Purpose = "integration keys" })
}

resource "aws_secretsmanager_secret_version" "api_keys" {
  secret_id                = aws_secretsmanager_secret.api_keys.id
  secret_string_wo         = "{}"
  secret_string_wo_version = local.written_once
}
