# What the environment may cost, and who is told before it has.

locals {
  # Of what has been spent at 80 % and at all of it; of what the month will come to, when that is more than all of it.
  thresholds = {
    soon     = { type = "ACTUAL", percent = 80 }
    spent    = { type = "ACTUAL", percent = 100 }
    forecast = { type = "FORECASTED", percent = 100 }
  }
}

resource "aws_budgets_budget" "this" {
  name         = "${var.name}-monthly"
  budget_type  = "COST"
  time_unit    = "MONTHLY"
  limit_amount = tostring(var.monthly_limit_usd)
  limit_unit   = "USD"
  tags         = merge(var.tags, { Component = "budgets", Purpose = "cost" })

  dynamic "cost_filter" {
    for_each = var.cost_tag == null ? [] : [var.cost_tag]

    content {
      name   = "TagKeyValue"
      values = [join("$", ["user:${cost_filter.value.key}", cost_filter.value.value])]
    }
  }

  dynamic "notification" {
    for_each = local.thresholds

    content {
      comparison_operator        = "GREATER_THAN"
      notification_type          = notification.value.type
      threshold                  = notification.value.percent
      threshold_type             = "PERCENTAGE"
      subscriber_email_addresses = var.notified_emails
      subscriber_sns_topic_arns  = var.notified_topic_arns
    }
  }
}
