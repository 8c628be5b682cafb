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

variable "domain_prefix" {
  description = "Beginning of the sign-in page's address, unique in the region."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$", var.domain_prefix)) && !can(regex("aws|amazon|cognito", var.domain_prefix))
    error_message = "domain_prefix has lower case letters, digits and hyphens, and neither aws, amazon nor cognito in it."
  }
}

variable "callback_urls" {
  description = "Addresses that a sign-in may return to."
  type        = set(string)

  validation {
    condition     = length(var.callback_urls) > 0 && alltrue([for url in var.callback_urls : can(regex("^(https://|http://localhost(:[0-9]+)?(/|$))", url))])
    error_message = "callback_urls are https addresses, or of localhost for development."
  }
}

variable "logout_urls" {
  description = "Addresses that a sign-out may return to."
  type        = set(string)

  validation {
    condition     = length(var.logout_urls) > 0 && alltrue([for url in var.logout_urls : can(regex("^(https://|http://localhost(:[0-9]+)?(/|$))", url))])
    error_message = "logout_urls are https addresses, or of localhost for development."
  }
}

variable "mfa" {
  description = "Second factor (an authenticator's code): ON for everybody, OPTIONAL for who wants it."
  type        = string
  default     = "ON"

  validation {
    condition     = contains(["ON", "OPTIONAL"], var.mfa) && (var.environment != "production" || var.mfa == "ON")
    error_message = "mfa is ON or OPTIONAL, in production ON."
  }
}

variable "threat_protection" {
  description = "Refuse stolen passwords and unusual sign-ins. Belongs to Cognito's plan PLUS, charged by active user; without it the pool is on ESSENTIALS."
  type        = bool
  default     = false
}

variable "deletion_protection" {
  description = "Refuse to delete the pool and everybody in it."
  type        = bool
  default     = true
}
