# A caller of the installation's own, every five minutes: ready, orchestrate, receipt, signature. What it runs is
# src/canary.py, zipped and put into the bucket by `make -C infrastructure/aws canary`.

data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}
data "aws_region" "current" {}

locals {
  account   = data.aws_caller_identity.current.account_id
  partition = data.aws_partition.current.partition
  region    = data.aws_region.current.name
  tags      = merge(var.tags, { Component = "canary", Purpose = "what a caller sees" })

  # Synthetics allows 21 characters, and the environment is what tells canaries apart.
  canary_name = substr(var.name, 0, 21)
  results     = "canary/${local.canary_name}"
}

resource "aws_synthetics_canary" "this" {
  name                     = local.canary_name
  runtime_version          = var.runtime_version
  handler                  = "canary.handler"
  execution_role_arn       = aws_iam_role.this.arn
  s3_bucket                = var.code_s3_bucket
  s3_key                   = var.code_s3_key
  s3_version               = var.code_s3_version
  artifact_s3_location     = "s3://${var.artifacts_bucket}/${local.results}"
  start_canary             = true
  delete_lambda            = true
  success_retention_period = var.result_retention_days
  failure_retention_period = var.result_retention_days
  tags                     = local.tags

  schedule {
    expression = var.schedule
  }

  run_config {
    timeout_in_seconds = 120
    memory_in_mb       = 960
    active_tracing     = true

    environment_variables = merge(
      { CAIO_URL = var.endpoint_url, API_KEY_SECRET = var.api_key_secret_arn, TRUSTED_KEY_IDS = join(" ", var.trusted_key_ids) },
      var.orchestrate_body == null ? {} : { ASKED = var.orchestrate_body },
    )
  }

  artifact_config {
    s3_encryption {
      encryption_mode = "SSE_KMS"
      kms_key_arn     = var.kms_key_arn
    }
  }

  depends_on = [aws_iam_role_policy.this]
}

resource "aws_iam_role" "this" {
  name        = "${var.name}-canary"
  description = "What the canary of ${var.name} may do: read its key, leave its results."
  tags        = local.tags

  permissions_boundary = var.permissions_boundary
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "lambda.amazonaws.com" }
      Action    = "sts:AssumeRole"
      Condition = { StringEquals = { "aws:SourceAccount" = local.account } }
    }]
  })
}

resource "aws_iam_role_policy" "this" {
  #checkov:skip=CKV_AWS_290:metrics and traces have no ARNs to name; the metrics' namespace is held by a condition
  #checkov:skip=CKV_AWS_355:metrics and traces have no ARNs to name; the metrics' namespace is held by a condition
  name = "run"
  role = aws_iam_role.this.id

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid      = "Code"
        Effect   = "Allow"
        Action   = ["s3:GetObject", "s3:GetObjectVersion"]
        Resource = "arn:${local.partition}:s3:::${var.code_s3_bucket}/${var.code_s3_key}"
      },
      {
        Sid      = "Results"
        Effect   = "Allow"
        Action   = "s3:PutObject"
        Resource = "arn:${local.partition}:s3:::${var.artifacts_bucket}/${local.results}/*"
      },
      {
        Sid      = "ResultsBucket"
        Effect   = "Allow"
        Action   = "s3:GetBucketLocation"
        Resource = "arn:${local.partition}:s3:::${var.artifacts_bucket}"
      },
      {
        Sid      = "ApiKey"
        Effect   = "Allow"
        Action   = "secretsmanager:GetSecretValue"
        Resource = var.api_key_secret_arn
      },
      {
        Sid      = "Key"
        Effect   = "Allow"
        Action   = ["kms:Decrypt", "kms:GenerateDataKey"]
        Resource = var.kms_key_arn
        Condition = {
          StringEquals = { "kms:ViaService" = ["s3.${local.region}.amazonaws.com", "secretsmanager.${local.region}.amazonaws.com"] }
        }
      },
      {
        Sid      = "Log"
        Effect   = "Allow"
        Action   = ["logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents"]
        Resource = "arn:${local.partition}:logs:${local.region}:${local.account}:log-group:/aws/lambda/cwsyn-${local.canary_name}-*"
      },
      {
        Sid       = "Metrics"
        Effect    = "Allow"
        Action    = "cloudwatch:PutMetricData"
        Resource  = "*"
        Condition = { StringEquals = { "cloudwatch:namespace" = "CloudWatchSynthetics" } }
      },
      {
        Sid      = "Traces"
        Effect   = "Allow"
        Action   = ["xray:PutTraceSegments", "xray:PutTelemetryRecords"]
        Resource = "*"
      },
    ]
  })
}
