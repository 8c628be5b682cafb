variable "name" {
  description = "Name of the repository."
  type        = string
  default     = "caio"

  validation {
    condition     = can(regex("^[a-z0-9]+([._/-][a-z0-9]+)*$", var.name))
    error_message = "name is a repository's: lower case letters, digits, and . _ - / between them."
  }
}

variable "tags" {
  description = "Tags beside the provider's default tags (Project, Environment, ManagedBy, Owner)."
  type        = map(string)
  default     = {}
}

variable "kms_key_arn" {
  description = "KMS key that encrypts the images."
  type        = string
}

variable "keep_images" {
  description = "How many images are kept; older ones go."
  type        = number
  default     = 10

  validation {
    condition     = var.keep_images >= 2
    error_message = "keep_images is at least 2: what runs, and what a rollback needs."
  }
}

variable "replica_regions" {
  description = "Regions that each image is copied to, for a restart elsewhere. Applies to this repository alone, but is a setting of the account's registry: one a region."
  type        = set(string)
  default     = []
}

variable "pull_account_ids" {
  description = "Other accounts whose tasks may pull: production's, where it has an account of its own."
  type        = set(string)
  default     = []

  validation {
    condition     = alltrue([for id in var.pull_account_ids : can(regex("^[0-9]{12}$", id))])
    error_message = "pull_account_ids are account ids of twelve digits."
  }
}
