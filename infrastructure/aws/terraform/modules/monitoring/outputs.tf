output "alerts_topic_arn" {
  description = "The topic of what somebody must be woken for."
  value       = aws_sns_topic.this["critical"].arn

  depends_on = [aws_sns_topic_policy.this]
}

output "topic_arns" {
  description = "The topics by severity: critical, warning, info."
  value       = { for severity, topic in aws_sns_topic.this : severity => topic.arn }

  depends_on = [aws_sns_topic_policy.this]
}

output "dashboard_urls" {
  description = "The six dashboards' addresses by name."
  value = {
    for key, dashboard in aws_cloudwatch_dashboard.this :
    key => "https://${local.region}.console.aws.amazon.com/cloudwatch/home?region=${local.region}#dashboards/dashboard/${dashboard.dashboard_name}"
  }
}

output "rollback_alarm_names" {
  description = "The alarms that roll a deployment back: of the load balancer alone, so that the service can depend on them."
  value       = [for alarm in aws_cloudwatch_metric_alarm.rollback : alarm.alarm_name]
}

output "alarm_names" {
  description = "All alarms' names."
  value = sort(concat(
    [for alarm in aws_cloudwatch_metric_alarm.rollback : alarm.alarm_name],
    [for alarm in aws_cloudwatch_metric_alarm.either_group : alarm.alarm_name],
    [for alarm in aws_cloudwatch_metric_alarm.ratio : alarm.alarm_name],
    [for alarm in aws_cloudwatch_metric_alarm.metric : alarm.alarm_name],
    [for alarm in aws_cloudwatch_metric_alarm.burn : alarm.alarm_name],
    [for alarm in aws_cloudwatch_composite_alarm.burn : alarm.alarm_name],
    [aws_cloudwatch_composite_alarm.page.alarm_name],
  ))
}
