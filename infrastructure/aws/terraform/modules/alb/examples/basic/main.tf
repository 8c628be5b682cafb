# A load balancer in an existing VPC, for a name in an existing Route 53 zone.

provider "aws" {
  region = "us-east-1"
}

variable "vpc_id" {
  description = "An existing VPC."
  type        = string
}

variable "public_subnet_ids" {
  description = "Two of its public subnets, in different zones."
  type        = list(string)
}

variable "zone_id" {
  description = "Route 53 zone of example.com."
  type        = string
}

variable "logs_bucket" {
  description = "Bucket that admits the load balancer's access logs."
  type        = string
}

module "alb" {
  source = "../.."

  name              = "caio-dev"
  environment       = "dev"
  vpc_id            = var.vpc_id
  public_subnet_ids = var.public_subnet_ids
  domain_name       = "caio.example.com"
  zone_id           = var.zone_id
  logs_bucket       = var.logs_bucket
}

output "target_group_arn" {
  description = "Where a service registers its tasks."
  value       = module.alb.target_group_arn
}
