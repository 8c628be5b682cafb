# How many tasks run. Out after a minute, in after five: too many tasks cost cents, too few cost callers.

locals {
  scaled = {
    api    = { service = local.service_name, min = var.min_capacity, max = var.max_capacity }
    worker = { service = local.worker_service_name, min = var.worker_capacity.min, max = var.worker_capacity.max }
  }

  tracked = merge(
    { for service in keys(local.scaled) : "${service}-cpu" => { service = service, metric = "ECSServiceAverageCPUUtilization", target = 70, label = null } },
    { for service in keys(local.scaled) : "${service}-memory" => { service = service, metric = "ECSServiceAverageMemoryUtilization", target = 80, label = null } },
    # CodeDeploy moves the tasks to another target group; the count of one group then says nothing.
    var.blue_green ? {} : { api-requests = {
      service = "api"
      metric  = "ALBRequestCountPerTarget"
      target  = 1000
      label   = "${var.load_balancer.alb_arn_suffix}/${var.load_balancer.target_group_arn_suffix}"
    } },
  )
}

resource "aws_appautoscaling_target" "this" {
  for_each = local.scaled

  service_namespace  = "ecs"
  resource_id        = "service/${local.cluster_name}/${each.value.service}"
  scalable_dimension = "ecs:service:DesiredCount"
  min_capacity       = var.serving ? each.value.min : 0
  max_capacity       = var.serving ? each.value.max : 0

  tags = local.tags

  depends_on = [aws_ecs_service.api, aws_ecs_service.api_blue_green, aws_ecs_service.worker]
}

resource "aws_appautoscaling_policy" "tracked" {
  for_each = local.tracked

  name               = "${var.name}-${each.key}"
  policy_type        = "TargetTrackingScaling"
  service_namespace  = aws_appautoscaling_target.this[each.value.service].service_namespace
  resource_id        = aws_appautoscaling_target.this[each.value.service].resource_id
  scalable_dimension = aws_appautoscaling_target.this[each.value.service].scalable_dimension

  target_tracking_scaling_policy_configuration {
    target_value       = each.value.target
    scale_out_cooldown = 60
    scale_in_cooldown  = 300

    predefined_metric_specification {
      predefined_metric_type = each.value.metric
      resource_label         = each.value.label
    }
  }
}

# Slow answers add tasks too; only the targets above take them away.
resource "aws_appautoscaling_policy" "response_time" {
  name               = "${var.name}-api-response-time"
  policy_type        = "StepScaling"
  service_namespace  = aws_appautoscaling_target.this["api"].service_namespace
  resource_id        = aws_appautoscaling_target.this["api"].resource_id
  scalable_dimension = aws_appautoscaling_target.this["api"].scalable_dimension

  step_scaling_policy_configuration {
    adjustment_type          = "PercentChangeInCapacity"
    cooldown                 = 60
    metric_aggregation_type  = "Average"
    min_adjustment_magnitude = 1

    step_adjustment {
      metric_interval_lower_bound = 0
      metric_interval_upper_bound = 1
      scaling_adjustment          = 25
    }

    step_adjustment {
      metric_interval_lower_bound = 1
      scaling_adjustment          = 50
    }
  }
}

resource "aws_cloudwatch_metric_alarm" "response_time" {
  alarm_name          = "${var.name}-scale-out-response-time"
  alarm_description   = "Adds API tasks while the slowest 5 % of answers take longer than 1 s. No one is paged for it."
  namespace           = "AWS/ApplicationELB"
  metric_name         = "TargetResponseTime"
  extended_statistic  = "p95"
  dimensions          = { LoadBalancer = var.load_balancer.alb_arn_suffix }
  period              = 60
  evaluation_periods  = 2
  threshold           = 1
  comparison_operator = "GreaterThanThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = [aws_appautoscaling_policy.response_time.arn]

  tags = local.tags
}

# Outside production nobody calls at night. A plan at night shows the night's figures as a difference; applying it
# wakes the tasks until the next evening.
resource "aws_appautoscaling_scheduled_action" "night" {
  for_each = var.night == null ? {} : local.scaled

  name               = "${var.name}-${each.key}-night"
  service_namespace  = aws_appautoscaling_target.this[each.key].service_namespace
  resource_id        = aws_appautoscaling_target.this[each.key].resource_id
  scalable_dimension = aws_appautoscaling_target.this[each.key].scalable_dimension
  schedule           = "cron(0 22 * * ? *)"
  timezone           = var.night.timezone

  scalable_target_action {
    min_capacity = var.night.capacity
    max_capacity = var.night.capacity
  }
}

resource "aws_appautoscaling_scheduled_action" "morning" {
  for_each = var.night == null ? {} : local.scaled

  name               = "${var.name}-${each.key}-morning"
  service_namespace  = aws_appautoscaling_target.this[each.key].service_namespace
  resource_id        = aws_appautoscaling_target.this[each.key].resource_id
  scalable_dimension = aws_appautoscaling_target.this[each.key].scalable_dimension
  schedule           = "cron(0 6 * * ? *)"
  timezone           = var.night.timezone

  scalable_target_action {
    min_capacity = var.serving ? each.value.min : 0
    max_capacity = var.serving ? each.value.max : 0
  }

  # Application Auto Scaling refuses two changes of one target at once.
  depends_on = [aws_appautoscaling_scheduled_action.night]
}
