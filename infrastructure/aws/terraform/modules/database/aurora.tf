# The same database as an Aurora cluster: a writer, and instances that take over and answer reads.

locals {
  # One writer; a second to take over when the database spans zones; a third that only reads.
  aurora_instances = local.aurora ? range(1, 2 + (var.multi_az ? 1 : 0) + (var.replica ? 1 : 0)) : []
}

resource "aws_rds_cluster" "this" {
  #checkov:skip=CKV_AWS_162:the application logs in with a password over TLS; IAM logins would need a token every 15 minutes
  #checkov:skip=CKV_AWS_139:deletion protection is a switch, on by default
  #checkov:skip=CKV2_AWS_8:AWS Backup takes it in by the module backup
  #checkov:skip=CKV2_AWS_27:statements that are slow are logged; all of them would show passwords and what tenants sent
  count = local.aurora ? 1 : 0

  cluster_identifier = local.identifier
  engine             = "aurora-postgresql"
  engine_version     = var.engine_version
  database_name      = local.database_name
  port               = local.port

  master_username               = local.master_user
  manage_master_user_password   = true
  master_user_secret_kms_key_id = var.kms_key_arn

  storage_encrypted = true
  kms_key_id        = var.kms_key_arn

  db_subnet_group_name            = aws_db_subnet_group.this.name
  vpc_security_group_ids          = [aws_security_group.this.id]
  db_cluster_parameter_group_name = one(aws_rds_cluster_parameter_group.this[*].name)

  backup_retention_period         = var.backup_retention_days
  preferred_backup_window         = local.backup_window
  preferred_maintenance_window    = local.maintenance_window
  copy_tags_to_snapshot           = true
  delete_automated_backups        = false
  deletion_protection             = var.deletion_protection
  skip_final_snapshot             = !var.final_snapshot
  final_snapshot_identifier       = var.final_snapshot ? "${local.identifier}-final" : null
  enabled_cloudwatch_logs_exports = ["postgresql"]

  tags = merge(local.tags, { Name = local.identifier })

  depends_on = [aws_cloudwatch_log_group.this]
}

resource "aws_rds_cluster_instance" "this" {
  #checkov:skip=CKV_AWS_353:Performance Insights is a switch, on by default
  count = length(local.aurora_instances)

  identifier         = "${local.identifier}-${local.aurora_instances[count.index]}"
  cluster_identifier = aws_rds_cluster.this[0].id
  engine             = "aurora-postgresql"
  instance_class     = var.instance_class

  db_subnet_group_name = aws_db_subnet_group.this.name
  publicly_accessible  = false
  ca_cert_identifier   = "rds-ca-rsa2048-g1"
  # The third, which only reads, takes over last.
  promotion_tier = count.index < 2 ? 1 : 15

  preferred_maintenance_window = local.maintenance_window
  auto_minor_version_upgrade   = true
  copy_tags_to_snapshot        = true

  performance_insights_enabled          = var.performance_insights
  performance_insights_kms_key_id       = var.performance_insights ? var.kms_key_arn : null
  performance_insights_retention_period = var.performance_insights ? 7 : null
  monitoring_interval                   = var.monitoring_interval
  monitoring_role_arn                   = one(aws_iam_role.monitoring[*].arn)

  tags = local.tags
}

resource "aws_rds_cluster_parameter_group" "this" {
  count = local.aurora ? 1 : 0

  name        = "${local.identifier}-aurora-postgresql${local.major}"
  family      = "aurora-postgresql${local.major}"
  description = "What ${local.identifier} is set to."
  tags        = local.tags

  dynamic "parameter" {
    for_each = local.parameters

    content {
      name         = parameter.key
      value        = parameter.value
      apply_method = contains(local.static_parameters, parameter.key) ? "pending-reboot" : "immediate"
    }
  }

  lifecycle {
    create_before_destroy = true
  }
}
