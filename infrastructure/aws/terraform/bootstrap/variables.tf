variable "aws_region" {
  description = "Region of the state and of the registry."
  type        = string
  default     = "us-east-1"

  validation {
    condition     = can(regex("^[a-z]{2}(-[a-z]+)+-[0-9]$", var.aws_region))
    error_message = "aws_region is a region such as us-east-1."
  }
}

variable "owner_email" {
  description = "Who answers for the account's CAIO: the tag Owner."
  type        = string

  validation {
    condition     = can(regex("^[^@\\s]+@[^@\\s]+\\.[^@\\s]+$", var.owner_email))
    error_message = "owner_email is an e-mail address."
  }
}

variable "github_repository" {
  description = "Repository whose workflows may deploy, as owner/name; null: no roles for a pipeline."
  type        = string
  default     = null

  validation {
    condition     = var.github_repository == null || can(regex("^[A-Za-z0-9][A-Za-z0-9-]*/[A-Za-z0-9._-]+$", var.github_repository))
    error_message = "github_repository is owner/name, without wildcards: whoever it names can deploy."
  }
}

variable "github_provider_arn" {
  description = "GitHub's identity provider in this account where it exists already (an account has one); null: it is made."
  type        = string
  default     = null
}

variable "environments" {
  description = "Environments that are deployed to this account; each gets a role that GitHub's environment of the same name may take."
  type        = set(string)
  default     = ["dev", "staging", "production"]

  validation {
    condition     = length(setsubtract(var.environments, ["dev", "staging", "production"])) == 0
    error_message = "environments are dev, staging and production."
  }
}

variable "replica_regions" {
  description = "Regions that each image is copied to."
  type        = set(string)
  default     = []
}

variable "pull_account_ids" {
  description = "Other accounts whose tasks may pull images from here."
  type        = set(string)
  default     = []
}
