# A second layer under the security groups. ACLs have no memory: what answers an outgoing connection comes in as
# a packet to an ephemeral port, so both lists let those in. A list that does not cuts every task off from NAT.

locals {
  # Rules of the public subnets: what clients send, what NAT gateways get back (they use all of 1024-65535).
  public_ingress = {
    100 = { protocol = "tcp", from = 443, to = 443, cidr = "0.0.0.0/0" }
    110 = { protocol = "tcp", from = 80, to = 80, cidr = "0.0.0.0/0" }
    120 = { protocol = "tcp", from = 1024, to = 65535, cidr = "0.0.0.0/0" }
    130 = { protocol = "-1", from = 0, to = 0, cidr = var.vpc_cidr }
  }
  public_egress = {
    100 = { protocol = "tcp", from = 443, to = 443, cidr = "0.0.0.0/0" }
    120 = { protocol = "tcp", from = 1024, to = 65535, cidr = "0.0.0.0/0" }
    130 = { protocol = "-1", from = 0, to = 0, cidr = var.vpc_cidr }
  }

  # Rules of the private subnets: the VPC, and answers to what was asked through NAT (tasks ask from 32768-60999,
  # functions from all of 1024-65535).
  private_ingress = {
    100 = { protocol = "-1", from = 0, to = 0, cidr = var.vpc_cidr }
    120 = { protocol = "tcp", from = 1024, to = 65535, cidr = "0.0.0.0/0" }
  }
  private_egress = {
    100 = { protocol = "-1", from = 0, to = 0, cidr = var.vpc_cidr }
    110 = { protocol = "tcp", from = 443, to = 443, cidr = "0.0.0.0/0" }
  }
}

resource "aws_network_acl" "public" {
  vpc_id     = aws_vpc.this.id
  subnet_ids = aws_subnet.public[*].id

  tags = merge(local.tags, { Name = "${var.name}-public" })
}

resource "aws_network_acl" "private" {
  vpc_id     = aws_vpc.this.id
  subnet_ids = aws_subnet.private[*].id

  tags = merge(local.tags, { Name = "${var.name}-private" })
}

resource "aws_network_acl_rule" "public_ingress" {
  #checkov:skip=CKV_AWS_352:within the VPC security groups decide, port by port; this list keeps others out
  #checkov:skip=CKV_AWS_231:NAT gateways take answers on every port from 1024; the groups behind admit 80 and 443 alone
  for_each = local.public_ingress

  network_acl_id = aws_network_acl.public.id
  rule_number    = each.key
  egress         = false
  rule_action    = "allow"
  protocol       = each.value.protocol
  from_port      = each.value.from
  to_port        = each.value.to
  cidr_block     = each.value.cidr
}

resource "aws_network_acl_rule" "public_egress" {
  for_each = local.public_egress

  network_acl_id = aws_network_acl.public.id
  rule_number    = each.key
  egress         = true
  rule_action    = "allow"
  protocol       = each.value.protocol
  from_port      = each.value.from
  to_port        = each.value.to
  cidr_block     = each.value.cidr
}

resource "aws_network_acl_rule" "private_ingress" {
  #checkov:skip=CKV_AWS_352:within the VPC security groups decide, port by port; this list keeps others out
  #checkov:skip=CKV_AWS_231:answers to functions come to every port from 1024; nothing outside can open a connection to a private address
  for_each = local.private_ingress

  network_acl_id = aws_network_acl.private.id
  rule_number    = each.key
  egress         = false
  rule_action    = "allow"
  protocol       = each.value.protocol
  from_port      = each.value.from
  to_port        = each.value.to
  cidr_block     = each.value.cidr
}

resource "aws_network_acl_rule" "private_egress" {
  for_each = local.private_egress

  network_acl_id = aws_network_acl.private.id
  rule_number    = each.key
  egress         = true
  rule_action    = "allow"
  protocol       = each.value.protocol
  from_port      = each.value.from
  to_port        = each.value.to
  cidr_block     = each.value.cidr
}
