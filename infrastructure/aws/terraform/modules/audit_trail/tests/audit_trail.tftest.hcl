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
  mock_resource "aws_cloudwatch_log_group" {
    override_during = plan
    defaults        = { arn = "arn:aws:logs:us-east-1:111122223333:log-group:/aws/cloudtrail/caio-staging" }
  }
  mock_resource "aws_iam_role" {
    override_during = plan
    defaults        = { arn = "arn:aws:iam::111122223333:role/a-role" }
  }
}

variables {
  name                   = "caio-staging"
  environment            = "staging"
  logs_bucket            = "caio-staging-logs-111122223333"
  kms_key_arn            = "arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
  data_event_bucket_arns = ["arn:aws:s3:::caio-staging-audit-111122223333"]
}

run "the_trail_is_on" {
  command = plan

  assert {
    condition = alltrue([
      aws_cloudtrail.this[0].is_multi_region_trail, aws_cloudtrail.this[0].enable_log_file_validation, aws_cloudtrail.this[0].kms_key_id == var.kms_key_arn,
      aws_cloudtrail.this[0].s3_key_prefix == "cloudtrail", aws_cloudtrail.this[0].name == "caio-staging-trail",
    ])
    error_message = "The trail covers all regions, is validated and encrypted, and has the name and prefix that the bucket's policy lets in."
  }

  assert {
    condition     = length(aws_cloudtrail.this[0].advanced_event_selector) == 2
    error_message = "Management events, and whoever touches the audit bucket's objects."
  }

  assert {
    condition     = length(aws_guardduty_detector.this) + length(aws_securityhub_account.this) + length(aws_inspector2_enabler.this) == 0
    error_message = "What watches the whole account is asked for."
  }
}

run "watching_is_heard" {
  command = plan

  variables {
    enable_guardduty    = true
    enable_security_hub = true
    enable_inspector    = true
    findings_topic_arn  = "arn:aws:sns:us-east-1:111122223333:caio-staging-alerts-warning"
  }

  assert {
    condition     = toset(keys(aws_cloudwatch_event_target.finding)) == toset(["guardduty", "inspector"])
    error_message = "Findings of high severity tell the topic."
  }
}

run "refuses_findings_that_nobody_reads" {
  command = plan

  variables {
    enable_guardduty = true
  }

  expect_failures = [var.notify]
}
