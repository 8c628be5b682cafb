# A VPC over two availability zones with one NAT gateway.

provider "aws" {
  region = "us-east-1"
}

resource "aws_kms_key" "logs" {
  description         = "Flow logs of the example"
  enable_key_rotation = true
}

module "network" {
  source = "../.."

  name        = "caio-dev"
  environment = "dev"
  nat         = "single"
  kms_key_arn = aws_kms_key.logs.arn
}

output "private_subnet_ids" {
  description = "Where tasks go."
  value       = module.network.private_subnet_ids
}
