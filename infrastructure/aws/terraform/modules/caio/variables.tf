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

variable "permissions_boundary_name" {
  description = "Name of the policy that bounds every role of the environment, as bootstrap makes it; null: none."
  type        = string
  default     = null
}

variable "serving" {
  description = "false builds everything and runs no task and no canary: for the first apply, before the first migration."
  type        = bool
  default     = true
}

variable "generate_secrets" {
  description = "Whether the secrets' first values are generated. false to bring another installation's: a restore, a move to another region."
  type        = bool
  default     = true
}

variable "caio_image_tag" {
  description = "What runs: an immutable tag (v1.2.3, sha-<commit>) or a digest (sha256:…), in production a digest."
  type        = string

  validation {
    condition     = can(regex("^(v[0-9][A-Za-z0-9_.-]*|sha-[0-9a-f]{7,40}|sha256:[0-9a-f]{64})$", var.caio_image_tag))
    error_message = "caio_image_tag is v<version>, sha-<commit> or sha256:<digest>; a tag that moves, such as latest, is none."
  }

  validation {
    condition     = var.environment != "production" || startswith(var.caio_image_tag, "sha256:")
    error_message = "Production runs the digest that staging has proved: caio_image_tag is sha256:<digest>."
  }
}

variable "registry_account_id" {
  description = "Account of the registry; null: this one."
  type        = string
  default     = null

  validation {
    condition     = var.registry_account_id == null || can(regex("^[0-9]{12}$", var.registry_account_id))
    error_message = "registry_account_id is an account id of twelve digits."
  }
}

variable "network" {
  description = "Ranges, zones, NAT gateways (per_az, single, none) and interface endpoints; see modules/network."
  type = object({
    vpc_cidr             = string
    public_subnet_cidrs  = list(string)
    private_subnet_cidrs = list(string)
    availability_zones   = optional(list(string), [])
    nat                  = string
    enable_endpoints     = bool
  })

  validation {
    condition     = var.environment != "production" || var.network.nat != "single"
    error_message = "In production an outage of one zone stays in that zone: network.nat is per_az, or none."
  }
}

variable "domain" {
  description = "Name that callers use, its Route 53 zone (null: elsewhere), and a certificate of yours (null: one is made)."
  type        = object({ name = string, zone_id = optional(string), certificate_arn = optional(string) })
}

variable "capacity" {
  description = "API tasks: fewest, most, and to begin with; worker tasks; and the tasks at night, null for no difference."
  type = object({
    min     = number
    max     = number
    desired = number
    worker  = object({ min = number, max = number })
    night   = optional(number)
  })

  validation {
    condition     = var.environment != "production" || var.capacity.min >= 3
    error_message = "Production has one API task in each of three zones: min_capacity is at least 3."
  }
}

variable "sizes" {
  description = "CPU units and MiB of the tasks; see modules/ecs_service."
  type = object({
    api    = optional(object({ cpu = number, memory = number }), { cpu = 512, memory = 1024 })
    worker = optional(object({ cpu = number, memory = number }), { cpu = 512, memory = 1024 })
  })
  default = {}
}

variable "database" {
  description = "Engine, class, storage, backups, proxy and read replica; see modules/database."
  type = object({
    engine                = optional(string, "postgres")
    instance_class        = string
    allocated_storage     = number
    backup_retention_days = number
    proxy                 = optional(bool, false)
    replica               = optional(bool, false)
  })
}

variable "cache_node_type" {
  description = "Class of the cache's nodes."
  type        = string
}

variable "enable_multi_az" {
  description = "A standby of the database and a replica of the cache in another zone."
  type        = bool

  validation {
    condition     = var.environment != "production" || var.enable_multi_az
    error_message = "Production survives the loss of a zone: enable_multi_az stays on."
  }
}

variable "deletion_protection" {
  description = "Refuse to delete the load balancer, the database, the session table and the user pool."
  type        = bool

  validation {
    condition     = var.environment != "production" || var.deletion_protection
    error_message = "Production is not deleted by mistake: deletion_protection stays on."
  }
}

variable "log_retention_days" {
  description = "Days that logs are kept."
  type        = number
}

variable "alerts" {
  description = "Who is told of alarms and of money: addresses, and optionally a pager's HTTPS address and a Slack channel."
  type = object({
    email = string
    pager = optional(string)
    slack = optional(object({ team_id = string, channel_id = string }))
  })
}

variable "monthly_budget_usd" {
  description = "What the environment may cost a month, in US dollars."
  type        = number
}

variable "oidc" {
  description = "Another identity provider instead of Cognito: its issuer, and the audience or client that tokens are for."
  type        = object({ issuer = string, audience = string })
  default     = null
}

variable "cors_origins" {
  description = "Origins whose pages may call the API from a browser; empty: the domain's own."
  type        = list(string)
  default     = []
}

variable "retired_signing_keys" {
  description = "Public keys, in base64, that verify beside the one of signing_secret: those that signed before, or will (docs/runbooks/key-rotation.md)."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for key in var.retired_signing_keys : can(regex("^[A-Za-z0-9+/]{43}=$", key))])
    error_message = "retired_signing_keys holds public keys of 32 bytes in base64: 44 characters each."
  }
}

variable "canary" {
  description = "The canary's code, put into the artifacts bucket by `make canary` under this key; null: no canary."
  type        = object({ code_key = string, orchestrate_body = optional(string) })
  default     = null
}

variable "switches" {
  description = "What is on or off. Account-wide are cloudtrail, guardduty, security_hub and inspector: one environment of an account has them."
  type = object({
    agents             = optional(bool, false)
    anchor             = optional(bool, true)
    blue_green         = optional(bool, false)
    cdn                = optional(bool, false)
    cloudtrail         = optional(bool, true)
    container_insights = optional(bool, true)
    cross_region_copy  = optional(bool, false)
    execute_command    = optional(bool, false)
    guardduty          = optional(bool, false)
    inspector          = optional(bool, false)
    mfa                = optional(bool, true)
    security_hub       = optional(bool, false)
    service_connect    = optional(bool, false)
    spot               = optional(bool, false)
    stickiness         = optional(bool, false)
    threat_protection  = optional(bool, false)
    tracing            = optional(bool, true)
    waf                = optional(bool, true)
  })
  default = {}

  validation {
    condition     = var.environment != "production" || (var.switches.waf && var.switches.anchor && var.switches.cross_region_copy)
    error_message = "Production has a web ACL, anchors its checkpoints and copies its backups: waf, anchor and cross_region_copy stay on."
  }
}
