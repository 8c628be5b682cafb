# The repository, encrypted with a key of yours.

provider "aws" {
  region = "us-east-1"
}

variable "kms_key_arn" {
  description = "An existing key for the images."
  type        = string
}

module "registry" {
  source = "../.."

  kms_key_arn = var.kms_key_arn
}

output "repository_url" {
  description = "Push here."
  value       = module.registry.repository_url
}
