variable "serving" {
  description = "false builds everything and runs no task: for the first apply, before the first migration."
  type        = bool
  default     = true
}

variable "task_size" {
  description = "CPU units and MiB of an API task, the collector included."
  type        = object({ cpu = number, memory = number })
  default     = { cpu = 512, memory = 1024 }

  validation {
    condition = anytrue([for pair in [[256, 512, 2048], [512, 1024, 4096], [1024, 2048, 8192], [2048, 4096, 16384], [4096, 8192, 30720], [8192, 16384, 61440], [16384, 32768, 122880]] :
    var.task_size.cpu == pair[0] && var.task_size.memory >= pair[1] && var.task_size.memory <= pair[2]])
    error_message = "task_size is a pair that Fargate has, such as 512/1024, 1024/2048 or 2048/4096."
  }
}

variable "worker_size" {
  description = "CPU units and MiB of a worker task and of the migration."
  type        = object({ cpu = number, memory = number })
  default     = { cpu = 512, memory = 1024 }

  validation {
    condition = anytrue([for pair in [[256, 512, 2048], [512, 1024, 4096], [1024, 2048, 8192], [2048, 4096, 16384], [4096, 8192, 30720], [8192, 16384, 61440], [16384, 32768, 122880]] :
    var.worker_size.cpu == pair[0] && var.worker_size.memory >= pair[1] && var.worker_size.memory <= pair[2]])
    error_message = "worker_size is a pair that Fargate has, such as 512/1024, 1024/2048 or 2048/4096."
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

variable "targets" {
  description = "What scaling keeps: CPU and memory in percent, requests a minute and task, and the p95 response time beyond which tasks are added."
  type        = object({ cpu = number, memory = number, requests = number, response_seconds = number })
  default     = { cpu = 70, memory = 80, requests = 1000, response_seconds = 1 }
}

variable "scale_out_seconds" {
  description = "Least time between two steps out."
  type        = number
  default     = 60
}

variable "scale_in_seconds" {
  description = "Least time between two steps in."
  type        = number
  default     = 300

  validation {
    condition     = var.scale_in_seconds >= var.scale_out_seconds
    error_message = "Scaling in is slower than out: scale_in_seconds is at least scale_out_seconds."
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

variable "rollback_on_alarm" {
  description = "Whether rollback_alarm_names are watched (their number may be unknown while planning)."
  type        = bool
  default     = true
}

variable "blue_green" {
  description = "CodeDeploy shifts traffic between two target groups, instead of a rolling deployment with a circuit breaker. Changing it replaces the service."
  type        = bool
  default     = false
}

variable "blue_green_config" {
  description = "How CodeDeploy shifts traffic."
  type        = string
  default     = "CodeDeployDefault.ECSCanary10Percent5Minutes"

  validation {
    condition     = startswith(var.blue_green_config, "CodeDeployDefault.ECS")
    error_message = "blue_green_config is one of CodeDeploy's for ECS, such as CodeDeployDefault.ECSLinear10PercentEvery1Minutes."
  }
}

variable "stop_seconds" {
  description = "Time from SIGTERM to SIGKILL: drain, streams, last writes. Fargate allows 120."
  type        = number
  default     = 120

  validation {
    condition     = var.stop_seconds >= 30 && var.stop_seconds <= 120
    error_message = "stop_seconds is from 30 to 120."
  }
}

variable "health_check_grace_seconds" {
  description = "How long a new task may take before the load balancer's verdict counts."
  type        = number
  default     = 90
}
