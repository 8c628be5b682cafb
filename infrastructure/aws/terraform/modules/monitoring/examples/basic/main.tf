# Alarms, dashboards and topics for a service that exists.

provider "aws" {
  region = "us-east-1"
}

variable "kms_key_arn" {
  description = "The key that encrypts it: output kms_key_arn of the module secrets."
  type        = string
}

module "monitoring" {
  source = "../.."

  name                    = "caio-dev"
  environment             = "dev"
  application_environment = "development"
  kms_key_arn             = var.kms_key_arn
  alert_email             = "ops@example.com"
  alb_arn_suffix          = "app/caio-dev-alb/0123456789abcdef"
  target_group_arn_suffix = "targetgroup/caio-dev-tg/0123456789abcdef"
  cluster_name            = "caio-dev-cluster"
  service_names           = { api = "caio-dev-service", worker = "caio-dev-worker" }
  log_group_names         = ["/ecs/caio-dev"]
  database                = { identifier = "caio-dev-db", max_connections = 80 }
  cache_node_ids          = ["caio-dev-cache-001"]
}

output "dashboard_urls" {
  description = "Where to look."
  value       = module.monitoring.dashboard_urls
}
