# Service level objectives, and how fast their error budgets burn. A burn of 1 uses a budget up in its 30 days. 14.4 over an
# hour uses 2 % of it and pages; 6 over six hours uses 5 % and is for the working day. Each needs the same burn over a short
# window too, so that it falls silent minutes after the cause is gone. Source: The Site Reliability Workbook, chapter 5.

locals {
  burns = {
    fast = { threshold = 14.4, windows = { long = 3600, short = 300 } }
    slow = { threshold = 6, windows = { long = 21600, short = 1800 } }
  }

  # `bad` and `total` are of the metrics below; a burn is the percentage of bad ones over the percentage that may be bad.
  # Latency is that of decisions: what CAIO adds to a call, whatever the model behind it takes.
  objectives = {
    availability = {
      budget  = 100 - var.slo.availability
      metrics = { for key, metric in local.error_metrics : key => { namespace = "AWS/ApplicationELB", metric = metric.metric, dimensions = local.load_balancer, stat = "Sum" } }
      bad     = local.failed
      percent = local.rate
    }
    errors = {
      budget = 100 - var.slo.errors
      metrics = {
        failed   = { namespace = "CAIO", metric = "OrchestrationErrors", dimensions = local.application, stat = "Sum" }
        requests = { namespace = "CAIO", metric = "OrchestrationRequests", dimensions = local.application, stat = "Sum" }
      }
      bad     = "failed"
      percent = "100 * failed / requests"
    }
    latency = {
      budget = 100 - var.slo.latency
      metrics = {
        within   = { namespace = "CAIO", metric = "RoutingLatency", dimensions = local.application, stat = "PR(:${var.slo.latency_ms})" }
        requests = { namespace = "CAIO", metric = "RoutingLatency", dimensions = local.application, stat = "SampleCount" }
      }
      bad     = "requests * (100 - within) / 100"
      percent = "100 - within"
    }
  }

  # At least this many must have been bad: at night one failure in three requests is no incident.
  least_bad = 5

  burn_alarms = merge(flatten([
    for objective, slo in local.objectives : [
      for speed, burn in local.burns : [
        for window, seconds in burn.windows : {
          "slo-${objective}-${speed}-${window}" = {
            objective  = objective, speed = speed, window = window, period = seconds, threshold = burn.threshold, metrics = slo.metrics
            expression = "IF(${slo.bad} > ${local.least_bad}, (${slo.percent}) / ${slo.budget}, 0)"
          }
        }
      ]
    ]
  ])...)

  burn_rules = {
    for pair in setproduct(keys(local.objectives), keys(local.burns)) : "${pair[0]}-${pair[1]}" => join(" AND ", [
      for window in ["long", "short"] : "ALARM(\"${aws_cloudwatch_metric_alarm.burn["slo-${pair[0]}-${pair[1]}-${window}"].alarm_name}\")"
    ])
  }

  fast_burn_rules = [for key, rule in local.burn_rules : rule if endswith(key, "-fast")]
}

resource "aws_cloudwatch_metric_alarm" "burn" {
  for_each = local.burn_alarms

  alarm_name          = "${var.name}-${each.key}"
  alarm_description   = "The error budget of ${each.value.objective} burns ${each.value.threshold} times too fast over ${each.value.period / 60} minutes. Alone it tells nobody."
  evaluation_periods  = 1
  comparison_operator = "GreaterThanThreshold"
  threshold           = each.value.threshold
  treat_missing_data  = "notBreaching"
  tags                = merge(local.tags, { Purpose = "slo" })

  metric_query {
    id          = "burn"
    expression  = each.value.expression
    label       = "Burn of the error budget"
    return_data = true
  }

  dynamic "metric_query" {
    for_each = each.value.metrics

    content {
      id = metric_query.key

      metric {
        namespace   = metric_query.value.namespace
        metric_name = metric_query.value.metric
        dimensions  = metric_query.value.dimensions
        period      = each.value.period
        stat        = metric_query.value.stat
      }
    }
  }
}

# The fast burns are in the composite that pages; the slow ones are told for the working day.
resource "aws_cloudwatch_composite_alarm" "burn" {
  for_each = toset(keys(local.objectives))

  alarm_name        = "${var.name}-slo-${each.key}-slow"
  alarm_description = "The error budget of ${each.key} will be gone before its 30 days are."
  alarm_rule        = local.burn_rules["${each.key}-slow"]
  alarm_actions     = [aws_sns_topic.this["warning"].arn]
  ok_actions        = [aws_sns_topic.this["warning"].arn]
  tags              = merge(local.tags, { Purpose = "slo" })
}
