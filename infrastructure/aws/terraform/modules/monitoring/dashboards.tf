# Six dashboards, a file each. They take what there is; a list that is empty leaves its widget empty.

locals {
  dashboards = ["overview", "performance", "errors", "infrastructure", "tenants", "cost"]

  # After a blue/green deployment the tasks are in either group: lines of both, named by their colour.
  drawn_groups = var.green_target_group == null ? tomap({ "" = var.target_group_arn_suffix }) : tomap({
    blue  = var.target_group_arn_suffix
    green = var.green_target_group.arn_suffix
  })

  drawn = {
    region        = local.region
    name          = var.name
    environment   = var.application_environment
    load_balancer = var.alb_arn_suffix
    groups        = local.drawn_groups
    cluster       = var.cluster_name
    services      = var.service_names
    database      = flatten([for dimension, value in local.database : [dimension, value]])
    cache_nodes   = var.cache_node_ids
    table         = var.table_name
    queues        = concat(values(var.queue_names), values(var.dlq_names))
    functions     = values(var.function_names)
    canary        = var.canary_name
    latency_ms    = var.slo.latency_ms
    alarms        = [for alarm in aws_cloudwatch_metric_alarm.metric : alarm.arn]
    page          = aws_cloudwatch_composite_alarm.page.arn
    log_groups    = var.log_group_names
    tenants       = var.tenants
  }
}

resource "aws_cloudwatch_dashboard" "this" {
  for_each = toset(local.dashboards)

  dashboard_name = "${var.name}-${each.key}"
  dashboard_body = jsonencode(jsondecode(templatefile("${path.module}/dashboards/${each.key}.json.tftpl", local.drawn)))
}
