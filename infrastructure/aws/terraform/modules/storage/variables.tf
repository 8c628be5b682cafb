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

variable "kms_key_arn" {
  description = "The key that encrypts the buckets that S3's own log delivery does not write to."
  type        = string
}

variable "glacier_after_days" {
  description = "After how many days objects move to Glacier."
  type        = number
  default     = 90

  validation {
    condition     = var.glacier_after_days >= 30
    error_message = "glacier_after_days must be at least 30."
  }
}

variable "expire_after_days" {
  description = "After how many days objects of each bucket expire. Audit objects must outlive CAIO_ANCHOR_RETENTION_DAYS (2555)."
  type = object({
    artifacts = optional(number, 365)
    backups   = optional(number, 365)
    logs      = optional(number, 400)
    audit     = optional(number, 3650)
  })
  default = {}

  validation {
    condition     = alltrue([for days in values(var.expire_after_days) : days > var.glacier_after_days])
    error_message = "expire_after_days must be more than glacier_after_days: an object would expire before it moves."
  }

  validation {
    condition     = var.expire_after_days.audit >= 2555
    error_message = "expire_after_days.audit must be at least 2555, the seven years that the application locks its checkpoints for."
  }
}

variable "audit_default_retention_days" {
  description = <<-EOT
    For how many days the audit bucket locks, in governance mode, what is put without a retention of its own. The
    application's checkpoints name their own, in compliance mode, and this does not change it.
  EOT
  type        = number
  default     = 30

  validation {
    condition     = var.audit_default_retention_days >= 1 && var.audit_default_retention_days <= 36500
    error_message = "audit_default_retention_days must be 1 to 36500."
  }
}

variable "force_destroy" {
  description = "Whether buckets are emptied when they are destroyed: for environments that come and go. Never the audit bucket, never production."
  type        = bool
  default     = false

  validation {
    condition     = !var.force_destroy || var.environment != "production"
    error_message = "force_destroy must be false in production."
  }
}
