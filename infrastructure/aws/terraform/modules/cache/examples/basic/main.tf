# One node in an existing VPC.

provider "aws" {
  region = "us-east-1"
}

variable "vpc_id" {
  description = "An existing VPC."
  type        = string
}

variable "private_subnet_ids" {
  description = "Two of its private subnets, in different zones."
  type        = list(string)
}

variable "service_security_group_id" {
  description = "The security group of what may connect."
  type        = string
}

variable "kms_key_arn" {
  description = "The key that encrypts it."
  type        = string
}

variable "auth_token" {
  description = "What a client must present: output cache_auth_token of the module secrets."
  type        = string
  sensitive   = true
}

module "cache" {
  source = "../.."

  name                       = "caio-dev"
  environment                = "dev"
  vpc_id                     = var.vpc_id
  subnet_ids                 = var.private_subnet_ids
  allowed_security_group_ids = [var.service_security_group_id]
  kms_key_arn                = var.kms_key_arn
  auth_token                 = var.auth_token
}

output "primary_endpoint" {
  description = "The host of CAIO_REDIS_URL."
  value       = module.cache.primary_endpoint
}
