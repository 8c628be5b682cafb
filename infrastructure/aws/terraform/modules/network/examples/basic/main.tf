# A VPC over two availability zones with one NAT gateway.

provider "aws" {
  region = "us-east-1"
}

variable "kms_key_arn" {
  description = "An existing key whose policy admits CloudWatch Logs."
  type        = string
}

module "network" {
  source = "../.."

  name        = "caio-dev"
  environment = "dev"
  nat         = "single"
  kms_key_arn = var.kms_key_arn
}

output "private_subnet_ids" {
  description = "Where tasks go."
  value       = module.network.private_subnet_ids
}
