# Terraform's mock providers know no ephemeral resources, so these are the real providers, which plan what is new without
# asking AWS anything; what they would look up is given. Generated secrets are planned with the environments.

provider "aws" {
  region                      = "us-east-1"
  access_key                  = "none"
  secret_key                  = "none"
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_requesting_account_id  = true
}

provider "aws" {
  alias                       = "us_east_1"
  region                      = "us-east-1"
  access_key                  = "none"
  secret_key                  = "none"
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_requesting_account_id  = true
}

provider "aws" {
  alias                       = "recovery"
  region                      = "us-west-2"
  access_key                  = "none"
  secret_key                  = "none"
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_requesting_account_id  = true
}

override_data {
  target = data.aws_caller_identity.current
  values = { account_id = "123456789012" }
}

override_data {
  target = module.secrets.data.aws_caller_identity.current
  values = { account_id = "123456789012" }
}

override_data {
  target = module.network.data.aws_availability_zones.available
  values = { names = ["us-east-1a", "us-east-1b", "us-east-1c"] }
}

override_data {
  target = module.network.data.aws_caller_identity.current
  values = { account_id = "123456789012" }
}

override_data {
  target = module.storage.data.aws_caller_identity.current
  values = { account_id = "123456789012" }
}

override_data {
  target = module.events.data.aws_caller_identity.current
  values = { account_id = "123456789012" }
}

override_data {
  target = module.functions.data.aws_caller_identity.current
  values = { account_id = "123456789012" }
}

override_data {
  target = module.service.data.aws_caller_identity.current
  values = { account_id = "123456789012" }
}

override_data {
  target = module.monitoring.data.aws_caller_identity.current
  values = { account_id = "123456789012" }
}

override_data {
  target = module.audit_trail.data.aws_caller_identity.current
  values = { account_id = "123456789012" }
}

override_data {
  target = module.copy_vault[0].data.aws_caller_identity.current
  values = { account_id = "123456789012" }
}

variables {
  generate_secrets    = false
  environment         = "production"
  caio_image_tag      = "sha256:0000000000000000000000000000000000000000000000000000000000000000"
  deletion_protection = true
  enable_multi_az     = true
  cache_node_type     = "cache.t3.small"
  log_retention_days  = 30
  monthly_budget_usd  = 2000
  alerts              = { email = "alerts@example.com" }
  domain              = { name = "caio.example.com" }
  switches            = { cross_region_copy = true }
  network = {
    vpc_cidr             = "10.0.0.0/16"
    public_subnet_cidrs  = ["10.0.1.0/24", "10.0.2.0/24", "10.0.3.0/24"]
    private_subnet_cidrs = ["10.0.10.0/24", "10.0.11.0/24", "10.0.12.0/24"]
    nat                  = "per_az"
    enable_endpoints     = true
  }
  capacity = { min = 3, max = 10, desired = 4, worker = { min = 2, max = 6 } }
  database = { instance_class = "db.r6g.large", allocated_storage = 100, backup_retention_days = 30 }
}

run "a_tag_in_production_is_refused" {
  command = plan

  variables {
    caio_image_tag = "v1.0.0"
  }
  expect_failures = [var.caio_image_tag]
}

run "a_tag_that_moves_is_refused" {
  command = plan

  variables {
    caio_image_tag = "latest"
  }
  expect_failures = [var.caio_image_tag]
}

run "production_on_one_nat_gateway_is_refused" {
  command = plan

  variables {
    network = {
      vpc_cidr             = "10.0.0.0/16"
      public_subnet_cidrs  = ["10.0.1.0/24", "10.0.2.0/24"]
      private_subnet_cidrs = ["10.0.10.0/24", "10.0.11.0/24"]
      nat                  = "single"
      enable_endpoints     = true
    }
  }
  expect_failures = [var.network]
}

run "production_without_a_web_acl_is_refused" {
  command = plan

  variables {
    switches = { waf = false, cross_region_copy = true }
  }
  expect_failures = [var.switches]
}

run "production_with_two_tasks_is_refused" {
  command = plan

  variables {
    capacity = { min = 2, max = 10, desired = 2, worker = { min = 1, max = 1 } }
  }
  expect_failures = [var.capacity]
}

run "production_in_one_zone_is_refused" {
  command = plan

  variables {
    enable_multi_az = false
  }
  expect_failures = [var.enable_multi_az]
}

run "production_that_can_be_deleted_by_mistake_is_refused" {
  command = plan

  variables {
    deletion_protection = false
  }
  expect_failures = [var.deletion_protection]
}
