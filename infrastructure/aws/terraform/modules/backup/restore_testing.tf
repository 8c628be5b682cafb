# A backup that nobody has restored is a hope. Every Monday the newest snapshot of the database is restored beside it, for
# whoever wants to look inside, and deleted again. How long a restore takes is told by the job; what it holds by
# `caio ops drill restore`.

locals {
  protected_type = var.database_engine == "postgres" ? "RDS" : "Aurora"
}

resource "aws_backup_restore_testing_plan" "this" {
  count = var.restore_testing ? 1 : 0

  # These names know no hyphens.
  name                         = "${replace(var.name, "-", "_")}_weekly"
  schedule_expression          = "cron(0 9 ? * MON *)"
  schedule_expression_timezone = "Etc/UTC"
  start_window_hours           = 4
  tags                         = local.tags

  recovery_point_selection {
    algorithm             = "LATEST_WITHIN_WINDOW"
    include_vaults        = [aws_backup_vault.this.arn]
    recovery_point_types  = ["SNAPSHOT"]
    selection_window_days = 7
  }
}

resource "aws_backup_restore_testing_selection" "database" {
  count = var.restore_testing ? 1 : 0

  name                      = "${replace(var.name, "-", "_")}_database"
  restore_testing_plan_name = aws_backup_restore_testing_plan.this[0].name
  protected_resource_type   = local.protected_type
  protected_resource_arns   = [var.database_arn]
  iam_role_arn              = aws_iam_role.this.arn
  validation_window_hours   = 4

  # Without it the copy would be put into the account's default VPC, if there is one.
  restore_metadata_overrides = {
    dbSubnetGroupName = coalesce(var.database_subnet_group_name, "${var.name}-db")
  }
}
