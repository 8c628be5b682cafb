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

variable "application_environment" {
  description = "What the application calls its environment (CAIO_ENV): the dimension Environment of its own metrics."
  type        = string

  validation {
    condition     = contains(["development", "staging", "production"], var.application_environment)
    error_message = "application_environment must be what CAIO_ENV can be: development, staging or production."
  }
}

variable "always_serving" {
  description = "Whether a task runs at any hour. false where none does at night, or before the first migration: silence then pages nobody."
  type        = bool
  default     = true
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

variable "kms_key_arn" {
  description = "The key that encrypts the topics. Its policy lets CloudWatch, EventBridge and Budgets publish."
  type        = string
}

variable "alert_email" {
  description = "Who is told of every alert, and confirms the subscription by mail."
  type        = string

  validation {
    condition     = can(regex("^[^@\\s]+@[^@\\s]+\\.[^@\\s]+$", var.alert_email))
    error_message = "alert_email must be an e-mail address: an alert that nobody gets is none."
  }
}

variable "pager_endpoint" {
  description = "The HTTPS integration address of a pager (PagerDuty, Opsgenie) for critical alerts; null for none."
  type        = string
  default     = null
  sensitive   = true

  validation {
    condition     = var.pager_endpoint == null || can(regex("^https://", var.pager_endpoint))
    error_message = "pager_endpoint must begin with https://."
  }
}

variable "slack" {
  description = "The Slack workspace and channel that Amazon Q Developer in chat applications (formerly Chatbot) tells; null for none. Authorise the workspace in the console first."
  type        = object({ team_id = string, channel_id = string })
  default     = null
}

variable "alb_arn_suffix" {
  description = "The load balancer's ARN suffix (app/name/id)."
  type        = string
}

variable "target_group_arn_suffix" {
  description = "The API's target group's ARN suffix (targetgroup/name/id)."
  type        = string
}

variable "green_target_group" {
  description = "The other target group of blue/green deployments: after each, the tasks are in the other one. null: there is one alone."
  type        = object({ arn_suffix = string })
  default     = null
}

variable "cluster_name" {
  description = "The ECS cluster's name."
  type        = string
}

variable "service_names" {
  description = "The ECS services' names by what they are: api, worker."
  type        = map(string)
}

variable "log_group_names" {
  description = "The log groups of the API and the worker, for queries."
  type        = list(string)
  default     = []
}

variable "database" {
  description = "The database: its writer's identifier, its engine, its max_connections, and its GiB of storage to begin with."
  type = object({
    identifier        = string
    engine            = optional(string, "postgres")
    max_connections   = number
    allocated_storage = optional(number, 100)
  })
}

variable "cache_node_ids" {
  description = "The cache's nodes (CacheClusterId)."
  type        = list(string)
  default     = []
}

variable "table_name" {
  description = "The session table's name; null for none."
  type        = string
  default     = null
}

variable "queue_names" {
  description = "The queues' names by name."
  type        = map(string)
  default     = {}
}

variable "dlq_names" {
  description = "The dead-letter queues' names by name."
  type        = map(string)
  default     = {}
}

variable "function_names" {
  description = "The functions' names by name."
  type        = map(string)
  default     = {}
}

variable "canary_name" {
  description = "The canary's name; null for none."
  type        = string
  default     = null
}

variable "rotated_secret_arns" {
  description = "Secrets whose rotations are told of: the database's master secret."
  type        = list(string)
  default     = []
}

variable "tenants" {
  description = "The tenants that CAIO_METRICS_TENANTS names, which the tenants' dashboard says. It finds their figures by itself."
  type        = list(string)
  default     = []
}

variable "slo" {
  description = "The objectives, in percent of requests over 30 days: answered at all, decided within latency_ms, without an error of CAIO's own."
  type = object({
    availability = optional(number, 99.9)
    latency      = optional(number, 95)
    latency_ms   = optional(number, 500)
    errors       = optional(number, 99.9)
  })
  default = {}

  validation {
    condition     = alltrue([for objective in [var.slo.availability, var.slo.errors] : objective >= 99 && objective < 100])
    error_message = "slo.availability and slo.errors must be 99 to less than 100."
  }

  validation {
    condition     = var.slo.latency >= 93.5 && var.slo.latency < 100 && var.slo.latency_ms > 0
    error_message = "slo.latency must be 93.5 to less than 100: below that a burn of 14.4 would be more than every request."
  }
}
