# What the application may do in AWS while it runs, and nothing that deletes what is kept for auditors.

data "aws_iam_policy_document" "task" {
  statement {
    sid       = "TenantsKeys"
    actions   = ["kms:Encrypt", "kms:Decrypt"]
    resources = [var.access.tenants_key_arn]

    # The application names the tenant and this purpose with every call; without them nothing is opened.
    condition {
      test     = "StringEquals"
      variable = "kms:EncryptionContext:caio:purpose"
      values   = ["tenant-key"]
    }
  }

  statement {
    sid       = "Artifacts"
    actions   = ["s3:PutObject", "s3:GetObject"]
    resources = ["${var.access.artifacts_bucket_arn}/*"]
  }

  statement {
    sid       = "ListArtifacts"
    actions   = ["s3:ListBucket"]
    resources = [var.access.artifacts_bucket_arn]
  }

  statement {
    sid       = "LookAtTheAuditBucket"
    actions   = ["s3:GetBucketObjectLockConfiguration", "s3:GetBucketVersioning", "s3:ListBucketVersions"]
    resources = [var.access.audit_bucket_arn]
  }

  statement {
    sid       = "AnchorCheckpoints"
    actions   = ["s3:PutObject", "s3:PutObjectRetention", "s3:GetObject", "s3:GetObjectVersion"]
    resources = ["${var.access.audit_bucket_arn}/*"]
  }

  statement {
    sid       = "Sessions"
    actions   = ["dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem", "dynamodb:DeleteItem", "dynamodb:Query", "dynamodb:ConditionCheckItem"]
    resources = [var.access.table_arn, "${var.access.table_arn}/index/*"]
  }

  statement {
    sid       = "Events"
    actions   = ["events:PutEvents"]
    resources = [var.access.bus_arn]
  }

  dynamic "statement" {
    for_each = length(var.access.queue_arns) > 0 ? [var.access.queue_arns] : []

    content {
      sid       = "Queues"
      actions   = ["sqs:SendMessage", "sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:ChangeMessageVisibility", "sqs:GetQueueAttributes"]
      resources = statement.value
    }
  }

  statement {
    sid       = "WhatItWritesIsEncrypted"
    actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
    resources = [var.kms_key_arn]

    condition {
      test     = "StringEquals"
      variable = "kms:ViaService"
      values   = [for service in ["s3", "sqs", "dynamodb"] : "${service}.${data.aws_region.current.name}.amazonaws.com"]
    }
  }

  dynamic "statement" {
    for_each = var.tracing ? [true] : []

    content {
      sid       = "Traces"
      actions   = ["xray:PutTraceSegments", "xray:PutTelemetryRecords"]
      resources = ["*"] # the actions know no resource
    }
  }
}

# ECS Exec: the agent in the task opens a channel to Session Manager, and the session is logged.
data "aws_iam_policy_document" "exec" {
  count = var.execute_command ? 1 : 0

  statement {
    sid       = "SessionChannels"
    actions   = ["ssmmessages:CreateControlChannel", "ssmmessages:CreateDataChannel", "ssmmessages:OpenControlChannel", "ssmmessages:OpenDataChannel"]
    resources = ["*"] # the actions know no resource
  }

  statement {
    sid       = "FindTheLogGroup"
    actions   = ["logs:DescribeLogGroups"]
    resources = ["*"] # the action knows no resource
  }

  statement {
    sid       = "LogTheSession"
    actions   = ["logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"]
    resources = ["${aws_cloudwatch_log_group.this["exec"].arn}:*"]
  }

  statement {
    sid       = "EncryptTheSession"
    actions   = ["kms:Decrypt"]
    resources = [var.kms_key_arn]
  }
}

resource "aws_iam_role" "task" {
  name                 = "${var.name}-task"
  permissions_boundary = var.permissions_boundary
  assume_role_policy   = data.aws_iam_policy_document.tasks_assume.json

  tags = merge(local.tags, { Purpose = "task" })
}

resource "aws_iam_role_policy" "task" {
  name   = "run"
  role   = aws_iam_role.task.id
  policy = data.aws_iam_policy_document.task.json
}

resource "aws_iam_role_policy" "exec" {
  count = var.execute_command ? 1 : 0

  name   = "execute-command"
  role   = aws_iam_role.task.id
  policy = data.aws_iam_policy_document.exec[0].json
}
