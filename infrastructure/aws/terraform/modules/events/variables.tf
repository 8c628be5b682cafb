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
  description = "The key that encrypts the bus and the queues. Its policy lets EventBridge use it."
  type        = string
}

variable "queues" {
  description = <<-EOT
    The queues by name: how long the handler of a message may take, and how many seconds a message stays invisible
    meanwhile (null for six times as long).
  EOT
  type = map(object({
    handler_timeout_seconds    = number
    visibility_timeout_seconds = optional(number)
  }))
  default = {
    events = { handler_timeout_seconds = 60 }
    jobs   = { handler_timeout_seconds = 900 }
  }

  validation {
    condition     = alltrue([for key in keys(var.queues) : can(regex("^[a-z][a-z0-9-]{0,29}$", key))])
    error_message = "queues must have names of a-z, 0-9 and -, up to 30 characters."
  }

  validation {
    condition     = alltrue([for queue in values(var.queues) : queue.handler_timeout_seconds >= 1 && queue.handler_timeout_seconds <= 7200])
    error_message = "handler_timeout_seconds must be 1 to 7200: six times as much is all the invisibility that SQS allows."
  }

  validation {
    condition = alltrue([
      for queue in values(var.queues) :
      queue.visibility_timeout_seconds == null || try(queue.visibility_timeout_seconds >= 6 * queue.handler_timeout_seconds && queue.visibility_timeout_seconds <= 43200, false)
    ])
    error_message = "visibility_timeout_seconds must be at least six times handler_timeout_seconds (and at most 43200): a message would be handled twice at once."
  }
}

variable "rules" {
  description = <<-EOT
    Rules of the bus by name: which detail types (or what they begin with, ending in *) go to which queue. The source is
    always caio. Enable a rule once something takes messages from its queue: until then they would only pile up.
  EOT
  type = map(object({
    description  = string
    detail_types = list(string)
    queue        = string
    enabled      = optional(bool, false)
  }))
  default = {
    all = {
      description  = "Every event of every tenant, for whoever works on them."
      detail_types = ["caio.*"]
      queue        = "events"
    }
    workflows = {
      description  = "What workflows did, for what follows from it."
      detail_types = ["caio.workflow.*"]
      queue        = "jobs"
    }
  }

  validation {
    condition     = alltrue([for rule in values(var.rules) : contains(keys(var.queues), rule.queue)])
    error_message = "rules must name a queue that queues has."
  }

  validation {
    condition = alltrue(flatten([
      for rule in values(var.rules) : [length(rule.detail_types) > 0, [for type in rule.detail_types : can(regex("^caio\\.[a-z_.]*\\*?$", type))]]
    ]))
    error_message = "rules must name detail types such as caio.tenant.created or caio.tenant.*."
  }
}

variable "schedules" {
  description = "Schedules by name: an expression of EventBridge Scheduler (UTC), the queue and the JSON that is put into it."
  type = map(object({
    description = string
    expression  = string
    queue       = string
    message     = map(string)
  }))
  default = {}

  validation {
    condition     = alltrue([for schedule in values(var.schedules) : can(regex("^(rate|cron|at)\\(.+\\)$", schedule.expression))])
    error_message = "schedules must have expressions like rate(1 hour) or cron(0 3 * * ? *)."
  }

  validation {
    condition     = alltrue([for schedule in values(var.schedules) : contains(keys(var.queues), schedule.queue)])
    error_message = "schedules must name a queue that queues has."
  }
}

variable "archive_retention_days" {
  description = "For how many days events can be replayed."
  type        = number
  default     = 30

  validation {
    condition     = var.archive_retention_days >= 1
    error_message = "archive_retention_days must be at least 1: 0 keeps events forever."
  }
}
