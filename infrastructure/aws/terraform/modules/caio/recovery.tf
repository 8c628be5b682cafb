# What brings the environment back: backups by the second and by the day, copies in another region.

module "copy_vault" {
  source    = "../backup/copy_vault"
  count     = var.switches.cross_region_copy ? 1 : 0
  providers = { aws = aws.recovery }

  name        = local.name
  environment = var.environment
  tags        = var.tags
}

module "backup" {
  source = "../backup"

  permissions_boundary      = local.permissions_boundary
  name                      = local.name
  environment               = var.environment
  tags                      = var.tags
  kms_key_arn               = module.secrets.kms_key_arn
  database_arn              = module.database.resource_arn
  database_engine           = var.database.engine
  resource_arns             = [module.sessions.table_arn]
  bucket_arns               = [module.storage.buckets["artifacts"].arn]
  continuous_retention_days = max(7, var.database.backup_retention_days)
  daily_retention_days      = local.production ? 90 : 14
  copy_vault_arn            = one(module.copy_vault[*].vault_arn)
  restore_testing           = local.production
  notified_topic_arn        = module.monitoring.topic_arns["warning"]
}
