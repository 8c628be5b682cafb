# An environment of one's own, small: what environments/dev does, in one file.

provider "aws" {
  region = "us-east-1"
}

provider "aws" {
  alias  = "us_east_1"
  region = "us-east-1"
}

provider "aws" {
  alias  = "recovery"
  region = "us-west-2"
}

module "caio" {
  source = "../.."

  providers = {
    aws           = aws
    aws.us_east_1 = aws.us_east_1
    aws.recovery  = aws.recovery
  }

  environment         = "dev"
  caio_image_tag      = "v1.0.0"
  deletion_protection = false
  enable_multi_az     = false
  cache_node_type     = "cache.t3.micro"
  log_retention_days  = 7
  monthly_budget_usd  = 150
  alerts              = { email = "alerts@example.com" }
  domain              = { name = "caio.example.com" }
  switches            = { anchor = false, waf = false, mfa = false }

  network = {
    vpc_cidr             = "10.0.0.0/16"
    public_subnet_cidrs  = ["10.0.1.0/24", "10.0.2.0/24"]
    private_subnet_cidrs = ["10.0.10.0/24", "10.0.11.0/24"]
    nat                  = "single"
    enable_endpoints     = false
  }

  capacity = {
    min     = 1
    max     = 2
    desired = 1
    worker  = { min = 1, max = 1 }
    night   = 0
  }

  database = {
    instance_class        = "db.t3.micro"
    allocated_storage     = 20
    backup_retention_days = 1
  }
}

output "alb_dns_name" {
  description = "What to point the domain at, outside Route 53."
  value       = module.caio.alb_dns_name
}
