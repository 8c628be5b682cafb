# The collector beside the API and the worker: traces in on loopback, out to X-Ray. When it fails, CAIO goes on.

locals {
  collector_config = {
    receivers  = { otlp = { protocols = { http = { endpoint = "127.0.0.1:4318" } } } }
    processors = { batch = { timeout = "5s" }, memory_limiter = { check_interval = "1s", limit_mib = 100 } }
    exporters  = { awsxray = { region = data.aws_region.current.name } }
    extensions = { health_check = { endpoint = "127.0.0.1:13133" } }
    service = {
      extensions = ["health_check"]
      pipelines  = { traces = { receivers = ["otlp"], processors = ["memory_limiter", "batch"], exporters = ["awsxray"] } }
    }
  }

  collectors = var.tracing ? [{
    name                   = "collector"
    image                  = var.collector_image
    essential              = false
    privileged             = false
    readonlyRootFilesystem = true
    memory                 = 128
    environment            = [{ name = "AOT_CONFIG_CONTENT", value = yamlencode(local.collector_config) }]
    healthCheck            = { command = ["CMD", "/healthcheck"], interval = 30, timeout = 5, retries = 3, startPeriod = 20 }
    logConfiguration       = local.logging.collector
    linuxParameters        = { capabilities = { add = [], drop = ["ALL"] } }
    portMappings           = []
    mountPoints            = []
    volumesFrom            = []
    systemControls         = []
  }] : []
}
