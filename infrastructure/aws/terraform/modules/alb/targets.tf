# Where requests go. A target counts once it is ready, not once it is alive: database, cache and migrations at head.

locals {
  # CodeDeploy moves the listeners from the first group to the green one and back.
  api_groups = toset(var.blue_green ? ["tg", "tg-green"] : ["tg"])
}

resource "aws_lb_target_group" "api" {
  #checkov:skip=CKV_AWS_378:TLS ends at the load balancer; behind it only the VPC's own traffic, group to group
  for_each = local.api_groups

  name                 = "${var.name}-${each.key}"
  vpc_id               = var.vpc_id
  target_type          = "ip"
  port                 = var.container_port
  protocol             = "HTTP"
  deregistration_delay = var.deregistration_delay_seconds

  health_check {
    path                = "/health/ready"
    matcher             = "200"
    interval            = 30
    timeout             = 10
    healthy_threshold   = 2
    unhealthy_threshold = 3
  }

  stickiness {
    type            = "app_cookie"
    cookie_name     = "cao-session"
    cookie_duration = 3600
    enabled         = var.stickiness
  }

  tags = merge(local.tags, { Name = "${var.name}-${each.key}" })
}

resource "aws_lb_target_group" "agents" {
  #checkov:skip=CKV_AWS_378:TLS ends at the load balancer; behind it only the VPC's own traffic, group to group
  count = var.agents ? 1 : 0

  name                 = "${var.name}-tg-agents"
  vpc_id               = var.vpc_id
  target_type          = "ip"
  port                 = var.agents_port
  protocol             = "HTTP"
  deregistration_delay = var.deregistration_delay_seconds

  # The same task answers, so its readiness is asked where it is told: at the API's port.
  health_check {
    path                = "/health/ready"
    port                = var.container_port
    matcher             = "200"
    interval            = 30
    timeout             = 10
    healthy_threshold   = 2
    unhealthy_threshold = 3
  }

  tags = merge(local.tags, { Name = "${var.name}-tg-agents" })
}
