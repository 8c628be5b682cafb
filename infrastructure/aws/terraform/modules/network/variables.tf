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

variable "vpc_cidr" {
  description = "Address range of the VPC."
  type        = string
  default     = "10.0.0.0/16"

  validation {
    condition     = can(cidrhost(var.vpc_cidr, 0)) && tonumber(try(split("/", var.vpc_cidr)[1], 0)) >= 16 && tonumber(try(split("/", var.vpc_cidr)[1], 99)) <= 24
    error_message = "vpc_cidr is an IPv4 range from /16 to /24, such as 10.0.0.0/16."
  }
}

variable "public_subnet_cidrs" {
  description = "Ranges of the public subnets (load balancer, NAT gateways), one per availability zone."
  type        = list(string)
  default     = ["10.0.1.0/24", "10.0.2.0/24"]

  validation {
    condition     = contains([2, 3], length(var.public_subnet_cidrs)) && alltrue([for cidr in var.public_subnet_cidrs : can(cidrhost(cidr, 0))])
    error_message = "public_subnet_cidrs are two or three IPv4 ranges: a load balancer demands two availability zones."
  }
}

variable "private_subnet_cidrs" {
  description = "Ranges of the private subnets (tasks, database, cache), one per availability zone."
  type        = list(string)
  default     = ["10.0.10.0/24", "10.0.11.0/24"]

  validation {
    condition     = alltrue([for cidr in var.private_subnet_cidrs : can(cidrhost(cidr, 0))])
    error_message = "private_subnet_cidrs are IPv4 ranges."
  }

  validation {
    condition     = length(var.private_subnet_cidrs) == length(var.public_subnet_cidrs)
    error_message = "There is one private subnet beside each public one: give as many private_subnet_cidrs as public_subnet_cidrs."
  }
}

variable "availability_zones" {
  description = "Availability zones, in the order of the subnets; empty means the region's first ones."
  type        = list(string)
  default     = []

  validation {
    condition     = length(var.availability_zones) == 0 || length(distinct(var.availability_zones)) >= length(var.public_subnet_cidrs)
    error_message = "Name at least as many different availability_zones as there are public subnets, or none to have them discovered."
  }
}

variable "nat" {
  description = "NAT gateways: per_az (an outage of one zone stays in that zone), single (cheaper), or none (VPC endpoints only: no provider outside AWS is reachable)."
  type        = string
  default     = "per_az"

  validation {
    condition     = contains(["per_az", "single", "none"], var.nat)
    error_message = "nat is per_az, single or none."
  }

  validation {
    condition     = var.nat != "none" || var.enable_endpoints
    error_message = "Without NAT gateways the tasks reach AWS through VPC endpoints alone: set enable_endpoints."
  }
}

variable "enable_endpoints" {
  description = "Interface endpoints for the services of interface_endpoints. The gateway endpoints of S3 and DynamoDB cost nothing and are always there."
  type        = bool
  default     = true
}

variable "interface_endpoints" {
  description = "Services that get an interface endpoint, as they are named behind com.amazonaws.<region>."
  type        = set(string)
  default     = ["ecr.api", "ecr.dkr", "logs", "secretsmanager", "sts", "kms", "events", "sqs", "xray", "ssmmessages"]

  validation {
    condition     = length(setsubtract(["ecr.api", "ecr.dkr", "logs", "secretsmanager", "sts"], var.interface_endpoints)) == 0
    error_message = "A task cannot start in a private subnet without ecr.api, ecr.dkr, logs, secretsmanager and sts."
  }
}

variable "flow_log_retention_days" {
  description = "Days that flow logs are kept."
  type        = number
  default     = 30

  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653], var.flow_log_retention_days)
    error_message = "flow_log_retention_days is one of the periods that CloudWatch Logs knows: 7, 14, 30, 60, 90, 365 and others."
  }
}

variable "kms_key_arn" {
  description = "KMS key that encrypts the flow logs; its policy admits CloudWatch Logs."
  type        = string
}
