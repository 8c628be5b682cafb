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
  description = "The key that encrypts environment variables, logs and dead-letter queues."
  type        = string
}

variable "functions" {
  description = <<-EOT
    The functions by name. Their code is either `image_uri` (with a digest or a tag other than latest) or `s3_bucket` and
    `s3_key` with `handler` and `runtime`. `queue_arn` makes a queue call the function; `queue_visibility_timeout_seconds` is
    that queue's, at least six times `timeout_seconds`. `policy_json` is what the function may do beyond writing its logs.
    -1 as `reserved_concurrency` reserves none.
  EOT
  type = map(object({
    description                      = string
    image_uri                        = optional(string)
    s3_bucket                        = optional(string)
    s3_key                           = optional(string)
    s3_object_version                = optional(string)
    handler                          = optional(string)
    runtime                          = optional(string, "python3.12")
    architecture                     = optional(string, "arm64")
    timeout_seconds                  = optional(number, 30)
    memory_mb                        = optional(number, 256)
    reserved_concurrency             = optional(number, 10)
    environment                      = optional(map(string), {})
    queue_arn                        = optional(string)
    queue_visibility_timeout_seconds = optional(number)
    batch_size                       = optional(number, 10)
    policy_json                      = optional(string)
  }))
  default = {}

  validation {
    condition     = alltrue([for key in keys(var.functions) : can(regex("^[a-z][a-z0-9-]{0,29}$", key))])
    error_message = "functions must have names of a-z, 0-9 and -, up to 30 characters."
  }

  validation {
    condition = alltrue([
      for function in values(var.functions) : (function.image_uri != null) != (function.s3_bucket != null && function.s3_key != null && function.handler != null)
    ])
    error_message = "functions must have either image_uri or s3_bucket, s3_key and handler."
  }

  validation {
    condition     = alltrue([for function in values(var.functions) : !can(regex(":latest$", function.image_uri))])
    error_message = "image_uri must not be tagged latest: name what runs."
  }

  validation {
    condition     = alltrue([for function in values(var.functions) : function.timeout_seconds >= 1 && function.timeout_seconds <= 900])
    error_message = "timeout_seconds must be 1 to 900."
  }

  validation {
    condition = alltrue([
      for function in values(var.functions) :
      function.queue_arn == null || try(function.queue_visibility_timeout_seconds >= 6 * function.timeout_seconds, false)
    ])
    error_message = "queue_visibility_timeout_seconds must be at least six times timeout_seconds: a message would be handled twice at once."
  }

  validation {
    condition     = alltrue([for function in values(var.functions) : function.reserved_concurrency == -1 || function.reserved_concurrency >= 2])
    error_message = "reserved_concurrency must be -1 (none) or at least 2, the least that a queue's poller needs."
  }
}

variable "subnet_ids" {
  description = "Private subnets to run in, for functions that reach the database or the cache; empty to run outside the VPC."
  type        = list(string)
  default     = []
}

variable "security_group_ids" {
  description = "Security groups of the functions in the VPC."
  type        = list(string)
  default     = []

  validation {
    condition     = (length(var.subnet_ids) == 0) == (length(var.security_group_ids) == 0)
    error_message = "security_group_ids and subnet_ids go together."
  }
}

variable "log_retention_days" {
  description = "For how many days the functions' logs are kept."
  type        = number
  default     = 30

  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653], var.log_retention_days)
    error_message = "log_retention_days must be one that CloudWatch Logs knows: 7, 14, 30, 60, 90, 365 and others."
  }
}
