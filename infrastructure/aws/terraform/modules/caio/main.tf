# The composition: every module once, wired once. The three environments differ by values alone.

data "aws_caller_identity" "current" {}

data "aws_partition" "current" {}

data "aws_region" "current" {}

locals {
  name       = "caio-${var.environment}"
  production = var.environment == "production"
  region     = data.aws_region.current.name

  # The registry is bootstrap's, one an account; by digest where one is given, else by an immutable tag.
  registry_account = coalesce(var.registry_account_id, data.aws_caller_identity.current.account_id)
  repository_url   = "${local.registry_account}.dkr.ecr.${local.region}.amazonaws.com/caio"
  repository_arn   = "arn:${data.aws_partition.current.partition}:ecr:${local.region}:${local.registry_account}:repository/caio"
  image            = join(startswith(var.caio_image_tag, "sha256:") ? "@" : ":", [local.repository_url, var.caio_image_tag])

  # Whether a task is there from 22:00 to 06:00 UTC, too.
  awake_at_night = coalesce(var.capacity.night, 1) > 0

  # What every role of the environment stays within; the pipeline's own role can make no others.
  permissions_boundary = var.permissions_boundary_name == null ? null : "arn:${data.aws_partition.current.partition}:iam::${data.aws_caller_identity.current.account_id}:policy/${var.permissions_boundary_name}"

  task_groups = [module.service.security_group_id, module.service.worker_security_group_id]
}

module "secrets" {
  source = "../secrets"

  name            = local.name
  environment     = var.environment
  tags            = var.tags
  generate_values = var.generate_secrets
}

module "network" {
  source = "../network"

  permissions_boundary    = local.permissions_boundary
  name                    = local.name
  environment             = var.environment
  tags                    = var.tags
  vpc_cidr                = var.network.vpc_cidr
  public_subnet_cidrs     = var.network.public_subnet_cidrs
  private_subnet_cidrs    = var.network.private_subnet_cidrs
  availability_zones      = var.network.availability_zones
  nat                     = var.network.nat
  enable_endpoints        = var.network.enable_endpoints
  flow_log_retention_days = var.log_retention_days
  kms_key_arn             = module.secrets.kms_key_arn
}

module "storage" {
  source = "../storage"

  name        = local.name
  environment = var.environment
  tags        = var.tags
  kms_key_arn = module.secrets.kms_key_arn
}

module "identity" {
  source = "../identity"

  name                = local.name
  environment         = var.environment
  tags                = var.tags
  domain_prefix       = "${local.name}-${data.aws_caller_identity.current.account_id}"
  callback_urls       = ["https://${var.domain.name}/signed-in"]
  logout_urls         = ["https://${var.domain.name}/"]
  mfa                 = var.switches.mfa ? "ON" : "OPTIONAL"
  threat_protection   = var.switches.threat_protection
  deletion_protection = var.deletion_protection
}

module "events" {
  source = "../events"

  permissions_boundary = local.permissions_boundary
  name                 = local.name
  environment          = var.environment
  tags                 = var.tags
  kms_key_arn          = module.secrets.kms_key_arn
}

# No function is built yet: the map is empty until the bundled services bring their handlers.
module "functions" {
  source = "../functions"

  permissions_boundary = local.permissions_boundary
  name                 = local.name
  environment          = var.environment
  tags                 = var.tags
  kms_key_arn          = module.secrets.kms_key_arn
  log_retention_days   = var.log_retention_days
}
