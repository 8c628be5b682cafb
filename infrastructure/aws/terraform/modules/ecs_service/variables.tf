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
  description = "ARN of the policy that bounds the roles made here; null for none."
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

variable "https_egress_cidrs" {
  description = "Where the tasks may go on 443: providers, services, AWS."
  type        = set(string)
  default     = ["0.0.0.0/0"]
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

variable "container_port" {
  description = "Port of the API in the task."
  type        = number
  default     = 8080
}

variable "agents_port" {
  description = "Port of the agents in the task."
  type        = number
  default     = 9889
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

variable "environment_variables" {
  description = "The environment of the API and the worker; no secrets."
  type        = map(string)

  validation {
    condition     = length([for name in keys(var.environment_variables) : name if can(regex("PASSWORD|SECRET|TOKEN", name))]) == 0
    error_message = "Secrets come from Secrets Manager: put them into secrets, not into environment_variables."
  }
}

variable "migration_environment_variables" {
  description = "The environment of the migration; no secrets."
  type        = map(string)

  validation {
    condition     = length([for name in keys(var.migration_environment_variables) : name if can(regex("PASSWORD|SECRET|TOKEN", name))]) == 0
    error_message = "Secrets come from Secrets Manager: put them into migration_secrets."
  }
}

variable "secrets" {
  description = "Variables of the API and the worker that come from Secrets Manager: name → secret's ARN, with :key:: for a member of JSON."
  type        = map(string)
}

variable "secret_arns" {
  description = "ARNs of exactly the secrets that secrets names: what the execution role may read."
  type        = list(string)
}

variable "migration_secrets" {
  description = "Variables of the migration that come from Secrets Manager, the database's administrator among them."
  type        = map(string)
}

variable "migration_secret_arns" {
  description = "ARNs of exactly the secrets that migration_secrets names: what the migration's execution role may read."
  type        = list(string)
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

  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653], var.log_retention_days)
    error_message = "log_retention_days is one of the periods that CloudWatch Logs knows: 7, 14, 30, 60, 90, 365 and others."
  }
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
