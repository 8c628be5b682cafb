# Daily backups of a database, copied to another region.

provider "aws" {
  region = "us-east-1"
}

provider "aws" {
  alias  = "recovery"
  region = "us-west-2"
}

variable "kms_key_arn" {
  description = "The key that encrypts it: output kms_key_arn of the module secrets."
  type        = string
}

variable "database_arn" {
  description = "The database's ARN."
  type        = string
}

variable "topic_arn" {
  description = "Who is told of what fails."
  type        = string
}

module "copy_vault" {
  source    = "../../copy_vault"
  providers = { aws = aws.recovery }

  name        = "caio-dev"
  environment = "dev"
}

module "backup" {
  source = "../.."

  name               = "caio-dev"
  environment        = "dev"
  kms_key_arn        = var.kms_key_arn
  database_arn       = var.database_arn
  copy_vault_arn     = module.copy_vault.vault_arn
  notified_topic_arn = var.topic_arn
}

output "vault_name" {
  description = "The vault's name."
  value       = module.backup.vault_name
}
