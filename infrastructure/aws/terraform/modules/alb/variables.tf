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

variable "vpc_id" {
  description = "VPC of the load balancer and its targets."
  type        = string
}

variable "public_subnet_ids" {
  description = "Subnets of the load balancer, in at least two availability zones."
  type        = list(string)
}

variable "domain_name" {
  description = "Name that callers use; the certificate is for it and for nothing else."
  type        = string

  validation {
    condition     = can(regex("^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\\.)+[a-z]{2,63}$", var.domain_name))
    error_message = "domain_name is a full name in lower case, such as caio.example.com."
  }
}

variable "zone_id" {
  description = "Route 53 zone that domain_name lives in: the certificate is validated there and the name made. null: you enter certificate_validation_records and the name yourself."
  type        = string
  default     = null
}

variable "create_alias" {
  description = "Whether domain_name points at this load balancer (false where CloudFront stands before it). Needs zone_id."
  type        = bool
  default     = true
}

variable "certificate_arn" {
  description = "Certificate of yours for domain_name, already issued; null: one is made and validated."
  type        = string
  default     = null

  validation {
    condition     = var.certificate_arn == null || can(regex("^arn:[a-z-]+:acm:", var.certificate_arn))
    error_message = "certificate_arn is the ARN of a certificate of ACM in the load balancer's region."
  }
}

variable "tls_policy" {
  description = "TLS policy of the listener: TLS 1.2 and 1.3 only."
  type        = string
  default     = "ELBSecurityPolicy-TLS13-1-2-2021-06"

  validation {
    condition     = can(regex("^ELBSecurityPolicy-TLS13-1-[23]-", var.tls_policy)) && !can(regex("Ext[12]", var.tls_policy))
    error_message = "tls_policy is one that allows TLS 1.2 and 1.3 only: ELBSecurityPolicy-TLS13-1-2-… or -1-3-…."
  }
}

variable "ingress_cidrs" {
  description = "Ranges that may call on 443 and be redirected on 80."
  type        = set(string)
  default     = ["0.0.0.0/0"]
}

variable "ingress_prefix_list_id" {
  description = "Managed prefix list that alone may call, on 443 (CloudFront's); null: ingress_cidrs."
  type        = string
  default     = null
}

variable "logs_bucket" {
  description = "Bucket of the access logs, whose policy admits log delivery under the prefix alb."
  type        = string
}

variable "deletion_protection" {
  description = "Refuse to delete the load balancer."
  type        = bool
  default     = true
}

variable "idle_timeout_seconds" {
  description = "How long a connection may be silent. Streams of a model pause; 300 s outlasts a slow one."
  type        = number
  default     = 300

  validation {
    condition     = var.idle_timeout_seconds >= 60 && var.idle_timeout_seconds <= 4000
    error_message = "idle_timeout_seconds is from 60 to 4,000."
  }
}

variable "drain_seconds" {
  description = "How long the application still serves after SIGTERM (CAIO_DRAIN_SECONDS)."
  type        = number
  default     = 35
}

variable "deregistration_delay_seconds" {
  description = "How long open requests of a target that leaves may still run."
  type        = number
  default     = 120

  validation {
    condition     = var.deregistration_delay_seconds >= var.drain_seconds && var.deregistration_delay_seconds <= 3600
    error_message = "deregistration_delay_seconds is at least drain_seconds, or streams are cut that the application still serves."
  }
}

variable "stickiness" {
  description = "Bind a browser to a task for an hour by the cookie cao-session. Nothing depends on it."
  type        = bool
  default     = false
}

variable "container_port" {
  description = "Port of the API in the task."
  type        = number
  default     = 8080
}

variable "agents" {
  description = "A second target group, for agents, that answers under /agents/."
  type        = bool
  default     = false
}

variable "agents_port" {
  description = "Port of the agents in the task."
  type        = number
  default     = 9889
}

variable "blue_green" {
  description = "A second target group and a test listener for CodeDeploy, which then decides where the listeners point."
  type        = bool
  default     = false
}

variable "test_cidrs" {
  description = "Ranges that may call the test listener (8443) of a blue/green deployment."
  type        = set(string)
  default     = []
}
