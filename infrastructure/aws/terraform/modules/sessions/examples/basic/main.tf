# The session table.

provider "aws" {
  region = "us-east-1"
}

variable "kms_key_arn" {
  description = "The key that encrypts it: output kms_key_arn of the module secrets."
  type        = string
}

module "sessions" {
  source = "../.."

  name        = "caio-dev"
  environment = "dev"
  kms_key_arn = var.kms_key_arn
}

output "table_name" {
  description = "CAIO_SESSION_TABLE."
  value       = module.sessions.table_name
}
