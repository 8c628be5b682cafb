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

variable "monthly_limit_usd" {
  description = "What the environment may cost a month, in US dollars."
  type        = number

  validation {
    condition     = var.monthly_limit_usd > 0
    error_message = "monthly_limit_usd must be more than 0."
  }
}

variable "notified_emails" {
  description = "Who is told by mail when a threshold is passed."
  type        = list(string)

  validation {
    condition     = length(var.notified_emails) > 0 && alltrue([for address in var.notified_emails : can(regex("^[^@\\s]+@[^@\\s]+\\.[^@\\s]+$", address))])
    error_message = "notified_emails must be one or more e-mail addresses: a budget that tells nobody is none."
  }
}

variable "notified_topic_arns" {
  description = "SNS topics that are told too. Their policies and their key let budgets.amazonaws.com publish."
  type        = list(string)
  default     = []
}

variable "cost_tag" {
  description = "The tag whose costs count; null for the whole account. Activate it as a cost allocation tag first: until then nothing counts."
  type        = object({ key = string, value = string })
  default     = null
}
