# The repository, encrypted with a key of its own.

provider "aws" {
  region = "us-east-1"
}

resource "aws_kms_key" "images" {
  description         = "Images of the example"
  enable_key_rotation = true
}

module "registry" {
  source = "../.."

  kms_key_arn = aws_kms_key.images.arn
}

output "repository_url" {
  description = "Push here."
  value       = module.registry.repository_url
}
