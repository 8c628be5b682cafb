# A web ACL for a load balancer.

provider "aws" {
  region = "us-east-1"
}

variable "alb_arn" {
  description = "An existing load balancer."
  type        = string
}

module "waf" {
  source = "../.."

  name        = "caio-dev"
  environment = "dev"
}

resource "aws_wafv2_web_acl_association" "alb" {
  resource_arn = var.alb_arn
  web_acl_arn  = module.waf.web_acl_arn
}
