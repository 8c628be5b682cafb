# Two ways to hold 443: Terraform's, and CodeDeploy's, where the target of the listener is CodeDeploy's business.

resource "aws_lb_listener" "http" {
  load_balancer_arn = aws_lb.this.arn
  port              = 80
  protocol          = "HTTP"

  default_action {
    type = "redirect"

    redirect {
      port        = "443"
      protocol    = "HTTPS"
      status_code = "HTTP_301"
    }
  }

  tags = local.tags
}

resource "aws_lb_listener" "https" {
  count = var.blue_green ? 0 : 1

  load_balancer_arn = aws_lb.this.arn
  port              = 443
  protocol          = "HTTPS"
  ssl_policy        = var.tls_policy
  certificate_arn   = local.certificate_arn

  default_action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.api["tg"].arn
  }

  tags = local.tags
}

resource "aws_lb_listener" "https_blue_green" {
  count = var.blue_green ? 1 : 0

  load_balancer_arn = aws_lb.this.arn
  port              = 443
  protocol          = "HTTPS"
  ssl_policy        = var.tls_policy
  certificate_arn   = local.certificate_arn

  default_action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.api["tg"].arn
  }

  tags = local.tags

  lifecycle {
    ignore_changes = [default_action]
  }
}

resource "aws_lb_listener" "test" {
  count = var.blue_green ? 1 : 0

  load_balancer_arn = aws_lb.this.arn
  port              = 8443
  protocol          = "HTTPS"
  ssl_policy        = var.tls_policy
  certificate_arn   = local.certificate_arn

  default_action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.api["tg-green"].arn
  }

  tags = local.tags

  lifecycle {
    ignore_changes = [default_action]
  }
}

locals {
  https_listener_arn = one(concat(aws_lb_listener.https[*].arn, aws_lb_listener.https_blue_green[*].arn))
}

resource "aws_lb_listener_rule" "agents" {
  count = var.agents ? 1 : 0

  listener_arn = local.https_listener_arn
  priority     = 10

  condition {
    path_pattern {
      values = ["/agents/*"]
    }
  }

  action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.agents[0].arn
  }

  tags = local.tags
}
