mock_provider "aws" {
  mock_data "aws_partition" {
    defaults = { partition = "aws" }
  }
  mock_data "aws_caller_identity" {
    defaults = { account_id = "111122223333" }
  }
}

variables {
  name        = "caio-production"
  environment = "production"
}

run "vault" {
  command = plan

  assert {
    condition     = aws_backup_vault.this.name == "caio-production-copies" && aws_kms_key.this.enable_key_rotation
    error_message = "The copies have a vault and a key of their own."
  }

  assert {
    condition     = length(aws_backup_vault_lock_configuration.this) == 0
    error_message = "A lock is for ever, so it is asked for."
  }
}

run "refuses_no_retention" {
  command = plan

  variables {
    min_retention_days = 0
  }

  expect_failures = [var.min_retention_days]
}
