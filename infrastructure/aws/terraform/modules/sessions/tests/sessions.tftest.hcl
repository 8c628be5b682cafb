mock_provider "aws" {}

variables {
  name        = "caio-production"
  environment = "production"
  kms_key_arn = "arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
}

run "table" {
  command = plan

  assert {
    condition     = aws_dynamodb_table.this.name == "caio-production-sessions" && aws_dynamodb_table.this.billing_mode == "PAY_PER_REQUEST"
    error_message = "The table is on demand and has the name that the application is told."
  }

  assert {
    condition     = one(aws_dynamodb_table.this.ttl).enabled && one(aws_dynamodb_table.this.ttl).attribute_name == "expires_at"
    error_message = "Sessions must end by themselves."
  }

  assert {
    condition     = one(aws_dynamodb_table.this.point_in_time_recovery).enabled && one(aws_dynamodb_table.this.server_side_encryption).kms_key_arn == var.kms_key_arn
    error_message = "The table can be taken back to any second and is encrypted with the environment's key."
  }

  assert {
    condition     = aws_dynamodb_table.this.deletion_protection_enabled
    error_message = "In production the table refuses to be deleted."
  }
}

run "elsewhere_it_may_go" {
  command = plan

  variables {
    name        = "caio-dev"
    environment = "dev"
  }

  assert {
    condition     = !aws_dynamodb_table.this.deletion_protection_enabled
    error_message = "Outside production an environment can be taken down."
  }
}

run "refuses_unknown_environments" {
  command = plan

  variables {
    environment = "prod"
  }

  expect_failures = [var.environment]
}
