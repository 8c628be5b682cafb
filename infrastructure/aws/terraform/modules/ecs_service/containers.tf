# The containers of the three tasks: one image, three commands, one set of restrictions.

locals {
  # Fargate gives a volume the owner of the image's path where the image declares it: /var/lib/caio and /tmp.
  data_volumes = { data = "/var/lib/caio", tmp = "/tmp" }
  exec_volumes = var.execute_command ? { ssm-state = "/var/lib/amazon", ssm-logs = "/var/log/amazon" } : {}
  volumes      = merge(local.data_volumes, local.exec_volumes)

  application = {
    image                  = var.image
    essential              = true
    user                   = "1000"
    privileged             = false
    readonlyRootFilesystem = true
    stopTimeout            = 120
    linuxParameters        = { initProcessEnabled = true, capabilities = { add = [], drop = ["ALL"] } }
    ulimits                = [{ name = "nofile", softLimit = 65536, hardLimit = 65536 }]
    volumesFrom            = []
    systemControls         = []
  }

  # Alive is asked here, ready by the load balancer: a task that waits for its database is not to be killed for it.
  alive = {
    command     = ["CMD", "healthcheck", "/health/live"]
    interval    = 30
    timeout     = 10
    retries     = 3
    startPeriod = 40
  }

  # Logs never hold the application up: beyond 25 MB that CloudWatch has not taken, lines are dropped.
  logging = { for container, group in local.log_groups : container => {
    logDriver = "awslogs"
    options = {
      awslogs-group         = group
      awslogs-region        = data.aws_region.current.name
      awslogs-stream-prefix = container
      mode                  = "non-blocking"
      max-buffer-size       = "25m"
    }
  } }

  serving_environment   = [for name, value in var.serving_environment.plain : { name = name, value = value }]
  serving_secrets       = [for name, from in var.serving_environment.secrets : { name = name, valueFrom = from }]
  migration_environment = [for name, value in var.migration_environment.plain : { name = name, value = value }]
  migration_secrets     = [for name, from in var.migration_environment.secrets : { name = name, valueFrom = from }]

  api_ports = concat(
    [{ name = "api", containerPort = local.container_port, hostPort = local.container_port, protocol = "tcp", appProtocol = "http" }],
    var.agents ? [{ name = "agents", containerPort = local.agents_port, hostPort = local.agents_port, protocol = "tcp", appProtocol = "http" }] : [],
  )

  api_container = merge(local.application, {
    name             = "api"
    command          = ["serve"]
    portMappings     = local.api_ports
    environment      = local.serving_environment
    secrets          = local.serving_secrets
    mountPoints      = [for volume, path in local.volumes : { sourceVolume = volume, containerPath = path, readOnly = false }]
    healthCheck      = local.alive
    logConfiguration = local.logging.api
  })

  worker_container = merge(local.application, {
    name             = "worker"
    command          = ["worker"]
    portMappings     = []
    environment      = local.serving_environment
    secrets          = local.serving_secrets
    mountPoints      = [for volume, path in local.volumes : { sourceVolume = volume, containerPath = path, readOnly = false }]
    healthCheck      = local.alive
    logConfiguration = local.logging.worker
  })

  migration_container = merge(local.application, {
    name             = "migration"
    command          = ["db", "upgrade"]
    portMappings     = []
    environment      = local.migration_environment
    secrets          = local.migration_secrets
    mountPoints      = [for volume, path in local.data_volumes : { sourceVolume = volume, containerPath = path, readOnly = false }]
    logConfiguration = local.logging.migration
  })
}
