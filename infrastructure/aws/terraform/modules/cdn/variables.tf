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

variable "domain_name" {
  description = "Name that callers use."
  type        = string
}

variable "zone_id" {
  description = "Route 53 zone that domain_name lives in; null: you enter certificate_validation_records and the name yourself."
  type        = string
  default     = null
}

variable "certificate_arn" {
  description = "Certificate of yours for domain_name in us-east-1, already issued; null: one is made and validated."
  type        = string
  default     = null

  validation {
    condition     = var.certificate_arn == null || can(regex("^arn:[a-z-]+:acm:us-east-1:", var.certificate_arn))
    error_message = "certificate_arn is the ARN of a certificate in us-east-1: CloudFront takes no other."
  }
}

variable "origin_dns_name" {
  description = "AWS's name of the load balancer behind."
  type        = string
}

variable "web_acl_arn" {
  description = "Web ACL of scope CLOUDFRONT; null for none."
  type        = string
  default     = null
}

variable "price_class" {
  description = "Where CloudFront answers: PriceClass_100 (North America, Europe), PriceClass_200 or PriceClass_All."
  type        = string
  default     = "PriceClass_100"

  validation {
    condition     = contains(["PriceClass_100", "PriceClass_200", "PriceClass_All"], var.price_class)
    error_message = "price_class is PriceClass_100, PriceClass_200 or PriceClass_All."
  }
}

variable "log_retention_days" {
  description = "Days that access logs are kept."
  type        = number
  default     = 30
}
