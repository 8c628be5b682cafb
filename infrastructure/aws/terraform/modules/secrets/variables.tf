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

variable "recovery_window_days" {
  description = "For how many days a deleted secret can be brought back. The auth secret always has 30."
  type        = number
  default     = 30

  validation {
    condition     = var.recovery_window_days >= 7 && var.recovery_window_days <= 30
    error_message = "recovery_window_days must be 7 to 30: Secrets Manager allows no others but an immediate deletion."
  }
}

variable "key_deletion_window_days" {
  description = "For how many days the deletion of a KMS key can be cancelled."
  type        = number
  default     = 30

  validation {
    condition     = var.key_deletion_window_days >= 7 && var.key_deletion_window_days <= 30
    error_message = "key_deletion_window_days must be 7 to 30."
  }
}

variable "generate_values" {
  description = <<-EOT
    Whether the secrets' first values are generated. False to bring another installation's (a restore, a move to another
    region): then write the values into the empty secrets before the service starts. What is generated is never in the state.
  EOT
  type        = bool
  default     = true
}

variable "database_user" {
  description = "The application's login to the database, made by `caio db upgrade`. Not the master user."
  type        = string
  default     = "caio_service"

  validation {
    condition     = can(regex("^[a-z_][a-z0-9_]{0,62}$", var.database_user)) && !contains(["postgres", "rdsadmin", "caio_admin", "caio_app", "caio_platform"], var.database_user)
    error_message = "database_user must be a PostgreSQL name of a-z, 0-9 and _, and neither the master user nor one of the roles caio_app and caio_platform."
  }
}
