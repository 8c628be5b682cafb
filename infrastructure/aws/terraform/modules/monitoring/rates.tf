# Rates, by metric math: an alarm on a mere count rings on busy days, one on a rate alone rings at night for one failure.

locals {
  # Errors of the load balancer (no task to ask) and of the tasks count alike; both metrics are absent while there are none.
  error_metrics = {
    target   = { metric = "HTTPCode_Target_5XX_Count" }
    balancer = { metric = "HTTPCode_ELB_5XX_Count" }
    requests = { metric = "RequestCount" }
  }

  # RequestCount leaves out what no target was found for, and with nobody behind the load balancer that is everything: then the
  # failures themselves are the requests. A series without a single point may stay empty however it is filled; SUM and MAX over
  # a list pass such a one over.
  failed   = "SUM([FILL(target, 0), FILL(balancer, 0)])"
  received = "MAX([FILL(requests, 0), FILL(balancer, 0)])"
  rate     = "100 * ${local.failed} / ${local.received}"
}

# More than 1 % of requests and more than ten failed, twice in a row.
resource "aws_cloudwatch_metric_alarm" "ratio" {
  for_each = { error-rate = "IF(${local.failed} > 10, ${local.rate}, 0)" }

  alarm_name          = "${var.name}-${each.key}"
  alarm_description   = "More than 1 % of requests, and more than ten, have failed with 5xx, for ten minutes. Runbook: 503s."
  evaluation_periods  = 2
  comparison_operator = "GreaterThanThreshold"
  threshold           = 1
  treat_missing_data  = "notBreaching"
  tags                = merge(local.tags, { Purpose = "critical" })

  metric_query {
    id          = "rate"
    expression  = each.value
    label       = "5xx, percent of requests"
    return_data = true
  }

  dynamic "metric_query" {
    for_each = local.error_metrics

    content {
      id = metric_query.key

      metric {
        namespace   = "AWS/ApplicationELB"
        metric_name = metric_query.value.metric
        dimensions  = local.load_balancer
        period      = 300
        stat        = "Sum"
      }
    }
  }
}

# Blue/green: somebody must answer, in whichever group.
resource "aws_cloudwatch_metric_alarm" "either_group" {
  for_each = var.always_serving && var.green_target_group != null ? { no-healthy-hosts = merge({ blue = local.targets }, local.green_targets) } : {}

  alarm_name          = "${var.name}-${each.key}"
  alarm_description   = "No task answers. Runbook: 503s."
  evaluation_periods  = 3
  comparison_operator = "LessThanThreshold"
  threshold           = 1
  treat_missing_data  = "breaching"
  tags                = merge(local.tags, { Purpose = "critical" })

  metric_query {
    id          = "healthy"
    expression  = "MAX([FILL(blue, 0), FILL(green, 0)])"
    label       = "Healthy tasks in the fuller group"
    return_data = true
  }

  dynamic "metric_query" {
    for_each = each.value

    content {
      id = metric_query.key

      metric {
        namespace   = "AWS/ApplicationELB"
        metric_name = "HealthyHostCount"
        dimensions  = metric_query.value
        period      = 60
        stat        = "Maximum"
      }
    }
  }
}

# What a deployment is rolled back on: the same questions, asked by the minute. They look at the load balancer alone, so that
# the service can name them before it exists, and they page nobody.
resource "aws_cloudwatch_metric_alarm" "rollback" {
  for_each = { rollback-errors = "IF(${local.failed} > 2, ${local.rate}, 0)" }

  alarm_name          = "${var.name}-${each.key}"
  alarm_description   = "More than 1 % of requests fail with 5xx in two of three minutes: a deployment that is under way is rolled back."
  evaluation_periods  = 3
  datapoints_to_alarm = 2
  comparison_operator = "GreaterThanThreshold"
  threshold           = 1
  treat_missing_data  = "notBreaching"
  alarm_actions       = [aws_sns_topic.this["info"].arn]
  tags                = merge(local.tags, { Purpose = "rollback" })

  metric_query {
    id          = "rate"
    expression  = each.value
    label       = "5xx, percent of requests"
    return_data = true
  }

  dynamic "metric_query" {
    for_each = local.error_metrics

    content {
      id = metric_query.key

      metric {
        namespace   = "AWS/ApplicationELB"
        metric_name = metric_query.value.metric
        dimensions  = local.load_balancer
        period      = 60
        stat        = "Sum"
      }
    }
  }
}
