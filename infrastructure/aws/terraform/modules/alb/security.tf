# Who may reach the load balancer. The way from here to the tasks is opened where the tasks' group is made.

resource "aws_security_group" "this" {
  name        = "${var.name}-alb"
  description = "Load balancer: HTTPS in, HTTP in to be redirected, out to the tasks alone"
  vpc_id      = var.vpc_id

  tags = merge(local.tags, { Name = "${var.name}-alb" })
}

locals {
  open_cidrs = var.ingress_prefix_list_id == null ? var.ingress_cidrs : toset([])
}

resource "aws_vpc_security_group_ingress_rule" "https" {
  for_each = local.open_cidrs

  security_group_id = aws_security_group.this.id
  description       = "HTTPS"
  cidr_ipv4         = each.key
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
}

resource "aws_vpc_security_group_ingress_rule" "http" {
  #checkov:skip=CKV_AWS_260:port 80 answers with a redirect to HTTPS and nothing else
  for_each = local.open_cidrs

  security_group_id = aws_security_group.this.id
  description       = "HTTP, answered by a redirect to HTTPS"
  cidr_ipv4         = each.key
  ip_protocol       = "tcp"
  from_port         = 80
  to_port           = 80
}

resource "aws_vpc_security_group_ingress_rule" "https_from_prefix_list" {
  count = var.ingress_prefix_list_id == null ? 0 : 1

  security_group_id = aws_security_group.this.id
  description       = "HTTPS from CloudFront"
  prefix_list_id    = var.ingress_prefix_list_id
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
}

resource "aws_vpc_security_group_ingress_rule" "test" {
  for_each = var.blue_green ? var.test_cidrs : []

  security_group_id = aws_security_group.this.id
  description       = "Test listener of a blue/green deployment"
  cidr_ipv4         = each.key
  ip_protocol       = "tcp"
  from_port         = 8443
  to_port           = 8443
}
