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

variable "vpc_id" {
  description = "The VPC of the database."
  type        = string
}

variable "subnet_ids" {
  description = "Private subnets, in at least two availability zones."
  type        = list(string)

  validation {
    condition     = length(var.subnet_ids) >= 2
    error_message = "subnet_ids must name at least two subnets: a subnet group spans two availability zones."
  }
}

variable "allowed_security_group_ids" {
  description = "Security groups that may connect, and no one else: the service's."
  type        = list(string)
}

variable "kms_key_arn" {
  description = "The key that encrypts storage, backups, performance data, logs and the master secret."
  type        = string
}

variable "engine" {
  description = "postgres (RDS) or aurora-postgresql (Aurora)."
  type        = string
  default     = "postgres"

  validation {
    condition     = contains(["postgres", "aurora-postgresql"], var.engine)
    error_message = "engine must be postgres or aurora-postgresql."
  }
}

variable "engine_version" {
  description = "The major version, or major.minor to pin one: minor upgrades are automatic. The same numbers for both engines."
  type        = string
  default     = "18"

  validation {
    condition     = can(regex("^(15|16|17|18)(\\.[0-9]+)?$", var.engine_version))
    error_message = "engine_version must be 15 to 18, with or without a minor version: what both engines have."
  }
}

variable "instance_class" {
  description = "The class of each instance. Aurora knows no t3.micro and t3.small."
  type        = string
  default     = "db.t3.medium"

  validation {
    condition     = can(regex("^db\\.[a-z0-9]+\\.[a-z0-9]+$", var.instance_class))
    error_message = "instance_class must look like db.t3.medium."
  }

  validation {
    condition     = var.engine == "postgres" || !can(regex("\\.(micro|small)$", var.instance_class))
    error_message = "instance_class must be db.t3.medium or larger with aurora-postgresql."
  }
}

variable "allocated_storage" {
  description = "GiB to begin with. Aurora grows by itself and ignores it."
  type        = number
  default     = 100

  validation {
    condition     = var.allocated_storage >= 20 && var.allocated_storage <= 65536
    error_message = "allocated_storage must be 20 to 65536 GiB."
  }
}

variable "max_allocated_storage" {
  description = "Up to how many GiB storage grows by itself; null for five times what it begins with."
  type        = number
  default     = null

  validation {
    condition     = var.max_allocated_storage == null || try(var.max_allocated_storage > var.allocated_storage, false)
    error_message = "max_allocated_storage must be more than allocated_storage."
  }
}

variable "max_connections" {
  description = "The database's max_connections; null for a figure that fits the instance class. Alarms go by it."
  type        = number
  default     = null

  validation {
    condition     = var.max_connections == null || try(var.max_connections >= 50 && var.max_connections <= 5000, false)
    error_message = "max_connections must be 50 to 5000."
  }
}

variable "multi_az" {
  description = "Whether a standby in another availability zone takes over by itself. For Aurora: a second instance."
  type        = bool
  default     = true
}

variable "backup_retention_days" {
  description = "For how many days the database can be taken back to any second: 7, in production 30."
  type        = number
  default     = 7

  validation {
    condition     = var.backup_retention_days >= 1 && var.backup_retention_days <= 35
    error_message = "backup_retention_days must be 1 to 35: 0 turns backups off, and with them every restore."
  }

  validation {
    condition     = var.environment != "production" || var.backup_retention_days >= 30
    error_message = "backup_retention_days must be at least 30 in production."
  }
}

variable "deletion_protection" {
  description = "Whether the database refuses to be deleted."
  type        = bool
  default     = true
}

variable "final_snapshot" {
  description = "Whether deleting the database leaves a snapshot named <name>-db-final."
  type        = bool
  default     = true
}

variable "performance_insights" {
  description = "Whether 7 days are kept of what the database waited for (Performance Insights, part of Database Insights)."
  type        = bool
  default     = true
}

variable "monitoring_interval" {
  description = "Seconds between enhanced monitoring's figures; 0 for none."
  type        = number
  default     = 60

  validation {
    condition     = contains([0, 1, 5, 10, 15, 30, 60], var.monitoring_interval)
    error_message = "monitoring_interval must be 0, 1, 5, 10, 15, 30 or 60."
  }
}

variable "log_retention_days" {
  description = "For how many days the database's logs are kept."
  type        = number
  default     = 30

  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653], var.log_retention_days)
    error_message = "log_retention_days must be one that CloudWatch Logs knows: 7, 14, 30, 60, 90, 365 and others."
  }
}

variable "slow_statement_ms" {
  description = "Statements that take longer than this many milliseconds are logged, without their parameters."
  type        = number
  default     = 500

  validation {
    condition     = var.slow_statement_ms >= 10
    error_message = "slow_statement_ms must be at least 10: logging every statement would log what tenants sent."
  }
}

variable "replica" {
  description = "Whether there is a further instance behind the reader endpoint. With aurora-postgresql only."
  type        = bool
  default     = false

  validation {
    condition     = !var.replica || var.engine == "aurora-postgresql"
    error_message = "replica needs aurora-postgresql: RDS makes no read replica of an instance whose master login it manages itself."
  }
}

variable "proxy" {
  description = "Whether RDS Proxy pools connections. `endpoint` is then the proxy's."
  type        = bool
  default     = false

  validation {
    condition     = !var.proxy || var.credentials_secret_arn != null
    error_message = "proxy needs credentials_secret_arn: the proxy logs in with the application's credentials."
  }
}

variable "credentials_secret_arn" {
  description = "The application's credentials ({username, password}); only the proxy reads them."
  type        = string
  default     = null
}
