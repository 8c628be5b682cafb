# Terraform's mock providers know no ephemeral resources, so this is the real provider, which plans what is new without asking
# AWS anything, and what it would look up is given. The installation planned here brings its own values; generated ones are
# planned and applied with the environments, against an emulator.

provider "aws" {
  region                      = "us-east-1"
  access_key                  = "none"
  secret_key                  = "none"
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_requesting_account_id  = true
}

override_data {
  target = data.aws_caller_identity.current
  values = { account_id = "111122223333" }
}

variables {
  name            = "caio-staging"
  environment     = "staging"
  generate_values = false
}

run "names" {
  command = plan

  assert {
    condition = alltrue([
      aws_secretsmanager_secret.db_credentials.name == "caio-staging-db-credentials",
      aws_secretsmanager_secret.auth_secret.name == "caio-staging-auth-secret",
      aws_secretsmanager_secret.cache_auth.name == "caio-staging-cache-auth",
      aws_secretsmanager_secret.api_keys.name == "caio-staging-api-keys",
      aws_kms_alias.data.name == "alias/caio-staging",
      aws_kms_alias.tenants.name == "alias/caio-staging-tenants",
    ])
    error_message = "Names that scripts and policies rely on have changed."
  }
}

run "auth_secret_survives" {
  command = plan

  variables {
    recovery_window_days = 7
  }

  assert {
    condition     = aws_secretsmanager_secret.auth_secret.recovery_window_in_days == 30
    error_message = "The auth secret must be recoverable for 30 days whatever the others are."
  }

  assert {
    condition     = aws_kms_key.data.enable_key_rotation && aws_kms_key.tenants.enable_key_rotation && aws_kms_key.tenants.deletion_window_in_days == 30
    error_message = "Both keys rotate, and the tenants' can be brought back for 30 days."
  }
}

run "no_service_is_locked_out" {
  command = plan

  assert {
    condition = length(setsubtract(
      ["logs.us-east-1.amazonaws.com", "cloudwatch.amazonaws.com", "budgets.amazonaws.com", "events.amazonaws.com", "cloudtrail.amazonaws.com"],
      flatten([for statement in jsondecode(aws_kms_key.data.policy).Statement : statement.Principal.Service if can(statement.Principal.Service)])
    )) == 0
    error_message = "A service that writes encrypted data on its own behalf is missing in the key's policy."
  }

  assert {
    condition = alltrue([
      for statement in jsondecode(aws_kms_key.data.policy).Statement :
      !can(statement.Condition) if try(contains(flatten([statement.Principal.Service]), "events.amazonaws.com"), false)
    ])
    error_message = "EventBridge states no source account to KMS: a condition would drop its events."
  }

  assert {
    condition = alltrue([
      for key in [aws_kms_key.data.policy, aws_kms_key.tenants.policy] :
      jsondecode(key).Statement[0].Principal.AWS == "arn:aws:iam::111122223333:root"
    ])
    error_message = "Without the account's own statement a key could never be changed again."
  }
}

run "refuses_an_immediate_deletion" {
  command = plan

  variables {
    recovery_window_days = 0
  }

  expect_failures = [var.recovery_window_days]
}

run "refuses_the_master_user" {
  command = plan

  variables {
    database_user = "caio_admin"
  }

  expect_failures = [var.database_user]
}
