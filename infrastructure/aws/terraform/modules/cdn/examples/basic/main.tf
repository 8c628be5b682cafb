# CloudFront before an existing load balancer.

provider "aws" {
  region = "us-east-1"
}

variable "zone_id" {
  description = "Route 53 zone of example.com."
  type        = string
}

variable "alb_dns_name" {
  description = "An existing load balancer, with a certificate for caio.example.com."
  type        = string
}

module "cdn" {
  source = "../.."

  name            = "caio-dev"
  environment     = "dev"
  domain_name     = "caio.example.com"
  zone_id         = var.zone_id
  origin_dns_name = var.alb_dns_name
}

output "distribution" {
  description = "AWS's name of the distribution."
  value       = module.cdn.domain_name
}
