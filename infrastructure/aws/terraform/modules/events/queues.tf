# Each queue with a dead-letter queue of its own, and one more for what EventBridge itself could not deliver.

locals {
  three_receives   = 3
  fourteen_days    = 14 * 24 * 3600
  dead_letter_keys = setunion(keys(var.queues), ["undelivered"])
}

resource "aws_sqs_queue" "this" {
  for_each = var.queues

  name                       = "${var.name}-${each.key}"
  visibility_timeout_seconds = coalesce(each.value.visibility_timeout_seconds, 6 * each.value.handler_timeout_seconds)
  message_retention_seconds  = 4 * 24 * 3600
  receive_wait_time_seconds  = 20
  kms_master_key_id          = var.kms_key_arn
  tags                       = merge(local.tags, { Purpose = each.key })

  redrive_policy = jsonencode({
    deadLetterTargetArn = aws_sqs_queue.dead[each.key].arn
    maxReceiveCount     = local.three_receives
  })
}

resource "aws_sqs_queue" "dead" {
  for_each = local.dead_letter_keys

  name                      = "${var.name}-${each.key}-dlq"
  message_retention_seconds = local.fourteen_days
  kms_master_key_id         = var.kms_key_arn
  tags                      = merge(local.tags, { Purpose = "dead letters of ${each.key}" })
}

resource "aws_sqs_queue_redrive_allow_policy" "dead" {
  for_each = var.queues

  queue_url = aws_sqs_queue.dead[each.key].id
  redrive_allow_policy = jsonencode({
    redrivePermission = "byQueue"
    sourceQueueArns   = [aws_sqs_queue.this[each.key].arn]
  })
}

locals {
  # Which rules put into which queue; what none of them could deliver, and what the bus could not encrypt, goes to one place.
  senders = merge(
    { for key in keys(var.queues) : key => [for name, rule in aws_cloudwatch_event_rule.this : rule.arn if var.rules[name].queue == key] },
    { undelivered = concat([for rule in aws_cloudwatch_event_rule.this : rule.arn], [aws_cloudwatch_event_bus.this.arn]) },
  )
}

# EventBridge may put what these rules carry, and nobody speaks to a queue without TLS.
resource "aws_sqs_queue_policy" "this" {
  for_each = merge(aws_sqs_queue.this, { undelivered = aws_sqs_queue.dead["undelivered"] })

  queue_url = each.value.id

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat(
      [{
        Sid       = "TlsOnly"
        Effect    = "Deny"
        Principal = "*"
        Action    = "sqs:*"
        Resource  = each.value.arn
        Condition = { Bool = { "aws:SecureTransport" = "false" } }
      }],
      [for senders in [local.senders[each.key]] : {
        Sid       = "Events"
        Effect    = "Allow"
        Principal = { Service = "events.amazonaws.com" }
        Action    = "sqs:SendMessage"
        Resource  = each.value.arn
        Condition = { ArnEquals = { "aws:SourceArn" = senders } }
      } if length(senders) > 0],
    )
  })
}
