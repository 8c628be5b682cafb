# The four buckets of an environment that comes and goes.

provider "aws" {
  region = "us-east-1"
}

variable "kms_key_arn" {
  description = "The key that encrypts it: output kms_key_arn of the module secrets."
  type        = string
}

module "storage" {
  source = "../.."

  name          = "caio-dev"
  environment   = "dev"
  kms_key_arn   = var.kms_key_arn
  force_destroy = true
}

output "buckets" {
  description = "The buckets by purpose."
  value       = module.storage.buckets
}
