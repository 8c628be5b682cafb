# The cluster, its namespace, and where its logs go.

data "aws_region" "current" {}

data "aws_caller_identity" "current" {}

locals {
  tags = merge({ Component = "compute" }, var.tags)

  # Two ports of the API's task: requests, and agents where they are switched on.
  container_port = 8080
  agents_port    = 9889

  # Names are values, not attributes of resources: alarms can name the service before it exists, and it them.
  cluster_name        = "${var.name}-cluster"
  service_name        = "${var.name}-service"
  worker_service_name = "${var.name}-worker"

  log_groups = merge(
    {
      api       = "/ecs/${var.name}"
      worker    = "/ecs/${var.name}/worker"
      migration = "/ecs/${var.name}/migration"
    },
    var.tracing ? { collector = "/ecs/${var.name}/collector" } : {},
    var.execute_command ? { exec = "/ecs/${var.name}/exec" } : {},
  )
}

resource "aws_cloudwatch_log_group" "this" {
  #checkov:skip=CKV_AWS_338:how long is kept is the operator's choice (log_retention_days)
  for_each = local.log_groups

  name              = each.value
  retention_in_days = var.log_retention_days
  kms_key_id        = var.kms_key_arn

  tags = local.tags
}

resource "aws_service_discovery_http_namespace" "this" {
  name        = var.name
  description = "Services of ${var.name} that find each other by Service Connect"

  tags = local.tags
}

resource "aws_ecs_cluster" "this" {
  #checkov:skip=CKV_AWS_65:a switch (container_insights), on in staging and production; dev saves its price
  name = local.cluster_name

  setting {
    name  = "containerInsights"
    value = var.container_insights ? "enabled" : "disabled"
  }

  service_connect_defaults {
    namespace = aws_service_discovery_http_namespace.this.arn
  }

  dynamic "configuration" {
    for_each = var.execute_command ? [aws_cloudwatch_log_group.this["exec"].name] : []

    content {
      execute_command_configuration {
        kms_key_id = var.kms_key_arn
        logging    = "OVERRIDE"

        log_configuration {
          cloud_watch_encryption_enabled = true
          cloud_watch_log_group_name     = configuration.value
        }
      }
    }
  }

  tags = local.tags
}

resource "aws_ecs_cluster_capacity_providers" "this" {
  cluster_name       = aws_ecs_cluster.this.name
  capacity_providers = ["FARGATE", "FARGATE_SPOT"]

  default_capacity_provider_strategy {
    capacity_provider = "FARGATE"
    weight            = 1
  }
}
