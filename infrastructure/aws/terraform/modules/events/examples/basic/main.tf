# The bus and its queues, with the rule to one of them on and a message every night.

provider "aws" {
  region = "us-east-1"
}

variable "kms_key_arn" {
  description = "The key that encrypts it: output kms_key_arn of the module secrets."
  type        = string
}

module "events" {
  source = "../.."

  name        = "caio-dev"
  environment = "dev"
  kms_key_arn = var.kms_key_arn

  rules = {
    workflows = {
      description  = "What workflows did."
      detail_types = ["caio.workflow.*"]
      queue        = "jobs"
      enabled      = true
    }
  }

  schedules = {
    nightly = {
      description = "Once a night."
      expression  = "cron(0 3 * * ? *)"
      queue       = "jobs"
      message     = { job = "sweep" }
    }
  }
}

output "bus_name" {
  description = "CAIO_EVENT_BUS."
  value       = module.events.bus_name
}
