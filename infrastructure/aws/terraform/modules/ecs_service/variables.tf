variable "name" {
  description = "Prefix of every name: caio-<environment>."
  type        = string

  validation {
    condition     = can(regex("^caio-[a-z][a-z0-9-]{1,12}$", var.name))
    error_message = "name is caio-<environment>, lower case, at most 18 characters: load balancers and target groups allow 32 in all."
  }
}

variable "environment" {
  description = "Which environment this is: dev, staging or production."
  type        = string

  validation {
    condition     = contains(["dev", "staging", "production"], var.environment)
    error_message = "environment is dev, staging or production."
  }
}

variable "tags" {
  description = "Tags beside the provider's default tags (Project, Environment, ManagedBy, Owner)."
  type        = map(string)
  default     = {}
}

variable "permissions_boundary" {
  description = "ARN of the policy that bounds the module's roles; null for none. The pipeline may make no other roles."
  type        = string
  default     = null
}

variable "vpc_id" {
  description = "VPC of the tasks."
  type        = string
}

variable "subnet_ids" {
  description = "Private subnets of the tasks."
  type        = list(string)
}

variable "alb_security_group_id" {
  description = "Group of the load balancer, the only one that may call the API. Its way out to the tasks is opened here."
  type        = string
}

variable "data_stores" {
  description = "What the tasks may connect to beside HTTPS, by name: the group and port of the database and of the cache."
  type        = map(object({ security_group_id = string, port = number }))
}

variable "load_balancer" {
  description = "What the module alb tells: where the API's tasks register, and what scaling and CodeDeploy look at."
  type = object({
    alb_arn_suffix          = string
    target_group_arn        = string
    target_group_arn_suffix = string
    target_group_names      = list(string)
    https_listener_arn      = string
    test_listener           = optional(string)
    agents_target_group_arn = optional(string)
  })
}

variable "agents" {
  description = "Whether the API's tasks also register on agents_port in load_balancer.agents_target_group_arn."
  type        = bool
  default     = false
}

variable "image" {
  description = "The image that every task runs, by digest or immutable tag."
  type        = string

  validation {
    condition     = can(regex("(:[A-Za-z0-9_][A-Za-z0-9_.-]*|@sha256:[0-9a-f]{64})$", var.image)) && !endswith(var.image, ":latest")
    error_message = "image ends in an immutable tag (:v1.2.3) or a digest (@sha256:…), never in latest: what runs must be nameable."
  }

  validation {
    condition     = var.environment != "production" || can(regex("@sha256:[0-9a-f]{64}$", var.image))
    error_message = "Production runs the digest that staging has proved: image ends in @sha256:…."
  }
}

variable "repository_arn" {
  description = "ARN of the image's repository: all that the tasks may pull."
  type        = string
}

variable "cpu_architecture" {
  description = "ARM64 (cheaper) or X86_64: what the image was built for."
  type        = string
  default     = "ARM64"

  validation {
    condition     = contains(["ARM64", "X86_64"], var.cpu_architecture)
    error_message = "cpu_architecture is ARM64 or X86_64."
  }
}

variable "serving_environment" {
  description = "What the API and the worker are given: plain variables, variables from Secrets Manager (name → ARN, with :key:: for a member), and the ARNs of exactly those secrets."
  type        = object({ plain = map(string), secrets = map(string), secret_arns = list(string) })

  validation {
    condition     = !anytrue([for name in keys(var.serving_environment.plain) : can(regex("PASSWORD|SECRET|TOKEN", name))])
    error_message = "Secrets come from Secrets Manager: put them into serving_environment.secrets, not into plain."
  }
}

variable "migration_environment" {
  description = "What the migration is given, in the same way; the database's administrator among its secrets."
  type        = object({ plain = map(string), secrets = map(string), secret_arns = list(string) })

  validation {
    condition     = !anytrue([for name in keys(var.migration_environment.plain) : can(regex("PASSWORD|SECRET|TOKEN", name))])
    error_message = "Secrets come from Secrets Manager: put them into migration_environment.secrets, not into plain."
  }
}

variable "kms_key_arn" {
  description = "Key of the secrets, the log groups and what the tasks write; its policy admits CloudWatch Logs."
  type        = string
}

variable "access" {
  description = "What the tasks may use: the tenants' key, the buckets, the session table, the queues and the bus."
  type = object({
    tenants_key_arn      = string
    artifacts_bucket_arn = string
    audit_bucket_arn     = string
    table_arn            = string
    queue_arns           = list(string)
    bus_arn              = string
  })
}

variable "log_retention_days" {
  description = "Days that the tasks' logs are kept."
  type        = number
  default     = 30
}

variable "container_insights" {
  description = "Container Insights: figures per task and container, charged by the metric."
  type        = bool
  default     = true
}

variable "tracing" {
  description = "A collector beside each task that takes traces on loopback 4318 and hands them to X-Ray."
  type        = bool
  default     = true
}

variable "collector_image" {
  description = "The collector: AWS Distro for OpenTelemetry, by version or digest."
  type        = string
  default     = "public.ecr.aws/aws-observability/aws-otel-collector:v0.43.3"

  validation {
    condition     = can(regex("(:v[0-9][A-Za-z0-9_.-]*|@sha256:[0-9a-f]{64})$", var.collector_image))
    error_message = "collector_image ends in a version (:v0.43.3) or a digest, never in latest."
  }
}

variable "execute_command" {
  description = "ECS Exec instead of a bastion: a shell in a task for who has the permission, its session logged. Makes two more folders of the task writable, for the agent."
  type        = bool
  default     = false
}

variable "service_connect" {
  description = "Offer the API as caio:8080 to other services of the cluster's namespace. Every byte, streams too, then passes a proxy in the task."
  type        = bool
  default     = false

  validation {
    condition     = !(var.service_connect && var.blue_green)
    error_message = "ECS does not combine Service Connect with CodeDeploy: choose service_connect or blue_green."
  }
}

variable "serving" {
  description = "false builds everything and runs no task: for the first apply, before the first migration."
  type        = bool
  default     = true
}

variable "sizes" {
  description = "CPU units and MiB of an API task, and of a worker or migration task; the collector included."
  type = object({
    api    = optional(object({ cpu = number, memory = number }), { cpu = 512, memory = 1024 })
    worker = optional(object({ cpu = number, memory = number }), { cpu = 512, memory = 1024 })
  })
  default = {}

  validation {
    condition = alltrue([for size in values(var.sizes) : anytrue([
      for pair in [[256, 512, 2048], [512, 1024, 4096], [1024, 2048, 8192], [2048, 4096, 16384], [4096, 8192, 30720]] :
      size.cpu == pair[0] && size.memory >= pair[1] && size.memory <= pair[2]
    ])])
    error_message = "sizes are pairs that Fargate has, such as 512/1024, 1024/2048 or 2048/4096."
  }
}

variable "min_capacity" {
  description = "Fewest API tasks."
  type        = number
  default     = 2

  validation {
    condition     = var.min_capacity >= 1 && (var.environment != "production" || var.min_capacity >= 2)
    error_message = "min_capacity is at least 1, in production 2: one per availability zone."
  }
}

variable "max_capacity" {
  description = "Most API tasks."
  type        = number
  default     = 10

  validation {
    condition     = var.max_capacity >= var.min_capacity && var.max_capacity <= 40
    error_message = "max_capacity is from min_capacity to 40."
  }
}

variable "desired_capacity" {
  description = "API tasks that the service begins with; from then on the autoscaler decides."
  type        = number
  default     = 4

  validation {
    condition     = var.desired_capacity >= var.min_capacity && var.desired_capacity <= var.max_capacity
    error_message = "desired_capacity lies between min_capacity and max_capacity."
  }
}

variable "worker_capacity" {
  description = "Fewest and most worker tasks."
  type        = object({ min = number, max = number })
  default     = { min = 1, max = 4 }

  validation {
    condition     = var.worker_capacity.min >= 1 && var.worker_capacity.max >= var.worker_capacity.min
    error_message = "worker_capacity has a min of at least 1 and a max of at least that."
  }
}

variable "worker_spot_percent" {
  description = "Share of the workers beyond the first that runs on Spot, in percent. The first is never on Spot."
  type        = number
  default     = 0

  validation {
    condition     = var.worker_spot_percent >= 0 && var.worker_spot_percent <= 100
    error_message = "worker_spot_percent is from 0 to 100."
  }
}

variable "night" {
  description = "From 22:00 to 06:00 this many tasks run, API and worker each; null: no difference. Not in production."
  type        = object({ capacity = number, timezone = optional(string, "Etc/UTC") })
  default     = null

  validation {
    condition     = var.night == null || var.environment != "production"
    error_message = "Production does not sleep: night is for dev and staging."
  }
}

variable "rollback_alarm_names" {
  description = "Alarms that roll a deployment back while it is under way."
  type        = list(string)
  default     = []
}

variable "blue_green" {
  description = "CodeDeploy shifts traffic between two target groups, instead of a rolling deployment with a circuit breaker. Changing it replaces the service."
  type        = bool
  default     = false
}
