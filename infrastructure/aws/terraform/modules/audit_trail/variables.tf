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

variable "logs_bucket" {
  description = "The logs bucket's name (module storage), which lets CloudTrail write under cloudtrail/."
  type        = string
}

variable "kms_key_arn" {
  description = "The key that encrypts the trail's files and its log group. Its policy lets CloudTrail use it."
  type        = string
}

variable "enable_cloudtrail" {
  description = "Whether the module makes a trail. Off where the organisation has one."
  type        = bool
  default     = true
}

variable "data_event_bucket_arns" {
  description = "Buckets whose every object access is recorded: the audit bucket's."
  type        = list(string)
  default     = []
}

variable "enable_guardduty" {
  description = "Whether GuardDuty watches the account. One an account and region: on in one environment of it."
  type        = bool
  default     = false
}

variable "enable_security_hub" {
  description = "Whether Security Hub checks the account against its foundational standard. One an account and region."
  type        = bool
  default     = false
}

variable "enable_inspector" {
  description = "Whether Inspector scans images and functions. One an account and region."
  type        = bool
  default     = false
}

variable "notify" {
  description = "Whether findings_topic_arn is told of findings of high severity."
  type        = bool
  default     = true

  validation {
    condition     = !var.notify || var.findings_topic_arn != null || !(var.enable_guardduty || var.enable_inspector)
    error_message = "notify needs findings_topic_arn when GuardDuty or Inspector is on: a finding that nobody reads is none."
  }
}

variable "findings_topic_arn" {
  description = "The topic that is told. Its policy and its key let events.amazonaws.com publish."
  type        = string
  default     = null
}

variable "log_retention_days" {
  description = "For how many days the trail's log group is kept; the bucket keeps it longer."
  type        = number
  default     = 90

  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653], var.log_retention_days)
    error_message = "log_retention_days must be one that CloudWatch Logs knows: 7, 14, 30, 60, 90, 365 and others."
  }
}
