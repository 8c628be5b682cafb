mock_provider "aws" {
  mock_data "aws_partition" {
    defaults = { partition = "aws" }
  }
  mock_data "aws_iam_policy_document" {
    defaults = { json = "{}" }
  }
  mock_data "aws_caller_identity" {
    defaults = { account_id = "123456789012" }
  }
}

variables {
  kms_key_arn = "arn:aws:kms:us-east-1:123456789012:key/00000000-0000-0000-0000-000000000000"
}

run "a_tag_means_one_image_for_ever" {
  command = plan

  assert {
    condition     = aws_ecr_repository.this.name == "caio" && aws_ecr_repository.this.image_tag_mutability == "IMMUTABLE" && aws_ecr_repository.this.image_scanning_configuration[0].scan_on_push
    error_message = "Tags are immutable, and what is pushed is scanned."
  }
  assert {
    condition     = jsondecode(aws_ecr_lifecycle_policy.this.policy).rules[1].selection.countNumber == 10
    error_message = "The last ten images stay."
  }
  assert {
    condition     = length(aws_ecr_replication_configuration.this) == 0 && length(aws_ecr_repository_policy.pull) == 0
    error_message = "Nothing is copied and nobody else pulls by default."
  }
}

run "copies_go_where_you_say" {
  command = plan

  variables {
    replica_regions = ["us-west-2"]
  }
  assert {
    condition     = one(aws_ecr_replication_configuration.this[0].replication_configuration[0].rule[0].destination).region == "us-west-2"
    error_message = "Images are replicated to the regions named."
  }
}

run "keeping_one_image_is_refused" {
  command = plan

  variables {
    keep_images = 1
  }
  expect_failures = [var.keep_images]
}
