# The switch: the same API under CodeDeploy, which decides what runs and where the listeners point. Terraform then
# registers task definitions; a deployment of CodeDeploy takes one.

resource "aws_ecs_service" "api_blue_green" {
  count = var.blue_green ? 1 : 0

  name                              = local.service_name
  cluster                           = aws_ecs_cluster.this.id
  task_definition                   = aws_ecs_task_definition.serving["api"].arn
  desired_count                     = var.serving ? var.desired_capacity : 0
  launch_type                       = "FARGATE"
  health_check_grace_period_seconds = 90
  enable_execute_command            = var.execute_command
  enable_ecs_managed_tags           = true
  propagate_tags                    = "SERVICE"

  deployment_controller {
    type = "CODE_DEPLOY"
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

  tags = merge(local.tags, { Purpose = "api" })

  lifecycle {
    ignore_changes = [desired_count, task_definition, load_balancer]
  }

  depends_on = [aws_iam_role_policy.execution, aws_iam_role_policy.task]
}

data "aws_iam_policy_document" "codedeploy_assume" {
  count = var.blue_green ? 1 : 0

  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["codedeploy.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [data.aws_caller_identity.current.account_id]
    }
  }
}

data "aws_partition" "current" {}

resource "aws_iam_role" "codedeploy" {
  count = var.blue_green ? 1 : 0

  name                 = "${var.name}-codedeploy"
  permissions_boundary = var.permissions_boundary
  assume_role_policy   = data.aws_iam_policy_document.codedeploy_assume[0].json

  tags = merge(local.tags, { Purpose = "codedeploy" })
}

resource "aws_iam_role_policy_attachment" "codedeploy" {
  count = var.blue_green ? 1 : 0

  role       = aws_iam_role.codedeploy[0].name
  policy_arn = "arn:${data.aws_partition.current.partition}:iam::aws:policy/AWSCodeDeployRoleForECS"
}

resource "aws_codedeploy_app" "this" {
  count = var.blue_green ? 1 : 0

  name             = local.service_name
  compute_platform = "ECS"

  tags = local.tags
}

resource "aws_codedeploy_deployment_group" "this" {
  count = var.blue_green ? 1 : 0

  app_name               = aws_codedeploy_app.this[0].name
  deployment_group_name  = local.service_name
  deployment_config_name = "CodeDeployDefault.ECSCanary10Percent5Minutes"
  service_role_arn       = aws_iam_role.codedeploy[0].arn

  ecs_service {
    cluster_name = aws_ecs_cluster.this.name
    service_name = aws_ecs_service.api_blue_green[0].name
  }

  deployment_style {
    deployment_option = "WITH_TRAFFIC_CONTROL"
    deployment_type   = "BLUE_GREEN"
  }

  blue_green_deployment_config {
    deployment_ready_option {
      action_on_timeout = "CONTINUE_DEPLOYMENT"
    }

    terminate_blue_instances_on_deployment_success {
      action                           = "TERMINATE"
      termination_wait_time_in_minutes = 5
    }
  }

  auto_rollback_configuration {
    enabled = true
    events  = ["DEPLOYMENT_FAILURE", "DEPLOYMENT_STOP_ON_ALARM"]
  }

  alarm_configuration {
    enabled = true
    alarms  = var.rollback_alarm_names
  }

  load_balancer_info {
    target_group_pair_info {
      prod_traffic_route {
        listener_arns = [var.load_balancer.https_listener_arn]
      }

      test_traffic_route {
        listener_arns = [var.load_balancer.test_listener]
      }

      dynamic "target_group" {
        for_each = var.load_balancer.target_group_names

        content {
          name = target_group.value
        }
      }
    }
  }

  tags = local.tags

  depends_on = [aws_iam_role_policy_attachment.codedeploy]
}
