# The bus that the application puts its events on (one an act of a tenant's audit log), an archive to replay them from, and
# rules that carry them to queues. What cannot be delivered, or handled three times over, waits two weeks for a person.

data "aws_caller_identity" "current" {}

locals {
  tags = merge(var.tags, { Component = "events" })

  # A type that ends in * stands for whatever begins so.
  patterns = {
    for key, rule in var.rules : key => [
      for type in rule.detail_types : endswith(type, "*") ? jsonencode({ prefix = trimsuffix(type, "*") }) : jsonencode(type)
    ]
  }
}

resource "aws_cloudwatch_event_bus" "this" {
  name               = "${var.name}-events"
  description        = "What happened in ${var.name}: one event an act of a tenant's audit log."
  kms_key_identifier = var.kms_key_arn
  tags               = merge(local.tags, { Purpose = "domain events" })

  # Events that KMS did not let through are kept too.
  dead_letter_config {
    arn = aws_sqs_queue.dead["undelivered"].arn
  }
}

resource "aws_cloudwatch_event_archive" "this" {
  name             = "${var.name}-events"
  description      = "Events to replay."
  event_source_arn = aws_cloudwatch_event_bus.this.arn
  retention_days   = var.archive_retention_days
}

resource "aws_cloudwatch_event_rule" "this" {
  for_each = var.rules

  name           = "${var.name}-${each.key}"
  description    = each.value.description
  event_bus_name = aws_cloudwatch_event_bus.this.name
  event_pattern  = jsonencode({ source = ["caio"], detail-type = [for pattern in local.patterns[each.key] : jsondecode(pattern)] })
  state          = each.value.enabled ? "ENABLED" : "DISABLED"
  tags           = merge(local.tags, { Purpose = "routing of events" })
}

resource "aws_cloudwatch_event_target" "queue" {
  for_each = var.rules

  rule           = aws_cloudwatch_event_rule.this[each.key].name
  event_bus_name = aws_cloudwatch_event_bus.this.name
  target_id      = each.value.queue
  arn            = aws_sqs_queue.this[each.value.queue].arn

  dead_letter_config {
    arn = aws_sqs_queue.dead["undelivered"].arn
  }

  retry_policy {
    maximum_event_age_in_seconds = 86400
    maximum_retry_attempts       = 185
  }
}

# Schedules put a message into a queue, as a role that can do nothing else.
resource "aws_scheduler_schedule" "this" {
  for_each = var.schedules

  name                         = "${var.name}-${each.key}"
  description                  = each.value.description
  schedule_expression          = each.value.expression
  schedule_expression_timezone = "UTC"
  kms_key_arn                  = var.kms_key_arn

  flexible_time_window {
    mode = "OFF"
  }

  target {
    arn      = aws_sqs_queue.this[each.value.queue].arn
    role_arn = aws_iam_role.scheduler[0].arn
    input    = jsonencode(each.value.message)

    dead_letter_config {
      arn = aws_sqs_queue.dead["undelivered"].arn
    }
  }
}

resource "aws_iam_role" "scheduler" {
  count = length(var.schedules) > 0 ? 1 : 0

  name        = "${var.name}-scheduler"
  description = "Lets schedules put messages into the queues of ${var.name}."
  tags        = merge(local.tags, { Purpose = "schedules" })

  permissions_boundary = var.permissions_boundary
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "scheduler.amazonaws.com" }
      Action    = "sts:AssumeRole"
      Condition = { StringEquals = { "aws:SourceAccount" = data.aws_caller_identity.current.account_id } }
    }]
  })
}

resource "aws_iam_role_policy" "scheduler" {
  count = length(var.schedules) > 0 ? 1 : 0

  name = "put-messages"
  role = aws_iam_role.scheduler[0].id

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Effect   = "Allow"
        Action   = "sqs:SendMessage"
        Resource = concat([for queue in aws_sqs_queue.this : queue.arn], [aws_sqs_queue.dead["undelivered"].arn])
      },
      {
        Effect   = "Allow"
        Action   = ["kms:Decrypt", "kms:GenerateDataKey"]
        Resource = var.kms_key_arn
      },
    ]
  })
}
