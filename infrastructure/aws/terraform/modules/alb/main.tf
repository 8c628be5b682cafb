# The load balancer, the only door: 443 with a certificate that is really issued, 80 to send callers there.

locals {
  tags = merge({ Component = "entry" }, var.tags)
}

resource "aws_lb" "this" {
  #checkov:skip=CKV2_AWS_28:the composition attaches the web ACL, to this load balancer or to CloudFront before it
  #checkov:skip=CKV_AWS_150:deletion protection is a switch, on in production and off where environments come and go
  #checkov:skip=CKV2_AWS_76:the web ACL with the rules against Log4j is the composition's, a switch outside production
  name               = "${var.name}-alb"
  internal           = false
  load_balancer_type = "application"
  subnets            = var.public_subnet_ids
  security_groups    = [aws_security_group.this.id]

  idle_timeout               = var.idle_timeout_seconds
  enable_deletion_protection = var.deletion_protection
  drop_invalid_header_fields = true

  access_logs {
    bucket  = var.logs_bucket
    prefix  = "alb"
    enabled = true
  }

  tags = merge(local.tags, { Name = "${var.name}-alb" })
}

resource "aws_route53_record" "alias" {
  count = var.zone_id != null && var.create_alias ? 1 : 0

  zone_id = var.zone_id
  name    = var.domain_name
  type    = "A"

  alias {
    name                   = aws_lb.this.dns_name
    zone_id                = aws_lb.this.zone_id
    evaluate_target_health = true
  }
}
