variable "name" {
  description = "What the names of all resources begin with: `caio-<environment>`."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{2,23}$", var.name))
    error_message = "name must be 3 to 24 characters of a-z, 0-9 and -, beginning with a letter: S3 and RDS allow no others."
  }
}

variable "environment" {
  description = "The environment: dev, staging or production."
  type        = string

  validation {
    condition     = contains(["dev", "staging", "production"], var.environment)
    error_message = "environment must be dev, staging or production."
  }
}

variable "tags" {
  description = "Tags of every resource of the module, beside the provider's default tags."
  type        = map(string)
  default     = {}
}

variable "permissions_boundary" {
  description = "ARN of the policy that bounds the module's roles; null for none. The pipeline may make no other roles."
  type        = string
  default     = null
}

variable "endpoint_url" {
  description = "The address of the API as callers use it, without a path: https://caio.example.com."
  type        = string

  validation {
    condition     = can(regex("^https://[a-z0-9.-]+(:[0-9]+)?$", var.endpoint_url))
    error_message = "endpoint_url must be https://host, without a path: a canary that speaks plain HTTP proves nothing about certificates."
  }
}

variable "code_s3_bucket" {
  description = "The bucket that the canary's code was put into (`make -C infrastructure/aws canary`)."
  type        = string
}

variable "code_s3_key" {
  description = "The code's key. Give changed code another key: Synthetics reads a key once."
  type        = string
  default     = "canary/canary.zip"
}

variable "code_s3_version" {
  description = "The code's object version; null for the newest."
  type        = string
  default     = null
}

variable "artifacts_bucket" {
  description = "The bucket's name that runs leave their results in, under canary/."
  type        = string
}

variable "api_key_secret_arn" {
  description = "The secret whose member `canary` is the API key that the canary calls with (of a tenant of its own): api-keys."
  type        = string
}

variable "kms_key_arn" {
  description = "The key that encrypts the secret, the results and the canary's logs."
  type        = string
}

variable "orchestrate_body" {
  description = "The request that is orchestrated, as JSON; null for what src/canary.py states. Its capability needs a service in the canary's tenant."
  type        = string
  default     = null

  validation {
    condition     = var.orchestrate_body == null || can(keys(jsondecode(var.orchestrate_body)))
    error_message = "orchestrate_body must be a JSON object."
  }
}

variable "trusted_key_ids" {
  description = "Ids of the signing keys that receipts may be signed by; empty to trust what /.well-known/caio-keys.json says."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for id in var.trusted_key_ids : can(regex("^[0-9a-f]{16}$", id))])
    error_message = "trusted_key_ids must be 16 hexadecimal characters each, as /.well-known/caio-keys.json has them."
  }
}

variable "schedule" {
  description = "How often the canary runs."
  type        = string
  default     = "rate(5 minutes)"

  validation {
    condition     = can(regex("^(rate\\([0-9]+ minutes?\\)|cron\\(.+\\))$", var.schedule))
    error_message = "schedule must be rate(N minutes), or cron(…) in UTC."
  }
}

variable "runtime_version" {
  description = "The Synthetics runtime."
  type        = string
  default     = "syn-python-selenium-14.0"

  validation {
    condition     = can(regex("^syn-python-selenium-[0-9]+\\.[0-9]+$", var.runtime_version))
    error_message = "runtime_version must be a syn-python-selenium one: the canary is Python."
  }
}

variable "result_retention_days" {
  description = "For how many days the canary's results are kept."
  type        = number
  default     = 30

  validation {
    condition     = var.result_retention_days >= 1 && var.result_retention_days <= 1024
    error_message = "result_retention_days must be 1 to 1024."
  }
}
