# dev: one zone's worth of everything, asleep at night. Its checkpoints are not anchored: what is, S3 keeps for seven years.
# Everything is made by modules/caio; here are only the values in which the environments differ.

module "caio" {
  source = "../../modules/caio"

  providers = {
    aws           = aws
    aws.us_east_1 = aws.us_east_1
    aws.recovery  = aws.recovery
  }

  environment               = "dev"
  permissions_boundary_name = var.permissions_boundary_name
  serving                   = var.serving
  generate_secrets          = var.generate_secrets
  caio_image_tag            = var.caio_image_tag
  registry_account_id       = var.registry_account_id
  deletion_protection       = false
  enable_multi_az           = var.enable_multi_az
  cache_node_type           = var.cache_node_type
  log_retention_days        = var.log_retention_days
  monthly_budget_usd        = var.monthly_budget_usd
  alerts                    = { email = var.alert_email }

  retired_signing_keys = var.retired_signing_keys

  domain = {
    name            = var.domain_name
    zone_id         = var.zone_id
    certificate_arn = var.certificate_arn
  }

  network = {
    vpc_cidr             = var.vpc_cidr
    public_subnet_cidrs  = var.public_subnet_cidrs
    private_subnet_cidrs = var.private_subnet_cidrs
    availability_zones   = var.availability_zones
    nat                  = "single"
    enable_endpoints     = false
  }

  capacity = {
    min     = var.min_capacity
    max     = var.max_capacity
    desired = var.desired_capacity
    worker  = { min = 1, max = 1 }
    night   = var.enable_auto_shutdown ? 0 : null
  }

  database = {
    instance_class        = var.db_instance_class
    allocated_storage     = var.db_allocated_storage
    backup_retention_days = 1
  }

  switches = {
    anchor             = false
    cdn                = var.enable_cdn
    container_insights = var.enable_container_insights
    execute_command    = true
    mfa                = false
    spot               = var.enable_spot
    tracing            = false
    waf                = var.enable_waf
  }
}
