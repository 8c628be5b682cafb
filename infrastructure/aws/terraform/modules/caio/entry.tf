# How callers come in: the load balancer, or CloudFront before it; the web ACL stands at the outermost.

data "aws_ec2_managed_prefix_list" "cloudfront" {
  count = var.switches.cdn ? 1 : 0

  name = "com.amazonaws.global.cloudfront.origin-facing"
}

module "alb" {
  source = "../alb"

  name                   = local.name
  environment            = var.environment
  tags                   = var.tags
  vpc_id                 = module.network.vpc_id
  public_subnet_ids      = module.network.public_subnet_ids
  domain_name            = var.domain.name
  zone_id                = var.domain.zone_id
  certificate_arn        = var.domain.certificate_arn
  create_alias           = !var.switches.cdn
  ingress_prefix_list_id = one(data.aws_ec2_managed_prefix_list.cloudfront[*].id)
  logs_bucket            = module.storage.buckets["logs"].name
  deletion_protection    = var.deletion_protection
  drain_seconds          = local.drain_seconds
  stickiness             = var.switches.stickiness
  agents                 = var.switches.agents
  blue_green             = var.switches.blue_green
}

module "waf" {
  source = "../waf"
  count  = var.switches.waf && !var.switches.cdn ? 1 : 0

  name               = local.name
  environment        = var.environment
  tags               = var.tags
  log_retention_days = var.log_retention_days
  kms_key_arn        = module.secrets.kms_key_arn
}

resource "aws_wafv2_web_acl_association" "alb" {
  count = var.switches.waf && !var.switches.cdn ? 1 : 0

  resource_arn = module.alb.alb_arn
  web_acl_arn  = module.waf[0].web_acl_arn
}

module "edge_waf" {
  source    = "../waf"
  count     = var.switches.waf && var.switches.cdn ? 1 : 0
  providers = { aws = aws.us_east_1 }

  name               = local.name
  environment        = var.environment
  tags               = var.tags
  scope              = "CLOUDFRONT"
  log_retention_days = var.log_retention_days
}

module "cdn" {
  source    = "../cdn"
  count     = var.switches.cdn ? 1 : 0
  providers = { aws = aws.us_east_1 }

  name               = local.name
  environment        = var.environment
  tags               = var.tags
  domain_name        = var.domain.name
  zone_id            = var.domain.zone_id
  origin_dns_name    = module.alb.alb_dns_name
  web_acl_arn        = one(module.edge_waf[*].web_acl_arn)
  log_retention_days = var.log_retention_days
}
