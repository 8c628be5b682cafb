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

variable "lock" {
  description = "Whether the vault is locked for good after three days."
  type        = bool
  default     = false
}

variable "min_retention_days" {
  description = "The shortest retention that a locked vault takes."
  type        = number
  default     = 7

  validation {
    condition     = var.min_retention_days >= 1
    error_message = "min_retention_days must be at least 1."
  }
}
