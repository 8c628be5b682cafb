# Edges between groups: load balancer → API; API, worker and migration → data stores and HTTPS. No other way in or out.

resource "aws_security_group" "api" {
  name        = "${var.name}-api"
  description = "API tasks: in from the load balancer alone"
  vpc_id      = var.vpc_id

  tags = merge(local.tags, { Name = "${var.name}-api" })
}

resource "aws_security_group" "worker" {
  name        = "${var.name}-worker"
  description = "Worker and migration tasks: nothing comes in"
  vpc_id      = var.vpc_id

  tags = merge(local.tags, { Name = "${var.name}-worker" })
}

locals {
  groups = { api = aws_security_group.api.id, worker = aws_security_group.worker.id }

  # The ports on which the load balancer speaks to the API.
  entry_ports = toset([for port in concat([local.container_port], var.agents ? [local.agents_port] : []) : tostring(port)])

  store_edges = { for edge in setproduct(["api", "worker"], keys(var.data_stores)) : "${edge[0]}-${edge[1]}" => { group = edge[0], store = edge[1] } }
}

resource "aws_vpc_security_group_egress_rule" "alb_to_api" {
  for_each = local.entry_ports

  security_group_id            = var.alb_security_group_id
  description                  = "To the API's tasks"
  referenced_security_group_id = aws_security_group.api.id
  ip_protocol                  = "tcp"
  from_port                    = tonumber(each.key)
  to_port                      = tonumber(each.key)
}

resource "aws_vpc_security_group_ingress_rule" "api_from_alb" {
  for_each = local.entry_ports

  security_group_id            = aws_security_group.api.id
  description                  = "From the load balancer"
  referenced_security_group_id = var.alb_security_group_id
  ip_protocol                  = "tcp"
  from_port                    = tonumber(each.key)
  to_port                      = tonumber(each.key)
}

resource "aws_vpc_security_group_egress_rule" "to_store" {
  for_each = local.store_edges

  security_group_id            = local.groups[each.value.group]
  description                  = "To the ${each.value.store}"
  referenced_security_group_id = var.data_stores[each.value.store].security_group_id
  ip_protocol                  = "tcp"
  from_port                    = var.data_stores[each.value.store].port
  to_port                      = var.data_stores[each.value.store].port
}

resource "aws_vpc_security_group_egress_rule" "https" {
  for_each = local.groups

  security_group_id = each.value
  description       = "Providers, services and AWS"
  cidr_ipv4         = "0.0.0.0/0"
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
}
