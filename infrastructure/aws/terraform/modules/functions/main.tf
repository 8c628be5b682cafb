# Functions, as many as the map has: each with a role that may write its own log and what its policy adds, a log group that
# exists before it, a share of the account's concurrency, and a place for calls that failed.

data "aws_caller_identity" "current" {}

locals {
  tags       = merge(var.tags, { Component = "functions" })
  queued     = { for key, function in var.functions : key => function if function.queue_arn != null }
  in_the_vpc = length(var.subnet_ids) > 0
}

resource "aws_lambda_function" "this" {
  #checkov:skip=CKV_AWS_272:code is pinned by digest or object version and comes from our own registry and bucket; no signer is set up
  #checkov:skip=CKV_AWS_117:a function that reaches neither the database nor the cache has no business in the VPC
  #checkov:skip=CKV_AWS_115:reserved concurrency is 10 unless -1 is asked for
  #checkov:skip=CKV_AWS_173:its variables are encrypted by kms_key_arn, which every caller gives
  for_each = var.functions

  function_name = "${var.name}-${each.key}"
  description   = each.value.description
  role          = aws_iam_role.this[each.key].arn

  package_type      = each.value.image_uri != null ? "Image" : "Zip"
  image_uri         = each.value.image_uri
  s3_bucket         = each.value.s3_bucket
  s3_key            = each.value.s3_key
  s3_object_version = each.value.s3_object_version
  handler           = each.value.image_uri != null ? null : each.value.handler
  runtime           = each.value.image_uri != null ? null : each.value.runtime
  architectures     = [each.value.architecture]

  timeout                        = each.value.timeout_seconds
  memory_size                    = each.value.memory_mb
  reserved_concurrent_executions = each.value.reserved_concurrency
  kms_key_arn                    = var.kms_key_arn
  tags                           = merge(local.tags, { Purpose = each.key })

  environment {
    variables = merge({ CAIO_ENV = var.environment }, each.value.environment)
  }

  dead_letter_config {
    target_arn = aws_sqs_queue.dead[each.key].arn
  }

  tracing_config {
    mode = "Active"
  }

  logging_config {
    log_format = "JSON"
    log_group  = aws_cloudwatch_log_group.this[each.key].name
  }

  dynamic "vpc_config" {
    for_each = local.in_the_vpc ? [var.subnet_ids] : []

    content {
      subnet_ids         = vpc_config.value
      security_group_ids = var.security_group_ids
    }
  }

  depends_on = [aws_iam_role_policy.this]
}

# Messages that fail go back to the queue one by one, and after three receives to the queue's own dead letters.
resource "aws_lambda_event_source_mapping" "this" {
  for_each = local.queued

  event_source_arn        = each.value.queue_arn
  function_name           = aws_lambda_function.this[each.key].arn
  batch_size              = each.value.batch_size
  function_response_types = ["ReportBatchItemFailures"]
  tags                    = local.tags

  # A poller that asks for more than the function's share would only be refused, and each refusal counts as a receive.
  dynamic "scaling_config" {
    for_each = each.value.reserved_concurrency == -1 ? [] : [each.value.reserved_concurrency]

    content {
      maximum_concurrency = scaling_config.value
    }
  }
}

resource "aws_cloudwatch_log_group" "this" {
  #checkov:skip=CKV_AWS_338:how long logs are kept is the environment's choice; the audit log is elsewhere and kept for years
  for_each = var.functions

  name              = "/aws/lambda/${var.name}-${each.key}"
  retention_in_days = var.log_retention_days
  kms_key_id        = var.kms_key_arn
  tags              = local.tags
}

resource "aws_sqs_queue" "dead" {
  for_each = var.functions

  name                      = "${var.name}-${each.key}-calls-dlq"
  message_retention_seconds = 14 * 24 * 3600
  kms_master_key_id         = var.kms_key_arn
  tags                      = merge(local.tags, { Purpose = "failed calls of ${each.key}" })
}
