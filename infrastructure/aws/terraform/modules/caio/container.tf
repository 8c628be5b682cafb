# What the containers are given: exactly the names of infrastructure/container.yaml, secrets by reference alone.

locals {
  # Longer than the load balancer takes to notice that readiness fails (30 s).
  drain_seconds = 35

  # How long streams may then go on. With the drain, and some seconds to settle and to write what is left, within the
  # 120 s after which the platform kills.
  grace_seconds = 70

  # A deployment runs old and new tasks side by side for a while, so that twice the most may run at once.
  most_processes = 2 * (var.capacity.max + var.capacity.worker.max)

  # The load balancer speaks from the public subnets, and where CloudFront stands before it, that does from its own ranges.
  trusted_proxies = concat(
    module.network.public_subnet_cidrs,
    flatten([for list in data.aws_ec2_managed_prefix_list.cloudfront : [for entry in list.entries : entry.cidr]]),
  )

  oidc = var.oidc != null ? var.oidc : { issuer = module.identity.issuer, audience = module.identity.client_id }

  # What the application calls itself: CAIO_ENV, and with it the dimension Environment of its metrics.
  application_environment = var.environment == "dev" ? "development" : var.environment

  database_environment = {
    CAIO_ENV        = local.application_environment
    CAIO_DB_PORT    = tostring(module.database.port)
    CAIO_DB_NAME    = module.database.name
    CAIO_DB_SSLMODE = "require"
  }

  serving_environment = merge(
    local.database_environment,
    {
      CAIO_DB_HOST         = module.database.endpoint
      CAIO_API_HOST        = "0.0.0.0"
      CAIO_API_PORT        = "8080"
      CAIO_OPS_PORT        = "9090"
      CAIO_REDIS_URL       = "rediss://${module.cache.primary_endpoint}:${module.cache.port}/0"
      CAIO_PROCESSES       = tostring(local.most_processes)
      CAIO_KMS_KEY_ID      = module.secrets.tenants_key_arn
      CAIO_AUDIT_ORIGIN    = var.domain.name
      CAIO_ANCHOR          = var.switches.anchor ? "s3://${module.storage.buckets["audit"].name}/checkpoints" : "none"
      CAIO_EVENT_BUS       = module.events.bus_name
      CAIO_OIDC_ISSUER     = local.oidc.issuer
      CAIO_OIDC_AUDIENCE   = local.oidc.audience
      CAIO_CORS_ORIGINS    = join(",", length(var.cors_origins) > 0 ? var.cors_origins : ["https://${var.domain.name}"])
      CAIO_TRUSTED_PROXIES = join(",", local.trusted_proxies)
      CAIO_DRAIN_SECONDS   = tostring(local.drain_seconds)
      CAIO_GRACE_SECONDS   = tostring(local.grace_seconds)
      CAIO_METRICS_EMF     = "true"
      AWS_REGION           = local.region
    },
    length(var.retired_signing_keys) > 0 ? { CAIO_RETIRED_SIGNING_KEYS = join(",", var.retired_signing_keys) } : {},
    var.switches.tracing ? { CAIO_OTLP_ENDPOINT = "http://127.0.0.1:4318" } : {},
  )

  # Migrations go past the proxy, which does not know the administrator.
  migration_environment = merge(local.database_environment, { CAIO_DB_HOST = module.database.writer_endpoint })

  database_login = {
    CAIO_DB_USER     = "${module.secrets.secret_arns["db_credentials"]}:username::"
    CAIO_DB_PASSWORD = "${module.secrets.secret_arns["db_credentials"]}:password::"
  }

  serving_secrets = merge(local.database_login, {
    CAIO_AUTH_SECRET_KEY = "${module.secrets.secret_arns["auth_secret"]}:auth_secret_key::"
    CAIO_SIGNING_SECRET  = "${module.secrets.secret_arns["auth_secret"]}:signing_secret::"
    CAIO_REDIS_PASSWORD  = "${module.secrets.secret_arns["cache_auth"]}:token::"
  })

  migration_secrets = merge(local.database_login, {
    CAIO_DB_ADMIN_USER     = "${module.database.master_secret_arn}:username::"
    CAIO_DB_ADMIN_PASSWORD = "${module.database.master_secret_arn}:password::"
  })
}
