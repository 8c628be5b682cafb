# Valkey (or Redis) with one primary and replicas that take over. It holds limits, sessions and locks: data that must not be
# dropped behind the application's back, so nothing is evicted, and a full cache refuses writes, which is alarmed before.

locals {
  identifier     = "${var.name}-cache"
  port           = 6379
  engine_version = coalesce(var.engine_version, var.engine == "valkey" ? "8.0" : "7.1")
  major          = split(".", local.engine_version)[0]
  family         = var.engine == "valkey" ? "valkey${local.major}" : "redis${local.major}"
  tags           = merge(var.tags, { Component = "cache", Purpose = "limits, sessions and locks" })

  # ElastiCache names the nodes of a group so; CloudWatch knows each by it.
  node_ids = [for number in range(1, 2 + var.replicas) : format("%s-%03d", local.identifier, number)]
}

resource "aws_elasticache_replication_group" "this" {
  #checkov:skip=CKV2_AWS_50:failover is on wherever there is a replica, which production must have
  replication_group_id = local.identifier
  description          = "${var.name}: limits, sessions and locks."
  engine               = var.engine
  engine_version       = local.engine_version
  node_type            = var.node_type
  num_cache_clusters   = 1 + var.replicas
  port                 = local.port

  automatic_failover_enabled = var.replicas > 0
  multi_az_enabled           = var.multi_az
  subnet_group_name          = aws_elasticache_subnet_group.this.name
  security_group_ids         = [aws_security_group.this.id]
  parameter_group_name       = aws_elasticache_parameter_group.this.name

  at_rest_encryption_enabled = true
  kms_key_id                 = var.kms_key_arn
  transit_encryption_enabled = true
  transit_encryption_mode    = "required"
  auth_token                 = var.auth_token
  # The old token stays valid beside the new one until the one after it comes: a rotation cuts nobody off.
  auth_token_update_strategy = "ROTATE"

  maintenance_window         = "sun:04:00-sun:05:00"
  snapshot_window            = "03:00-04:00"
  snapshot_retention_limit   = var.snapshot_retention_days
  auto_minor_version_upgrade = true

  dynamic "log_delivery_configuration" {
    for_each = aws_cloudwatch_log_group.this

    content {
      destination      = log_delivery_configuration.value.name
      destination_type = "cloudwatch-logs"
      log_format       = "json"
      log_type         = "${log_delivery_configuration.key}-log"
    }
  }

  tags = merge(local.tags, { Name = local.identifier })
}

resource "aws_elasticache_parameter_group" "this" {
  name        = "${local.identifier}-${local.family}"
  family      = local.family
  description = "What ${local.identifier} is set to."
  tags        = local.tags

  parameter {
    name  = "maxmemory-policy"
    value = "noeviction"
  }

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_elasticache_subnet_group" "this" {
  name        = local.identifier
  description = "The private subnets of ${local.identifier}."
  subnet_ids  = var.subnet_ids
  tags        = local.tags
}

resource "aws_cloudwatch_log_group" "this" {
  #checkov:skip=CKV_AWS_338:how long cache logs are kept is the environment's choice; the audit log is elsewhere and kept for years
  for_each = toset(["slow", "engine"])

  name              = "/aws/elasticache/${local.identifier}/${each.key}"
  retention_in_days = var.log_retention_days
  kms_key_id        = var.kms_key_arn
  tags              = local.tags
}

resource "aws_security_group" "this" {
  name        = local.identifier
  description = "The cache, from the services that may. It goes nowhere."
  vpc_id      = var.vpc_id
  tags        = merge(local.tags, { Name = local.identifier })
}

resource "aws_vpc_security_group_ingress_rule" "service" {
  # Counted, not keyed: the groups are often made in the same apply, and their ids are not known before.
  count = length(var.allowed_security_group_ids)

  security_group_id            = aws_security_group.this.id
  referenced_security_group_id = var.allowed_security_group_ids[count.index]
  description                  = "The cache from a service that may."
  ip_protocol                  = "tcp"
  from_port                    = local.port
  to_port                      = local.port
  tags                         = local.tags
}
