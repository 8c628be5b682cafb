# A canary whose code is in the artifacts bucket.

provider "aws" {
  region = "us-east-1"
}

variable "kms_key_arn" {
  description = "The key that encrypts it: output kms_key_arn of the module secrets."
  type        = string
}

variable "artifacts_bucket" {
  description = "The bucket with the code, which takes the results too."
  type        = string
}

variable "code_key" {
  description = "The code's key, as `make -C infrastructure/aws canary` has printed it."
  type        = string
}

variable "api_keys_secret_arn" {
  description = "The secret whose member `canary` is the API key."
  type        = string
}

module "canary" {
  source = "../.."

  name               = "caio-dev"
  environment        = "dev"
  endpoint_url       = "https://caio.example.com"
  code_s3_bucket     = var.artifacts_bucket
  code_s3_key        = var.code_key
  artifacts_bucket   = var.artifacts_bucket
  api_key_secret_arn = var.api_keys_secret_arn
  kms_key_arn        = var.kms_key_arn
}

output "canary_name" {
  description = "The canary's name."
  value       = module.canary.canary_name
}
