mock_provider "aws" {
  mock_data "aws_partition" {
    defaults = { partition = "aws" }
  }
  mock_resource "aws_iam_role" {
    override_during = plan
    defaults        = { arn = "arn:aws:iam::111122223333:role/a-role" }
  }
  mock_resource "aws_backup_vault" {
    override_during = plan
    defaults        = { arn = "arn:aws:backup:us-east-1:111122223333:backup-vault:a-vault" }
  }
}

variables {
  name               = "caio-production"
  environment        = "production"
  kms_key_arn        = "arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
  database_arn       = "arn:aws:rds:us-east-1:111122223333:db:caio-production-db"
  resource_arns      = ["arn:aws:dynamodb:us-east-1:111122223333:table/caio-production-sessions"]
  bucket_arns        = ["arn:aws:s3:::caio-production-artifacts-111122223333"]
  copy_vault_arn     = "arn:aws:backup:us-west-2:111122223333:backup-vault:caio-production-copies"
  notified_topic_arn = "arn:aws:sns:us-east-1:111122223333:caio-production-alerts-warning"
}

run "daily_and_elsewhere" {
  command = plan

  assert {
    condition     = one(one(aws_backup_plan.this.rule).copy_action).destination_vault_arn == var.copy_vault_arn && one(one(aws_backup_plan.this.rule).lifecycle).delete_after == 90
    error_message = "Each day's backup is copied to the other region."
  }

  assert {
    condition     = contains(aws_backup_selection.named.resources, var.database_arn) && one(aws_backup_selection.tagged.selection_tag).value == "caio-production"
    error_message = "The database is backed up by name, and whatever is tagged beside it."
  }
}

run "the_database_keeps_its_own_point_in_time_recovery" {
  command = plan

  assert {
    condition     = one(aws_backup_plan.continuous[0].rule).enable_continuous_backup && !contains(aws_backup_selection.buckets[0].resources, var.database_arn)
    error_message = "A continuous backup of AWS Backup would take the database's retention over."
  }
}

run "restores_are_tested" {
  command = plan

  assert {
    condition     = aws_backup_restore_testing_selection.database[0].protected_resource_type == "RDS" && aws_backup_restore_testing_selection.database[0].restore_metadata_overrides.dbSubnetGroupName == "caio-production-db"
    error_message = "The database's newest snapshot is restored into its own subnets."
  }

  assert {
    condition     = aws_backup_restore_testing_plan.this[0].name == "caio_production_weekly"
    error_message = "Restore testing plans know no hyphens."
  }
}

run "a_locked_vault" {
  command = plan

  variables {
    lock = true
  }

  assert {
    condition     = aws_backup_vault_lock_configuration.this[0].min_retention_days == 7 && aws_backup_vault_lock_configuration.this[0].changeable_for_days == 3
    error_message = "The lock closes after three days of thought."
  }
}

run "refuses_production_in_one_region" {
  command = plan

  variables {
    copy_vault_arn = null
  }

  expect_failures = [var.copy_vault_arn]
}

run "refuses_failures_that_nobody_hears" {
  command = plan

  variables {
    notified_topic_arn = null
  }

  expect_failures = [var.notify]
}
