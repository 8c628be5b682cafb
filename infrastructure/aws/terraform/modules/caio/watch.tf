# Who is told of what: alarms and dashboards, the canary, money, and who did what in the account.

module "monitoring" {
  source = "../monitoring"

  permissions_boundary    = local.permissions_boundary
  name                    = local.name
  environment             = var.environment
  application_environment = local.application_environment
  always_serving          = var.serving && local.awake_at_night
  tags                    = var.tags
  kms_key_arn             = module.secrets.kms_key_arn
  alert_email             = var.alerts.email
  pager_endpoint          = var.alerts.pager
  slack                   = var.alerts.slack
  alb_arn_suffix          = module.alb.alb_arn_suffix
  target_group_arn_suffix = module.alb.target_group_arn_suffix
  green_target_group      = var.switches.blue_green ? { arn_suffix = module.alb.green_target_group_arn_suffix } : null
  cluster_name            = module.service.cluster_name
  service_names           = { api = module.service.service_name, worker = module.service.worker_service_name }
  log_group_names         = [module.service.log_group_names["api"], module.service.log_group_names["worker"]]
  cache_node_ids          = module.cache.node_ids
  table_name              = module.sessions.table_name
  queue_names             = module.events.queue_names
  dlq_names               = module.events.dlq_names
  function_names          = module.functions.function_names
  canary_name             = one(module.canary[*].canary_name)
  rotated_secret_arns     = [module.database.master_secret_arn]

  database = {
    identifier        = module.database.instance_identifier
    engine            = var.database.engine
    max_connections   = module.database.max_connections
    allocated_storage = var.database.allocated_storage
  }
}

# Its code lies in the artifacts bucket, which is there after the first apply: `serving = false` leaves the canary out.
module "canary" {
  source = "../canary"
  count  = var.serving && var.canary != null ? 1 : 0

  permissions_boundary = local.permissions_boundary
  name                 = local.name
  environment          = var.environment
  tags                 = var.tags
  endpoint_url         = "https://${var.domain.name}"
  code_s3_bucket       = module.storage.buckets["artifacts"].name
  code_s3_key          = var.canary.code_key
  artifacts_bucket     = module.storage.buckets["artifacts"].name
  api_key_secret_arn   = module.secrets.secret_arns["api_keys"]
  kms_key_arn          = module.secrets.kms_key_arn
  orchestrate_body     = var.canary.orchestrate_body
  schedule             = local.awake_at_night ? "rate(5 minutes)" : "cron(0/5 7-21 * * ? *)" # tasks wake at six
}

module "budgets" {
  source = "../budgets"

  name                = local.name
  environment         = var.environment
  tags                = var.tags
  monthly_limit_usd   = var.monthly_budget_usd
  cost_tag            = { key = "Environment", value = var.environment }
  notified_emails     = [var.alerts.email]
  notified_topic_arns = [module.monitoring.topic_arns["warning"]]
}

module "audit_trail" {
  source = "../audit_trail"

  permissions_boundary   = local.permissions_boundary
  name                   = local.name
  environment            = var.environment
  tags                   = var.tags
  logs_bucket            = module.storage.buckets["logs"].name
  kms_key_arn            = module.secrets.kms_key_arn
  enable_cloudtrail      = var.switches.cloudtrail
  data_event_bucket_arns = [module.storage.buckets["audit"].arn]
  enable_guardduty       = var.switches.guardduty
  enable_security_hub    = var.switches.security_hub
  enable_inspector       = var.switches.inspector
  findings_topic_arn     = module.monitoring.alerts_topic_arn
}
