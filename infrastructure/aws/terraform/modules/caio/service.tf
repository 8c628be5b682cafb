# What runs.

module "service" {
  source = "../ecs_service"

  permissions_boundary = local.permissions_boundary
  name                 = local.name
  environment          = var.environment
  tags                 = var.tags

  vpc_id                = module.network.vpc_id
  subnet_ids            = module.network.private_subnet_ids
  alb_security_group_id = module.alb.security_group_id

  data_stores = {
    database = { security_group_id = module.database.security_group_id, port = 5432 }
    cache    = { security_group_id = module.cache.security_group_id, port = 6379 }
  }

  load_balancer = {
    alb_arn_suffix          = module.alb.alb_arn_suffix
    target_group_arn        = module.alb.target_group_arn
    target_group_arn_suffix = module.alb.target_group_arn_suffix
    target_group_names      = module.alb.target_group_names
    https_listener_arn      = module.alb.https_listener_arn
    test_listener           = module.alb.test_listener
    agents_target_group_arn = module.alb.agents_target_group_arn
  }

  image          = local.image
  repository_arn = local.repository_arn
  kms_key_arn    = module.secrets.kms_key_arn

  serving_environment = {
    plain       = local.serving_environment
    secrets     = local.serving_secrets
    secret_arns = [for secret in ["db_credentials", "auth_secret", "cache_auth"] : module.secrets.secret_arns[secret]]
  }

  migration_environment = {
    plain       = local.migration_environment
    secrets     = local.migration_secrets
    secret_arns = [module.secrets.secret_arns["db_credentials"], module.database.master_secret_arn]
  }

  access = {
    tenants_key_arn      = module.secrets.tenants_key_arn
    artifacts_bucket_arn = module.storage.buckets["artifacts"].arn
    audit_bucket_arn     = module.storage.buckets["audit"].arn
    table_arn            = module.sessions.table_arn
    queue_arns           = values(module.events.queue_arns)
    bus_arn              = module.events.bus_arn
  }

  serving              = var.serving
  sizes                = var.sizes
  min_capacity         = var.capacity.min
  max_capacity         = var.capacity.max
  desired_capacity     = var.capacity.desired
  worker_capacity      = var.capacity.worker
  worker_spot_percent  = var.switches.spot ? 70 : 0
  night                = var.capacity.night == null ? null : { capacity = var.capacity.night }
  log_retention_days   = var.log_retention_days
  container_insights   = var.switches.container_insights
  tracing              = var.switches.tracing
  execute_command      = var.switches.execute_command
  service_connect      = var.switches.service_connect
  agents               = var.switches.agents
  blue_green           = var.switches.blue_green
  rollback_alarm_names = module.monitoring.rollback_alarm_names
}
