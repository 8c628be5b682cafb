# One function that takes messages from a queue.

provider "aws" {
  region = "us-east-1"
}

variable "kms_key_arn" {
  description = "The key that encrypts it: output kms_key_arn of the module secrets."
  type        = string
}

variable "jobs_queue_arn" {
  description = "The queue jobs of the module events: 900 s of handling, so 5400 s of invisibility."
  type        = string
}

variable "image_uri" {
  description = "The function's image, with a tag or a digest."
  type        = string
}

module "functions" {
  source = "../.."

  name        = "caio-dev"
  environment = "dev"
  kms_key_arn = var.kms_key_arn

  functions = {
    jobs = {
      description                      = "Works on jobs."
      image_uri                        = var.image_uri
      timeout_seconds                  = 900
      memory_mb                        = 512
      queue_arn                        = var.jobs_queue_arn
      queue_visibility_timeout_seconds = 5400
    }
  }
}

output "function_names" {
  description = "The functions' names."
  value       = module.functions.function_names
}
