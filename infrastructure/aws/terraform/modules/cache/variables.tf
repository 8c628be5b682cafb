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

variable "vpc_id" {
  description = "The VPC of the cache."
  type        = string
}

variable "subnet_ids" {
  description = "Private subnets, in at least two availability zones when there are replicas."
  type        = list(string)

  validation {
    condition     = length(var.subnet_ids) >= 1
    error_message = "subnet_ids must name at least one subnet."
  }
}

variable "allowed_security_group_ids" {
  description = "Security groups that may connect, and no one else: the service's."
  type        = list(string)
}

variable "kms_key_arn" {
  description = "The key that encrypts the cache, its snapshots and its logs."
  type        = string
}

variable "auth_token" {
  description = "What a client must present: 16 to 128 characters without /, \", @ and spaces."
  type        = string
  sensitive   = true

  validation {
    condition     = length(var.auth_token) >= 16 && length(var.auth_token) <= 128 && !can(regex("[/\"@\\s]", var.auth_token))
    error_message = "auth_token must be 16 to 128 characters without /, \", @ and spaces."
  }
}

variable "engine" {
  description = "valkey or redis."
  type        = string
  default     = "valkey"

  validation {
    condition     = contains(["valkey", "redis"], var.engine)
    error_message = "engine must be valkey or redis."
  }
}

variable "engine_version" {
  description = "The engine's version; null for Valkey 8.0 or Redis 7.1."
  type        = string
  default     = null
}

variable "node_type" {
  description = "The class of each node."
  type        = string
  default     = "cache.t3.micro"

  validation {
    condition     = can(regex("^cache\\.[a-z0-9]+\\.[a-z0-9]+$", var.node_type))
    error_message = "node_type must look like cache.t3.micro."
  }
}

variable "replicas" {
  description = "How many replicas follow the primary. With any, one takes over when the primary fails."
  type        = number
  default     = 0

  validation {
    condition     = var.replicas >= 0 && var.replicas <= 5
    error_message = "replicas must be 0 to 5."
  }

  validation {
    condition     = var.environment != "production" || var.replicas >= 1
    error_message = "replicas must be at least 1 in production: limits and sessions would stop with one node."
  }
}

variable "multi_az" {
  description = "Whether the nodes are spread over availability zones."
  type        = bool
  default     = false

  validation {
    condition     = !var.multi_az || (var.replicas >= 1 && length(var.subnet_ids) >= 2)
    error_message = "multi_az needs at least one replica and two subnets."
  }
}

variable "snapshot_retention_days" {
  description = "For how many days daily snapshots are kept; 0 for none: what the cache holds can be made anew."
  type        = number
  default     = 1

  validation {
    condition     = var.snapshot_retention_days >= 0 && var.snapshot_retention_days <= 35
    error_message = "snapshot_retention_days must be 0 to 35."
  }
}

variable "log_retention_days" {
  description = "For how many days the slow log and the engine log are kept."
  type        = number
  default     = 30

  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653], var.log_retention_days)
    error_message = "log_retention_days must be one that CloudWatch Logs knows: 7, 14, 30, 60, 90, 365 and others."
  }
}
