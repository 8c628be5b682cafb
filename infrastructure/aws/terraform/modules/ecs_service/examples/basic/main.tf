# CAIO's services behind an existing load balancer, on an existing database. Everything but the image is looked up by
# you; the composition in modules/caio shows how the other modules answer.

provider "aws" {
  region = "us-east-1"
}

variable "network" {
  description = "An existing VPC and its private subnets."
  type        = object({ vpc_id = string, subnet_ids = list(string) })
}

variable "load_balancer" {
  description = "What the module alb tells."
  type = object({
    security_group_id       = string
    alb_arn_suffix          = string
    target_group_arn        = string
    target_group_arn_suffix = string
    target_group_names      = list(string)
    https_listener_arn      = string
  })
}

variable "database" {
  description = "An existing PostgreSQL database, the secret of CAIO's login and that of the administrator."
  type        = object({ host = string, security_group_id = string, secret_arn = string, admin_secret_arn = string })
}

variable "auth_secret_arn" {
  description = "Secret with auth_secret_key and signing_secret."
  type        = string
}

variable "kms_key_arn" {
  description = "Key of the secrets and the logs."
  type        = string
}

variable "access" {
  description = "What the tasks may use; see the module's variable."
  type = object({
    tenants_key_arn      = string
    artifacts_bucket_arn = string
    audit_bucket_arn     = string
    table_arn            = string
    queue_arns           = list(string)
    bus_arn              = string
  })
}

locals {
  database = {
    CAIO_ENV        = "staging"
    CAIO_DB_HOST    = var.database.host
    CAIO_DB_PORT    = "5432"
    CAIO_DB_NAME    = "caio"
    CAIO_DB_SSLMODE = "require"
  }
  login = {
    CAIO_DB_USER     = "${var.database.secret_arn}:username::"
    CAIO_DB_PASSWORD = "${var.database.secret_arn}:password::"
  }
}

module "service" {
  source = "../.."

  name                  = "caio-staging"
  environment           = "staging"
  vpc_id                = var.network.vpc_id
  subnet_ids            = var.network.subnet_ids
  alb_security_group_id = var.load_balancer.security_group_id
  load_balancer         = var.load_balancer
  data_stores           = { database = { security_group_id = var.database.security_group_id, port = 5432 } }

  image          = "123456789012.dkr.ecr.us-east-1.amazonaws.com/caio:v1.0.0"
  repository_arn = "arn:aws:ecr:us-east-1:123456789012:repository/caio"
  kms_key_arn    = var.kms_key_arn
  access         = var.access

  serving_environment = {
    plain = merge(local.database, { CAIO_API_HOST = "0.0.0.0", CAIO_API_PORT = "8080", CAIO_OPS_PORT = "9090" })
    secrets = merge(local.login, {
      CAIO_AUTH_SECRET_KEY = "${var.auth_secret_arn}:auth_secret_key::"
      CAIO_SIGNING_SECRET  = "${var.auth_secret_arn}:signing_secret::"
    })
    secret_arns = [var.database.secret_arn, var.auth_secret_arn]
  }

  migration_environment = {
    plain = local.database
    secrets = merge(local.login, {
      CAIO_DB_ADMIN_USER     = "${var.database.admin_secret_arn}:username::"
      CAIO_DB_ADMIN_PASSWORD = "${var.database.admin_secret_arn}:password::"
    })
    secret_arns = [var.database.secret_arn, var.database.admin_secret_arn]
  }

  rollback_alarm_names = ["caio-staging-5xx"] # an alarm of yours on the load balancer
}

output "migration_task_definition_arn" {
  description = "Run this before the services take a new image."
  value       = module.service.migration_task_definition_arn
}
