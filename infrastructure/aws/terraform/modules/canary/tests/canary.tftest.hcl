mock_provider "aws" {
  mock_data "aws_caller_identity" {
    defaults = { account_id = "111122223333" }
  }
  mock_data "aws_partition" {
    defaults = { partition = "aws" }
  }
  mock_data "aws_region" {
    defaults = { name = "us-east-1" }
  }
  mock_resource "aws_iam_role" {
    override_during = plan
    defaults        = { arn = "arn:aws:iam::111122223333:role/a-role" }
  }
}

variables {
  name               = "caio-production"
  environment        = "production"
  endpoint_url       = "https://caio.example.com"
  code_s3_bucket     = "caio-production-artifacts-111122223333"
  code_s3_key        = "canary/v1.0.0.zip"
  artifacts_bucket   = "caio-production-artifacts-111122223333"
  api_key_secret_arn = "arn:aws:secretsmanager:us-east-1:111122223333:secret:caio-production-api-keys-AbCdEf"
  kms_key_arn        = "arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
}

run "runs_every_five_minutes" {
  command = plan

  assert {
    condition     = one(aws_synthetics_canary.this.schedule).expression == "rate(5 minutes)" && aws_synthetics_canary.this.start_canary && aws_synthetics_canary.this.handler == "canary.handler"
    error_message = "The canary must run, and by itself."
  }

  assert {
    condition     = length(output.canary_name) <= 21 && aws_synthetics_canary.this.name == "caio-production"
    error_message = "Synthetics allows 21 characters."
  }
}

run "the_key_is_in_no_variable" {
  command = plan

  assert {
    condition     = toset(keys(one(aws_synthetics_canary.this.run_config).environment_variables)) == toset(["CAIO_URL", "API_KEY_SECRET", "TRUSTED_KEY_IDS"])
    error_message = "The environment names the secret; it does not have the key."
  }
}

run "reads_nothing_but_its_key" {
  command = plan

  assert {
    condition     = [for statement in jsondecode(aws_iam_role_policy.this.policy).Statement : statement.Resource if statement.Sid == "ApiKey"] == [var.api_key_secret_arn]
    error_message = "The role must read exactly the named secret."
  }
}

run "refuses_plain_http" {
  command = plan

  variables {
    endpoint_url = "http://caio.example.com"
  }

  expect_failures = [var.endpoint_url]
}

run "refuses_a_body_that_is_no_object" {
  command = plan

  variables {
    orchestrate_body = "[1]"
  }

  expect_failures = [var.orchestrate_body]
}
