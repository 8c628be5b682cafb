variable "aws_region" {
  description = "Region of the environment."
  type        = string
  default     = "us-east-1"

  validation {
    condition     = can(regex("^[a-z]{2}(-[a-z]+)+-[0-9]$", var.aws_region))
    error_message = "aws_region is a region such as us-east-1."
  }
}

variable "recovery_region" {
  description = "Region that backups are copied to."
  type        = string
  default     = "us-west-2"

  validation {
    condition     = var.recovery_region != var.aws_region
    error_message = "recovery_region is another region than aws_region: a copy beside the original survives nothing more."
  }
}

variable "owner_email" {
  description = "Who answers for the environment: the tag Owner."
  type        = string

  validation {
    condition     = can(regex("^[^@\\s]+@[^@\\s]+\\.[^@\\s]+$", var.owner_email))
    error_message = "owner_email is an e-mail address."
  }
}

variable "alert_email" {
  description = "Who is told of alarms and of money, and confirms the subscription by mail."
  type        = string

  validation {
    condition     = can(regex("^[^@\\s]+@[^@\\s]+\\.[^@\\s]+$", var.alert_email))
    error_message = "alert_email is an e-mail address: an alert that nobody gets is none."
  }
}

variable "domain_name" {
  description = "Name that callers use; the certificate is for it."
  type        = string
}

variable "zone_id" {
  description = "Route 53 zone of domain_name; null: you enter certificate_validation_records and the name yourself."
  type        = string
  default     = null
}

variable "certificate_arn" {
  description = "Certificate of yours for domain_name; null: one is made and validated."
  type        = string
  default     = null
}

variable "caio_image_tag" {
  description = "What runs: v<version>, sha-<commit> or sha256:<digest>."
  type        = string
}

variable "retired_signing_keys" {
  description = "Public keys, in base64, that verify beside the one of signing_secret: those that signed before, or will (docs/runbooks/key-rotation.md)."
  type        = list(string)
  default     = []
}

variable "registry_account_id" {
  description = "Account of the registry; null: this one."
  type        = string
  default     = null
}

variable "permissions_boundary_name" {
  description = "Policy that bounds every role made here: bootstrap's. null in an account whose pipeline is not bootstrap's."
  type        = string
  default     = "caio-deploy-staging-boundary"
}

variable "serving" {
  description = "false builds everything and runs nothing: for the first apply, before the first migration."
  type        = bool
  default     = true
}

variable "generate_secrets" {
  description = "Whether the secrets get values at first; false to bring those of another installation: a restore."
  type        = bool
  default     = true
}

variable "vpc_cidr" {
  description = "Address range of the VPC."
  type        = string
  default     = "10.0.0.0/16"
}

variable "public_subnet_cidrs" {
  description = "Ranges of the public subnets, one per availability zone."
  type        = list(string)
  default     = ["10.0.1.0/24", "10.0.2.0/24"]
}

variable "private_subnet_cidrs" {
  description = "Ranges of the private subnets, one per availability zone."
  type        = list(string)
  default     = ["10.0.10.0/24", "10.0.11.0/24"]
}

variable "availability_zones" {
  description = "Availability zones; empty: the region's first ones."
  type        = list(string)
  default     = []
}

variable "db_instance_class" {
  description = "Class of the database."
  type        = string
  default     = "db.t3.medium"
}

variable "db_allocated_storage" {
  description = "GiB of storage that the database begins with."
  type        = number
  default     = 50
}

variable "cache_node_type" {
  description = "Class of the cache's nodes."
  type        = string
  default     = "cache.t3.micro"
}

variable "min_capacity" {
  description = "Fewest API tasks."
  type        = number
  default     = 2
}

variable "max_capacity" {
  description = "Most API tasks, 40 at most."
  type        = number
  default     = 10
}

variable "desired_capacity" {
  description = "API tasks to begin with; then the autoscaler decides."
  type        = number
  default     = 2
}

variable "enable_multi_az" {
  description = "A standby of the database and a replica of the cache in another zone."
  type        = bool
  default     = false
}

variable "enable_waf" {
  description = "A web ACL at the entry."
  type        = bool
  default     = true
}

variable "enable_cdn" {
  description = "CloudFront before the load balancer."
  type        = bool
  default     = false
}

variable "enable_spot" {
  description = "Workers beyond the first on Spot, mostly."
  type        = bool
  default     = true
}

variable "enable_container_insights" {
  description = "Figures per task and container, charged by the metric."
  type        = bool
  default     = true
}

variable "enable_auto_shutdown" {
  description = "No task at all from 22:00 to 06:00 UTC; otherwise one of each."
  type        = bool
  default     = false
}

variable "log_retention_days" {
  description = "Days that logs are kept."
  type        = number
  default     = 14
}

variable "monthly_budget_usd" {
  description = "What the environment may cost a month, in US dollars."
  type        = number
  default     = 500
}

variable "canary_code_key" {
  description = "Key of the canary's code in the artifacts bucket, as `make canary` prints it; null: no canary yet."
  type        = string
  default     = null
}
