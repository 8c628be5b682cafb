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

variable "kms_key_arn" {
  description = "The key that encrypts the vault."
  type        = string
}

variable "database_arn" {
  description = "The database's ARN (instance or cluster): a snapshot a day, and a test by restoring one."
  type        = string
}

variable "database_engine" {
  description = "postgres or aurora-postgresql, which decides how a restore is tested."
  type        = string
  default     = "postgres"

  validation {
    condition     = contains(["postgres", "aurora-postgresql"], var.database_engine)
    error_message = "database_engine must be postgres or aurora-postgresql."
  }
}

variable "resource_arns" {
  description = "What else gets a snapshot a day: the session table. Beside these, whatever is tagged Backup = <name>."
  type        = list(string)
  default     = []
}

variable "bucket_arns" {
  description = "Buckets, each with versioning, that are backed up continuously: any second can be restored."
  type        = list(string)
  default     = []
}

variable "continuous_retention_days" {
  description = "For how many days each second of the buckets can be restored. AWS Backup allows 35 at most."
  type        = number
  default     = 35

  validation {
    condition     = var.continuous_retention_days >= 7 && var.continuous_retention_days <= 35
    error_message = "continuous_retention_days must be 7 to 35."
  }
}

variable "daily_retention_days" {
  description = "For how many days daily backups, and their copies in the other region, are kept."
  type        = number
  default     = 90

  validation {
    condition     = var.daily_retention_days >= 7
    error_message = "daily_retention_days must be at least 7."
  }
}

variable "copy_vault_arn" {
  description = "A vault in another region for the daily copies (module copy_vault); null for none."
  type        = string
  default     = null

  validation {
    condition     = var.copy_vault_arn != null || var.environment != "production"
    error_message = "copy_vault_arn is needed in production: a region that fails takes its backups along."
  }
}

variable "lock" {
  description = "Whether the vault is locked for good after three days: then nobody, not even AWS, deletes a backup early."
  type        = bool
  default     = false
}

variable "restore_testing" {
  description = "Whether a restore of the database is tested every week, into subnets of database_subnet_group_name."
  type        = bool
  default     = true
}

variable "database_subnet_group_name" {
  description = "The subnet group that restore tests use; null for the name that the module `database` gives, <name>-db."
  type        = string
  default     = null
}

variable "notify" {
  description = "Whether notified_topic_arn is told of backups, copies and restores that fail."
  type        = bool
  default     = true

  validation {
    condition     = !var.notify || var.notified_topic_arn != null
    error_message = "notify needs notified_topic_arn: a backup that fails in silence is found when it is needed."
  }
}

variable "notified_topic_arn" {
  description = "The topic that is told. Its policy and its key let backup.amazonaws.com publish."
  type        = string
  default     = null
}
