# What the tasks keep their state in. Only the tasks' groups reach it.

module "database" {
  source = "../database"

  permissions_boundary       = local.permissions_boundary
  name                       = local.name
  environment                = var.environment
  tags                       = var.tags
  vpc_id                     = module.network.vpc_id
  subnet_ids                 = module.network.private_subnet_ids
  allowed_security_group_ids = local.task_groups
  kms_key_arn                = module.secrets.kms_key_arn
  engine                     = var.database.engine
  instance_class             = var.database.instance_class
  allocated_storage          = var.database.allocated_storage
  multi_az                   = var.enable_multi_az
  backup_retention_days      = var.database.backup_retention_days
  deletion_protection        = var.deletion_protection
  final_snapshot             = var.environment != "dev"
  performance_insights       = !can(regex("\\.(micro|small)$", var.database.instance_class)) # these classes have none
  log_retention_days         = var.log_retention_days
  replica                    = var.database.replica
  proxy                      = var.database.proxy
  credentials_secret_arn     = module.secrets.secret_arns["db_credentials"]
}

module "cache" {
  source = "../cache"

  name                       = local.name
  environment                = var.environment
  tags                       = var.tags
  vpc_id                     = module.network.vpc_id
  subnet_ids                 = module.network.private_subnet_ids
  allowed_security_group_ids = local.task_groups
  kms_key_arn                = module.secrets.kms_key_arn
  auth_token                 = module.secrets.cache_auth_token
  node_type                  = var.cache_node_type
  replicas                   = var.enable_multi_az ? 1 : 0
  multi_az                   = var.enable_multi_az
  log_retention_days         = var.log_retention_days
}

module "sessions" {
  source = "../sessions"

  name                = local.name
  environment         = var.environment
  tags                = var.tags
  kms_key_arn         = module.secrets.kms_key_arn
  deletion_protection = var.deletion_protection
}
