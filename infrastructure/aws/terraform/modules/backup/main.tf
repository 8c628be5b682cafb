# Snapshots every day, copied to another region, and continuous backups of the buckets. The database's own point-in-time
# recovery stays RDS's (module database): AWS Backup would take its retention and its window over, and every later apply
# would fail on the difference.

data "aws_partition" "current" {}

locals {
  tags = merge(var.tags, { Component = "backup", Purpose = "recovery" })

  # The role's policies are AWS's own for exactly this.
  policies = [
    "service-role/AWSBackupServiceRolePolicyForBackup",
    "service-role/AWSBackupServiceRolePolicyForRestores",
    "AWSBackupServiceRolePolicyForS3Backup",
    "AWSBackupServiceRolePolicyForS3Restore",
  ]
}

resource "aws_backup_vault" "this" {
  name        = "${var.name}-vault"
  kms_key_arn = var.kms_key_arn
  tags        = local.tags
}

resource "aws_backup_vault_lock_configuration" "this" {
  count = var.lock ? 1 : 0

  backup_vault_name   = aws_backup_vault.this.name
  changeable_for_days = 3
  min_retention_days  = 7
}

resource "aws_backup_vault_notifications" "this" {
  count = var.notify ? 1 : 0

  backup_vault_name   = aws_backup_vault.this.name
  sns_topic_arn       = var.notified_topic_arn
  backup_vault_events = ["BACKUP_JOB_FAILED", "COPY_JOB_FAILED", "RESTORE_JOB_FAILED", "S3_BACKUP_OBJECT_FAILED"]
}

resource "aws_backup_plan" "this" {
  name = "${var.name}-daily"
  tags = local.tags

  rule {
    rule_name         = "daily"
    target_vault_name = aws_backup_vault.this.name
    # After the database's own backup window, which AWS Backup must keep away from.
    schedule                     = "cron(0 6 * * ? *)"
    schedule_expression_timezone = "Etc/UTC"
    start_window                 = 60
    completion_window            = 360
    recovery_point_tags          = local.tags

    lifecycle {
      delete_after = var.daily_retention_days
    }

    dynamic "copy_action" {
      for_each = var.copy_vault_arn == null ? [] : [var.copy_vault_arn]

      content {
        destination_vault_arn = copy_action.value

        lifecycle {
          delete_after = var.daily_retention_days
        }
      }
    }
  }
}

resource "aws_backup_plan" "continuous" {
  count = length(var.bucket_arns) > 0 ? 1 : 0

  name = "${var.name}-continuous"
  tags = local.tags

  rule {
    rule_name                    = "continuous"
    target_vault_name            = aws_backup_vault.this.name
    schedule                     = "cron(0 7 * * ? *)"
    schedule_expression_timezone = "Etc/UTC"
    enable_continuous_backup     = true
    start_window                 = 60
    completion_window            = 720
    recovery_point_tags          = local.tags

    lifecycle {
      delete_after = var.continuous_retention_days
    }
  }
}

# Two selections, by name and by tag: within one, AWS Backup would ask for both.
resource "aws_backup_selection" "named" {
  name         = "${var.name}-named"
  plan_id      = aws_backup_plan.this.id
  iam_role_arn = aws_iam_role.this.arn
  resources    = concat([var.database_arn], var.resource_arns)
}

resource "aws_backup_selection" "tagged" {
  name         = "${var.name}-tagged"
  plan_id      = aws_backup_plan.this.id
  iam_role_arn = aws_iam_role.this.arn

  selection_tag {
    type  = "STRINGEQUALS"
    key   = "Backup"
    value = var.name
  }
}

resource "aws_backup_selection" "buckets" {
  count = length(var.bucket_arns) > 0 ? 1 : 0

  name         = "${var.name}-buckets"
  plan_id      = aws_backup_plan.continuous[0].id
  iam_role_arn = aws_iam_role.this.arn
  resources    = var.bucket_arns
}

resource "aws_iam_role" "this" {
  name        = "${var.name}-backup"
  description = "Backs up and restores what ${var.name} keeps."
  tags        = local.tags

  permissions_boundary = var.permissions_boundary
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "backup.amazonaws.com" }
      Action    = "sts:AssumeRole"
    }]
  })
}

resource "aws_iam_role_policy_attachment" "this" {
  for_each = toset(local.policies)

  role       = aws_iam_role.this.name
  policy_arn = "arn:${data.aws_partition.current.partition}:iam::aws:policy/${each.key}"
}
