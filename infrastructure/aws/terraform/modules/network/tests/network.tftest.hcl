mock_provider "aws" {
  mock_data "aws_availability_zones" {
    defaults = { names = ["us-east-1a", "us-east-1b", "us-east-1c"] }
  }
  mock_data "aws_region" {
    defaults = { name = "us-east-1" }
  }
  mock_data "aws_iam_policy_document" {
    defaults = { json = "{}" }
  }
}

variables {
  name        = "caio-dev"
  environment = "dev"
  kms_key_arn = "arn:aws:kms:us-east-1:123456789012:key/00000000-0000-0000-0000-000000000000"
}

run "a_nat_gateway_in_every_zone" {
  command = plan

  assert {
    condition     = length(aws_nat_gateway.this) == 2 && length(aws_route.nat) == 2 && length(aws_route_table.private) == 2
    error_message = "per_az means one NAT gateway, one table and one route per zone."
  }
  assert {
    condition     = alltrue([for subnet in aws_subnet.public : !subnet.map_public_ip_on_launch])
    error_message = "No address is public by default."
  }
  assert {
    condition     = aws_flow_log.this.traffic_type == "ALL" && aws_cloudwatch_log_group.flow.kms_key_id == var.kms_key_arn
    error_message = "All traffic is logged, encrypted."
  }
}

run "answers_from_outside_come_back_in" {
  command = plan

  assert {
    condition = anytrue([for rule in aws_network_acl_rule.private_ingress :
    rule.cidr_block == "0.0.0.0/0" && rule.protocol == "tcp" && rule.from_port <= 32768 && rule.to_port >= 60999])
    error_message = "The private list must let answers to ephemeral ports in, or NAT is cut off."
  }
  assert {
    condition     = alltrue([for rule in aws_network_acl_rule.private_egress : rule.cidr_block == var.vpc_cidr || rule.to_port == 443])
    error_message = "Outside the VPC, private subnets reach port 443 only."
  }
}

run "one_nat_gateway_serves_every_zone" {
  command = plan

  variables {
    nat = "single"
  }
  assert {
    condition     = length(aws_nat_gateway.this) == 1 && length(aws_route.nat) == 2
    error_message = "single means one gateway that every private table points at."
  }
}

run "three_zones" {
  command = plan

  variables {
    public_subnet_cidrs  = ["10.0.1.0/24", "10.0.2.0/24", "10.0.3.0/24"]
    private_subnet_cidrs = ["10.0.10.0/24", "10.0.11.0/24", "10.0.12.0/24"]
  }
  assert {
    condition     = length(distinct(aws_subnet.private[*].availability_zone)) == 3
    error_message = "Each private subnet lies in a zone of its own."
  }
}

run "no_way_out_at_all_is_refused" {
  command = plan

  variables {
    nat              = "none"
    enable_endpoints = false
  }
  expect_failures = [var.nat]
}

run "subnets_come_in_pairs" {
  command = plan

  variables {
    private_subnet_cidrs = ["10.0.10.0/24"]
  }
  expect_failures = [var.private_subnet_cidrs]
}

run "a_name_with_another_prefix_is_refused" {
  command = plan

  variables {
    name = "Prod"
  }
  expect_failures = [var.name]
}
