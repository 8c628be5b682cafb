# Who is told, and how loudly. Three topics: critical wakes somebody, warning is read the same day, info is for the record.
# Alarms of one outage would each ring by themselves, so the critical ones are silent and one composite alarm pages for all.

data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}
data "aws_region" "current" {}

locals {
  account   = data.aws_caller_identity.current.account_id
  partition = data.aws_partition.current.partition
  region    = data.aws_region.current.name
  tags      = merge(var.tags, { Component = "monitoring" })

  topics = {
    critical = "${var.name}-alerts"
    warning  = "${var.name}-alerts-warning"
    info     = "${var.name}-alerts-info"
  }
}

resource "aws_sns_topic" "this" {
  for_each = local.topics

  name              = each.value
  kms_master_key_id = var.kms_key_arn
  tags              = merge(local.tags, { Purpose = "${each.key} alerts" })
}

resource "aws_sns_topic_policy" "this" {
  for_each = aws_sns_topic.this

  arn = each.value.arn

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid       = "AlarmsBudgetsAndBackups"
        Effect    = "Allow"
        Principal = { Service = ["cloudwatch.amazonaws.com", "budgets.amazonaws.com", "backup.amazonaws.com"] }
        Action    = "sns:Publish"
        Resource  = each.value.arn
        Condition = { StringEquals = { "aws:SourceAccount" = local.account } }
      },
      {
        # Without a condition: what EventBridge states to a topic of the rule that sends is not documented, and an alert that is
        # refused is refused without a word.
        Sid       = "Events"
        Effect    = "Allow"
        Principal = { Service = "events.amazonaws.com" }
        Action    = "sns:Publish"
        Resource  = each.value.arn
      },
      {
        Sid       = "TlsOnly"
        Effect    = "Deny"
        Principal = "*"
        Action    = "sns:Publish"
        Resource  = each.value.arn
        Condition = { Bool = { "aws:SecureTransport" = "false" } }
      },
    ]
  })
}

resource "aws_sns_topic_subscription" "email" {
  for_each = aws_sns_topic.this

  topic_arn = each.value.arn
  protocol  = "email"
  endpoint  = var.alert_email
}

resource "aws_sns_topic_subscription" "pager" {
  count = nonsensitive(var.pager_endpoint != null) ? 1 : 0

  topic_arn              = aws_sns_topic.this["critical"].arn
  protocol               = "https"
  endpoint               = var.pager_endpoint
  endpoint_auto_confirms = true
}

# Slack shows what the topics say. It may do nothing: the guardrail denies whatever somebody would type there.
resource "aws_chatbot_slack_channel_configuration" "this" {
  count = var.slack == null ? 0 : 1

  configuration_name    = "${var.name}-alerts"
  slack_team_id         = var.slack.team_id
  slack_channel_id      = var.slack.channel_id
  sns_topic_arns        = [for topic in aws_sns_topic.this : topic.arn]
  iam_role_arn          = aws_iam_role.slack[0].arn
  guardrail_policy_arns = ["arn:${local.partition}:iam::aws:policy/AWSDenyAll"]
  logging_level         = "ERROR"
  tags                  = local.tags
}

resource "aws_iam_role" "slack" {
  count = var.slack == null ? 0 : 1

  name        = "${var.name}-slack"
  description = "Shows alerts in Slack, and may do nothing."
  tags        = local.tags

  permissions_boundary = var.permissions_boundary
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "chatbot.amazonaws.com" }
      Action    = "sts:AssumeRole"
      Condition = { StringEquals = { "aws:SourceAccount" = local.account } }
    }]
  })
}

# The one that pages: anything critical, or an error budget that burns so fast that it is gone in two days.
resource "aws_cloudwatch_composite_alarm" "page" {
  alarm_name        = "${var.name}-page"
  alarm_description = "Somebody is needed now. Which alarm it is says its state's reason; what to do says docs/runbooks."
  alarm_actions     = [aws_sns_topic.this["critical"].arn]
  ok_actions        = [aws_sns_topic.this["critical"].arn]
  tags              = merge(local.tags, { Purpose = "page once" })

  alarm_rule = join(" OR ", concat(
    [for alarm in aws_cloudwatch_metric_alarm.either_group : "ALARM(\"${alarm.alarm_name}\")"],
    [for alarm in aws_cloudwatch_metric_alarm.ratio : "ALARM(\"${alarm.alarm_name}\")"],
    [for key, alarm in aws_cloudwatch_metric_alarm.metric : "ALARM(\"${alarm.alarm_name}\")" if local.alarms[key].severity == "critical"],
    [for rule in local.fast_burn_rules : "(${rule})"],
  ))
}
