# Credentials come from the environment: a role, never a variable. CloudFront's parts live in us-east-1, copies of
# backups in the recovery region.

locals {
  tags = {
    Project     = "caio"
    Environment = "dev"
    ManagedBy   = "terraform"
    Owner       = var.owner_email
  }
}

provider "aws" {
  region = var.aws_region

  default_tags {
    tags = local.tags
  }
}

provider "aws" {
  alias  = "us_east_1"
  region = "us-east-1"

  default_tags {
    tags = local.tags
  }
}

provider "aws" {
  alias  = "recovery"
  region = var.recovery_region

  default_tags {
    tags = local.tags
  }
}
