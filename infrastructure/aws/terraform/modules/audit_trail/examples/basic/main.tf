# The trail of an account, into a logs bucket that lets it in.

provider "aws" {
  region = "us-east-1"
}

variable "kms_key_arn" {
  description = "The key that encrypts it: output kms_key_arn of the module secrets."
  type        = string
}

variable "logs_bucket" {
  description = "The logs bucket of the module storage."
  type        = string
}

module "audit_trail" {
  source = "../.."

  name        = "caio-dev"
  environment = "dev"
  logs_bucket = var.logs_bucket
  kms_key_arn = var.kms_key_arn
}

output "trail_arn" {
  description = "The trail."
  value       = module.audit_trail.trail_arn
}
