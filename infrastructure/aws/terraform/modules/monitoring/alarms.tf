# What rings. Each alarm looks at a metric that AWS or the application publishes, under the dimensions that it is published
# with; what no data means is said for each: silence of what always speaks is an alarm, silence of what only counts is none.

locals {
  load_balancer = { LoadBalancer = var.alb_arn_suffix }
  targets       = { LoadBalancer = var.alb_arn_suffix, TargetGroup = var.target_group_arn_suffix }
  green_targets = var.green_target_group == null ? {} : { green = merge(local.load_balancer, { TargetGroup = var.green_target_group.arn_suffix }) }
  application   = { Environment = var.application_environment }
  database      = var.database.engine == "postgres" ? { DBInstanceIdentifier = var.database.identifier } : { DBClusterIdentifier = var.database.identifier, Role = "WRITER" }

  gib = 1024 * 1024 * 1024

  defaults = {
    statistic  = null, percentile = null, period = 300, periods = 1, datapoints = null,
    comparison = "GreaterThanThreshold", missing = "notBreaching", severity = "warning",
  }

  # Where no task may run for a time, nobody behind the load balancer is what was asked for.
  silence_alarms = var.always_serving && var.green_target_group == null ? {
    no-healthy-hosts = {
      namespace = "AWS/ApplicationELB", metric = "HealthyHostCount", dimensions = local.targets, statistic = "Maximum", threshold = 1, comparison = "LessThanThreshold",
      period    = 60, periods = 3, missing = "breaching", severity = "critical", description = "No task answers. Runbook: 503s."
    }
  } : {}

  unhealthy_alarms = { for key, targets in merge({ blue = local.targets }, local.green_targets) :
    key == "blue" ? "unhealthy-hosts" : "unhealthy-hosts-${key}" => {
      namespace = "AWS/ApplicationELB", metric = "UnHealthyHostCount", dimensions = targets, statistic = "Maximum", threshold = 0,
      period    = 60, periods = 5, severity = "critical", description = "A task has failed its health check for five minutes. Runbook: unhealthy-targets."
    }
  }

  entry_alarms = {
    p95 = {
      namespace = "AWS/ApplicationELB", metric = "TargetResponseTime", dimensions = local.load_balancer, percentile = "p95", threshold = 1,
      periods   = 2, description = "The p95 of responses is over 1 s for ten minutes. Runbook: high-cpu."
    }
    chat-p95 = {
      namespace   = "CAIO", metric = "FirstTokenLatency", dimensions = local.application, percentile = "p95", threshold = 3000,
      description = "The p95 of a streamed answer's first token is over 3 s for five minutes: usually a provider's doing."
    }
    audit-lag = {
      namespace = "CAIO", metric = "AuditLag", dimensions = local.application, statistic = "Maximum", threshold = 60,
      periods   = 2, description = "Entries wait for their place in the audit log for more than a minute. Runbook: audit-log."
    }
  }

  service_alarms = merge([for kind, service in var.service_names : {
    "${kind}-cpu" = {
      namespace = "AWS/ECS", metric = "CPUUtilization", dimensions = { ClusterName = var.cluster_name, ServiceName = service }, statistic = "Average", threshold = 80,
      periods   = 2, description = "CPU of the ${kind} is over 80 % although it scales at 70 %. Runbook: high-cpu."
    }
    "${kind}-memory" = {
      namespace = "AWS/ECS", metric = "MemoryUtilization", dimensions = { ClusterName = var.cluster_name, ServiceName = service }, statistic = "Average", threshold = 85,
      periods   = 2, description = "Memory of the ${kind} is over 85 %. Runbook: high-memory."
    }
  }]...)

  database_alarms = {
    database-cpu = {
      namespace = "AWS/RDS", metric = "CPUUtilization", dimensions = local.database, statistic = "Average", threshold = 80,
      periods   = 3, missing = "missing", description = "CPU of the database is over 80 % for 15 minutes. Runbook: high-cpu."
    }
    database-connections = {
      namespace = "AWS/RDS", metric = "DatabaseConnections", dimensions = local.database, statistic = "Maximum", threshold = floor(0.8 * var.database.max_connections),
      periods   = 2, missing = "missing", description = "More than 80 % of the database's connections are taken. Runbook: database-unreachable."
    }
    database-storage = {
      namespace  = "AWS/RDS", metric = var.database.engine == "postgres" ? "FreeStorageSpace" : "FreeLocalStorage", dimensions = local.database
      statistic  = "Minimum", threshold = var.database.engine == "postgres" ? 0.1 * var.database.allocated_storage * local.gib : 4 * local.gib
      comparison = "LessThanThreshold", missing = "missing", severity = "critical", description = "The database's storage is nearly used up. Runbook: database-unreachable."
    }
  }

  cache_alarms = merge([for number, node in var.cache_node_ids : {
    "cache-${number + 1}-evictions" = {
      namespace   = "AWS/ElastiCache", metric = "Evictions", dimensions = { CacheClusterId = node }, statistic = "Sum", threshold = 0,
      description = "The cache drops data, which its parameters forbid: limits are no longer held exactly."
    }
    "cache-${number + 1}-memory" = {
      namespace = "AWS/ElastiCache", metric = "DatabaseMemoryUsagePercentage", dimensions = { CacheClusterId = node }, statistic = "Maximum", threshold = 80,
      periods   = 2, description = "The cache is over 80 % full. At 100 % it refuses writes."
    }
  }]...)

  queue_alarms = merge([for key, queue in var.queue_names : {
    "queue-${key}" = {
      namespace = "AWS/SQS", metric = "ApproximateNumberOfMessagesVisible", dimensions = { QueueName = queue }, statistic = "Maximum", threshold = 100,
      periods   = 2, description = "More than 100 messages wait in ${queue}. Runbook: queues."
    }
  }]...)

  dead_letter_alarms = merge([for key, queue in var.dlq_names : {
    "dead-letters-${key}" = {
      namespace = "AWS/SQS", metric = "ApproximateNumberOfMessagesVisible", dimensions = { QueueName = queue }, statistic = "Maximum", threshold = 0,
      severity  = "critical", description = "A message was given up in ${queue}. It is kept for 14 days. Runbook: queues."
    }
  }]...)

  function_alarms = merge([for key, function in var.function_names : {
    "function-${key}" = {
      namespace   = "AWS/Lambda", metric = "Errors", dimensions = { FunctionName = function }, statistic = "Sum", threshold = 0,
      description = "The function ${function} fails."
    }
  }]...)

  canary_alarms = var.canary_name == null ? {} : {
    canary = {
      namespace   = "CloudWatchSynthetics", metric = "SuccessPercent", dimensions = { CanaryName = var.canary_name }, statistic = "Average", threshold = 100,
      periods     = 3, datapoints = 2, comparison = "LessThanThreshold", missing = var.always_serving ? "breaching" : "notBreaching", severity = "critical",
      description = "The canary has failed, or not run, twice in a quarter of an hour: health, an orchestrated request or its receipt."
    }
  }

  alarms = {
    for key, alarm in merge(
      local.silence_alarms, local.unhealthy_alarms, local.entry_alarms, local.service_alarms, local.database_alarms, local.cache_alarms,
      local.queue_alarms, local.dead_letter_alarms, local.function_alarms, local.canary_alarms,
    ) : key => merge(local.defaults, alarm)
  }
}

resource "aws_cloudwatch_metric_alarm" "metric" {
  for_each = local.alarms

  alarm_name          = "${var.name}-${each.key}"
  alarm_description   = each.value.description
  namespace           = each.value.namespace
  metric_name         = each.value.metric
  dimensions          = each.value.dimensions
  statistic           = each.value.statistic
  extended_statistic  = each.value.percentile
  period              = each.value.period
  evaluation_periods  = each.value.periods
  datapoints_to_alarm = each.value.datapoints
  comparison_operator = each.value.comparison
  threshold           = each.value.threshold
  treat_missing_data  = each.value.missing
  # A percentile of a handful of requests says nothing.
  evaluate_low_sample_count_percentiles = each.value.percentile == null ? null : "ignore"

  # The critical ones page through the composite.
  alarm_actions = each.value.severity == "critical" ? [] : [aws_sns_topic.this[each.value.severity].arn]
  ok_actions    = each.value.severity == "critical" ? [] : [aws_sns_topic.this[each.value.severity].arn]

  tags = merge(local.tags, { Purpose = each.value.severity })
}
