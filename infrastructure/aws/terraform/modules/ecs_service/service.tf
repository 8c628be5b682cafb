# The API and the worker, rolled out by ECS: new tasks first, old ones after, back again when new ones fail or an
# alarm fires. How many tasks run is the autoscaler's business, so Terraform does not look at desired_count.

locals {
  # What the load balancer has to know of a task.
  registrations = concat(
    [{ port = local.container_port, group = var.load_balancer.target_group_arn }],
    var.agents ? [{ port = local.agents_port, group = var.load_balancer.agents_target_group_arn }] : [],
  )
}

resource "aws_ecs_service" "api" {
  count = var.blue_green ? 0 : 1

  name                               = local.service_name
  cluster                            = aws_ecs_cluster.this.id
  task_definition                    = aws_ecs_task_definition.serving["api"].arn
  desired_count                      = var.serving ? var.desired_capacity : 0
  deployment_minimum_healthy_percent = 100
  deployment_maximum_percent         = 200
  health_check_grace_period_seconds  = 90
  availability_zone_rebalancing      = "ENABLED"
  enable_execute_command             = var.execute_command
  enable_ecs_managed_tags            = true
  propagate_tags                     = "SERVICE"

  capacity_provider_strategy {
    capacity_provider = "FARGATE"
    weight            = 1
  }

  deployment_circuit_breaker {
    enable   = true
    rollback = true
  }

  alarms {
    enable      = true
    rollback    = true
    alarm_names = var.rollback_alarm_names
  }

  network_configuration {
    subnets          = var.subnet_ids
    security_groups  = [aws_security_group.api.id]
    assign_public_ip = false
  }

  dynamic "load_balancer" {
    for_each = local.registrations

    content {
      target_group_arn = load_balancer.value.group
      container_name   = "api"
      container_port   = load_balancer.value.port
    }
  }

  dynamic "service_connect_configuration" {
    for_each = var.service_connect ? [true] : []

    content {
      enabled   = true
      namespace = aws_service_discovery_http_namespace.this.arn

      service {
        port_name      = "api"
        discovery_name = "${var.name}-api"

        client_alias {
          dns_name = "caio"
          port     = local.container_port
        }

        # Streams have no length that is known before: the application ends them, not the proxy.
        timeout {
          idle_timeout_seconds        = 300
          per_request_timeout_seconds = 0
        }
      }
    }
  }

  tags = merge(local.tags, { Purpose = "api" })

  lifecycle {
    ignore_changes = [desired_count]
  }

  # Without its permissions a task does not start.
  depends_on = [aws_ecs_cluster_capacity_providers.this, aws_iam_role_policy.execution, aws_iam_role_policy.task]
}

resource "aws_ecs_service" "worker" {
  name                               = local.worker_service_name
  cluster                            = aws_ecs_cluster.this.id
  task_definition                    = aws_ecs_task_definition.serving["worker"].arn
  desired_count                      = var.serving ? var.worker_capacity.min : 0
  deployment_minimum_healthy_percent = 100
  deployment_maximum_percent         = 200
  availability_zone_rebalancing      = "ENABLED"
  enable_execute_command             = var.execute_command
  enable_ecs_managed_tags            = true
  propagate_tags                     = "SERVICE"

  # The first worker never runs on Spot: what only workers do goes on when Spot is taken away.
  capacity_provider_strategy {
    capacity_provider = "FARGATE"
    base              = 1
    weight            = 100 - var.worker_spot_percent
  }

  dynamic "capacity_provider_strategy" {
    for_each = var.worker_spot_percent > 0 ? [var.worker_spot_percent] : []

    content {
      capacity_provider = "FARGATE_SPOT"
      weight            = capacity_provider_strategy.value
    }
  }

  deployment_circuit_breaker {
    enable   = true
    rollback = true
  }

  network_configuration {
    subnets          = var.subnet_ids
    security_groups  = [aws_security_group.worker.id]
    assign_public_ip = false
  }

  tags = merge(local.tags, { Purpose = "worker" })

  lifecycle {
    ignore_changes = [desired_count]
  }

  depends_on = [aws_ecs_cluster_capacity_providers.this, aws_iam_role_policy.execution, aws_iam_role_policy.task]
}
