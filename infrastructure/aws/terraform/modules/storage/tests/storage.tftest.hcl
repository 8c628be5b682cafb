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
  mock_data "aws_elb_service_account" {
    defaults = { arn = "arn:aws:iam::127311923021:root" }
  }
  mock_resource "aws_s3_bucket" {
    override_during = plan
    defaults        = { arn = "arn:aws:s3:::a-bucket" }
  }
}

variables {
  name        = "caio-staging"
  environment = "staging"
  kms_key_arn = "arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
}

run "one_bucket_is_like_another" {
  command = plan

  assert {
    condition     = toset(keys(aws_s3_bucket.this)) == toset(["artifacts", "backups", "logs", "audit"])
    error_message = "There are four buckets."
  }

  assert {
    condition = alltrue([
      for kind in [
        aws_s3_bucket_public_access_block.this, aws_s3_bucket_ownership_controls.this, aws_s3_bucket_versioning.this,
        aws_s3_bucket_server_side_encryption_configuration.this, aws_s3_bucket_lifecycle_configuration.this, aws_s3_bucket_policy.this,
      ] : length(kind) == 4
    ])
    error_message = "What one bucket has, each must have."
  }

  assert {
    condition = alltrue([
      for block in aws_s3_bucket_public_access_block.this :
      block.block_public_acls && block.block_public_policy && block.ignore_public_acls && block.restrict_public_buckets
    ])
    error_message = "Every bucket must be closed to the public in all four ways."
  }

  assert {
    condition = alltrue([
      for policy in aws_s3_bucket_policy.this : anytrue([
        for statement in jsondecode(policy.policy).Statement :
        statement.Effect == "Deny" && statement.Action == "s3:*" && try(statement.Condition.Bool["aws:SecureTransport"] == "false", false)
      ])
    ])
    error_message = "Every bucket must refuse requests without TLS."
  }

  assert {
    condition = alltrue([
      for lifecycle in aws_s3_bucket_lifecycle_configuration.this :
      one(lifecycle.rule[0].transition).days == 90 && startswith(one(lifecycle.rule[0].transition).storage_class, "GLACIER") && one(lifecycle.rule[0].expiration).days > 90
    ])
    error_message = "Every bucket moves to Glacier at 90 days and expires later."
  }
}

run "encryption" {
  command = plan

  assert {
    condition = {
      for purpose, each in aws_s3_bucket_server_side_encryption_configuration.this :
      purpose => one(one(each.rule).apply_server_side_encryption_by_default).sse_algorithm
    } == { artifacts = "aws:kms", backups = "aws:kms", logs = "AES256", audit = "aws:kms" }
    error_message = "Only the logs bucket, which log delivery writes to, is encrypted by S3's own keys."
  }
}

run "audit_cannot_forget" {
  command = plan

  assert {
    condition     = { for purpose, bucket in aws_s3_bucket.this : purpose => bucket.object_lock_enabled if bucket.object_lock_enabled } == { audit = true }
    error_message = "The audit bucket, and only it, is made with Object Lock."
  }

  assert {
    condition     = one(aws_s3_bucket_lifecycle_configuration.this["audit"].rule[0].transition).storage_class == "GLACIER_IR"
    error_message = "Checkpoints are read at every start: they must be readable at once."
  }

  assert {
    condition     = one(one(aws_s3_bucket_object_lock_configuration.audit.rule).default_retention).mode == "GOVERNANCE"
    error_message = "Compliance is what the application sets for each checkpoint; the default must not lock for good what others put."
  }
}

run "load_balancer_logs_are_let_in" {
  command = plan

  assert {
    condition = length([
      for statement in jsondecode(aws_s3_bucket_policy.this["logs"].policy).Statement : statement
      if try(statement.Principal.Service == "logdelivery.elasticloadbalancing.amazonaws.com", false) || try(statement.Principal.AWS == "arn:aws:iam::127311923021:root", false)
    ]) == 2
    error_message = "Load balancer logs come from an account in older regions and from a service in newer ones."
  }
}

run "younger_regions_have_no_account_to_let_in" {
  command = plan

  override_data {
    target = data.aws_region.current
    values = { name = "ca-west-1" }
  }

  assert {
    condition = length([
      for statement in jsondecode(aws_s3_bucket_policy.this["logs"].policy).Statement : statement if startswith(statement.Sid, "LoadBalancerLogs")
    ]) == 1
    error_message = "In a younger region only the service delivers."
  }
}

run "refuses_expiry_before_glacier" {
  command = plan

  variables {
    expire_after_days = { logs = 60 }
  }

  expect_failures = [var.expire_after_days]
}

run "refuses_checkpoints_that_expire_while_locked" {
  command = plan

  variables {
    expire_after_days = { audit = 365 }
  }

  expect_failures = [var.expire_after_days]
}

run "refuses_to_empty_production" {
  command = plan

  variables {
    environment   = "production"
    force_destroy = true
  }

  expect_failures = [var.force_destroy]
}
