# PostgreSQL: one RDS instance (Multi-AZ by switch), or an Aurora cluster. The master login belongs to RDS, which makes,
# keeps and rotates it in a secret of its own: nothing here knows its password, and the application never uses it.

data "aws_partition" "current" {}

locals {
  aurora        = var.engine == "aurora-postgresql"
  identifier    = "${var.name}-db"
  database_name = "caio"
  master_user   = "caio_admin"
  port          = 5432
  major         = split(".", var.engine_version)[0]
  tags          = merge(var.tags, { Component = "database", Purpose = "state of record" })

  backup_window      = "03:00-04:00"
  maintenance_window = "sun:04:00-sun:05:00"

  # RDS's own figure hangs on memory that no API tells before; one by class is a figure that an alarm can be held to.
  size            = split(".", var.instance_class)[2]
  max_connections = coalesce(var.max_connections, lookup({ micro = 80, small = 150, medium = 300, large = 600, xlarge = 1200 }, local.size, 2000))

  writer_host         = local.aurora ? one(aws_rds_cluster.this[*].endpoint) : one(aws_db_instance.this[*].address)
  reader_host         = local.aurora && length(local.aurora_instances) > 1 ? one(aws_rds_cluster.this[*].reader_endpoint) : null
  instance_identifier = local.identifier
  resource_arn        = local.aurora ? one(aws_rds_cluster.this[*].arn) : one(aws_db_instance.this[*].arn)
  master_secret_arn   = local.aurora ? one(flatten(aws_rds_cluster.this[*].master_user_secret)).secret_arn : one(flatten(aws_db_instance.this[*].master_user_secret)).secret_arn
}

resource "aws_db_subnet_group" "this" {
  name        = local.identifier
  description = "The private subnets of ${local.identifier}."
  subnet_ids  = var.subnet_ids
  tags        = local.tags
}

resource "aws_db_instance" "this" {
  #checkov:skip=CKV_AWS_161:the application logs in with a password over TLS; IAM logins would need a token every 15 minutes
  #checkov:skip=CKV_AWS_157:Multi-AZ is a switch, on in production, off where an hour without a database costs nothing
  #checkov:skip=CKV_AWS_293:deletion protection is a switch, on by default
  #checkov:skip=CKV_AWS_353:Performance Insights is a switch, on by default
  #checkov:skip=CKV2_AWS_30:statements that are slow are logged; all of them would show passwords and what tenants sent
  count = local.aurora ? 0 : 1

  identifier     = local.identifier
  engine         = "postgres"
  engine_version = var.engine_version
  instance_class = var.instance_class
  db_name        = local.database_name
  port           = local.port

  username                      = local.master_user
  manage_master_user_password   = true
  master_user_secret_kms_key_id = var.kms_key_arn

  storage_type          = "gp3"
  allocated_storage     = var.allocated_storage
  max_allocated_storage = coalesce(var.max_allocated_storage, 5 * var.allocated_storage)
  storage_encrypted     = true
  kms_key_id            = var.kms_key_arn

  multi_az               = var.multi_az
  db_subnet_group_name   = aws_db_subnet_group.this.name
  vpc_security_group_ids = [aws_security_group.this.id]
  publicly_accessible    = false
  parameter_group_name   = one(aws_db_parameter_group.this[*].name)
  ca_cert_identifier     = "rds-ca-rsa2048-g1"

  backup_retention_period    = var.backup_retention_days
  backup_window              = local.backup_window
  maintenance_window         = local.maintenance_window
  auto_minor_version_upgrade = true
  copy_tags_to_snapshot      = true
  delete_automated_backups   = false
  deletion_protection        = var.deletion_protection
  skip_final_snapshot        = !var.final_snapshot
  final_snapshot_identifier  = var.final_snapshot ? "${local.identifier}-final" : null

  performance_insights_enabled          = var.performance_insights
  performance_insights_kms_key_id       = var.performance_insights ? var.kms_key_arn : null
  performance_insights_retention_period = var.performance_insights ? 7 : null
  monitoring_interval                   = var.monitoring_interval
  monitoring_role_arn                   = one(aws_iam_role.monitoring[*].arn)
  enabled_cloudwatch_logs_exports       = ["postgresql", "upgrade"]

  tags = merge(local.tags, { Name = local.identifier })

  # RDS would make groups of its own, without a retention and without our key.
  depends_on = [aws_cloudwatch_log_group.this]
}

resource "aws_db_parameter_group" "this" {
  count = local.aurora ? 0 : 1

  name        = "${local.identifier}-postgres${local.major}"
  family      = "postgres${local.major}"
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

  # A new major version needs a new group while the old one is still in use.
  lifecycle {
    create_before_destroy = true
  }
}

locals {
  # Applied at the next start.
  static_parameters = ["max_connections"]

  parameters = {
    "rds.force_ssl"              = "1"
    "max_connections"            = tostring(local.max_connections)
    "log_min_duration_statement" = tostring(var.slow_statement_ms)
    "log_disconnections"         = "1" # who was connected, from where and how long; log_connections became another type in 18
    "log_lock_waits"             = "1"

    # Bound parameters are what tenants sent, and DDL has the application's password in it: neither belongs in a log.
    "log_parameter_max_length" = "0"
    "log_statement"            = "none"
  }
}

resource "aws_cloudwatch_log_group" "this" {
  #checkov:skip=CKV_AWS_338:how long database logs are kept is the environment's choice; the audit log is elsewhere and kept for years
  for_each = toset(concat(
    [for log in local.aurora ? ["postgresql"] : ["postgresql", "upgrade"] : "/aws/rds/${local.aurora ? "cluster" : "instance"}/${local.identifier}/${log}"],
    var.proxy ? ["/aws/rds/proxy/${local.identifier}-proxy"] : [],
  ))

  name              = each.key
  retention_in_days = var.log_retention_days
  kms_key_id        = var.kms_key_arn
  tags              = local.tags
}

resource "aws_iam_role" "monitoring" {
  count = var.monitoring_interval > 0 ? 1 : 0

  name        = "${local.identifier}-monitoring"
  description = "Lets RDS write enhanced monitoring's figures to CloudWatch Logs."
  tags        = local.tags

  permissions_boundary = var.permissions_boundary
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "monitoring.rds.amazonaws.com" }
      Action    = "sts:AssumeRole"
    }]
  })
}

resource "aws_iam_role_policy_attachment" "monitoring" {
  count = var.monitoring_interval > 0 ? 1 : 0

  role       = aws_iam_role.monitoring[0].name
  policy_arn = "arn:${data.aws_partition.current.partition}:iam::aws:policy/service-role/AmazonRDSEnhancedMonitoringRole"
}
