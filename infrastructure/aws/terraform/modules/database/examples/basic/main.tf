# A small database in an existing VPC.

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

module "database" {
  source = "../.."

  name                       = "caio-dev"
  environment                = "dev"
  vpc_id                     = var.vpc_id
  subnet_ids                 = var.private_subnet_ids
  allowed_security_group_ids = [var.service_security_group_id]
  kms_key_arn                = var.kms_key_arn
  instance_class             = "db.t3.micro"
  allocated_storage          = 20
  multi_az                   = false
  backup_retention_days      = 1
  deletion_protection        = false
  final_snapshot             = false
}

output "master_secret_arn" {
  description = "Where RDS keeps the master login."
  value       = module.database.master_secret_arn
}
