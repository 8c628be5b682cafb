mock_provider "aws" {
  mock_data "aws_caller_identity" {
    defaults = { account_id = "111122223333" }
  }
  mock_resource "aws_iam_role" {
    override_during = plan
    defaults        = { arn = "arn:aws:iam::111122223333:role/a-role" }
  }
  mock_resource "aws_sqs_queue" {
    override_during = plan
    defaults        = { arn = "arn:aws:sqs:us-east-1:111122223333:a-queue" }
  }
}

variables {
  name        = "caio-staging"
  environment = "staging"
  kms_key_arn = "arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
  functions = {
    sweeper = {
      description                      = "Sweeps."
      image_uri                        = "111122223333.dkr.ecr.us-east-1.amazonaws.com/caio:v1.0.0"
      timeout_seconds                  = 60
      queue_arn                        = "arn:aws:sqs:us-east-1:111122223333:caio-staging-jobs"
      queue_visibility_timeout_seconds = 5400
    }
  }
}

run "a_function" {
  command = plan

  assert {
    condition = alltrue([
      aws_lambda_function.this["sweeper"].reserved_concurrent_executions == 10, aws_lambda_function.this["sweeper"].package_type == "Image",
      aws_cloudwatch_log_group.this["sweeper"].retention_in_days == 30, aws_cloudwatch_log_group.this["sweeper"].kms_key_id == var.kms_key_arn,
      aws_sqs_queue.dead["sweeper"].message_retention_seconds == 1209600,
    ])
    error_message = "A function has its share of concurrency, an encrypted log group and a dead-letter queue."
  }

  assert {
    condition     = one(aws_lambda_event_source_mapping.this["sweeper"].scaling_config).maximum_concurrency == 10
    error_message = "The queue's poller must not ask for more than the function's share."
  }
}

run "none_by_default" {
  command = plan

  variables {
    functions = {}
  }

  assert {
    condition     = length(aws_lambda_function.this) == 0
    error_message = "There are no functions until there is code."
  }
}

run "refuses_a_queue_that_is_impatient" {
  command = plan

  variables {
    functions = {
      sweeper = {
        description                      = "Sweeps."
        image_uri                        = "111122223333.dkr.ecr.us-east-1.amazonaws.com/caio:v1.0.0"
        timeout_seconds                  = 60
        queue_arn                        = "arn:aws:sqs:us-east-1:111122223333:caio-staging-jobs"
        queue_visibility_timeout_seconds = 60
      }
    }
  }

  expect_failures = [var.functions]
}

run "refuses_latest" {
  command = plan

  variables {
    functions = { sweeper = { description = "Sweeps.", image_uri = "111122223333.dkr.ecr.us-east-1.amazonaws.com/caio:latest" } }
  }

  expect_failures = [var.functions]
}

run "refuses_code_from_two_places" {
  command = plan

  variables {
    functions = { sweeper = { description = "Sweeps.", image_uri = "an-image:v1", s3_bucket = "b", s3_key = "k", handler = "h.h" } }
  }

  expect_failures = [var.functions]
}
