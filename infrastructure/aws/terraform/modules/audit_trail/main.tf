# Who did what to the account. The trail goes to the logs bucket, which the module storage lets it write, and to a log group to
# search in. The three services beside it watch a whole account: switch them on in one environment of each account.

data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}
data "aws_region" "current" {}

locals {
  account   = data.aws_caller_identity.current.account_id
  partition = data.aws_partition.current.partition
  region    = data.aws_region.current.name
  tags      = merge(var.tags, { Component = "audit_trail", Purpose = "who did what" })
}

resource "aws_cloudtrail" "this" {
  #checkov:skip=CKV_AWS_252:the trail is searched in its log group; a message for each of its files would tell nobody anything
  count = var.enable_cloudtrail ? 1 : 0

  # The bucket's policy and the key's name the trail by this name.
  name           = "${var.name}-trail"
  s3_bucket_name = var.logs_bucket
  s3_key_prefix  = "cloudtrail"
  kms_key_id     = var.kms_key_arn
  tags           = local.tags

  is_multi_region_trail         = true
  include_global_service_events = true
  enable_log_file_validation    = true

  cloud_watch_logs_group_arn = "${aws_cloudwatch_log_group.this[0].arn}:*"
  cloud_watch_logs_role_arn  = aws_iam_role.this[0].arn

  advanced_event_selector {
    name = "What is done to the account"

    field_selector {
      field  = "eventCategory"
      equals = ["Management"]
    }
  }

  dynamic "advanced_event_selector" {
    for_each = length(var.data_event_bucket_arns) > 0 ? [var.data_event_bucket_arns] : []

    content {
      name = "Who touches these buckets' objects"

      field_selector {
        field  = "eventCategory"
        equals = ["Data"]
      }

      field_selector {
        field  = "resources.type"
        equals = ["AWS::S3::Object"]
      }

      field_selector {
        field       = "resources.ARN"
        starts_with = [for arn in advanced_event_selector.value : "${arn}/"]
      }
    }
  }

  depends_on = [aws_iam_role_policy.this]
}

resource "aws_cloudwatch_log_group" "this" {
  #checkov:skip=CKV_AWS_338:the bucket keeps the trail; the log group is for searching
  count = var.enable_cloudtrail ? 1 : 0

  name              = "/aws/cloudtrail/${var.name}"
  retention_in_days = var.log_retention_days
  kms_key_id        = var.kms_key_arn
  tags              = local.tags
}

resource "aws_iam_role" "this" {
  count = var.enable_cloudtrail ? 1 : 0

  name        = "${var.name}-trail"
  description = "Lets CloudTrail write into its log group."
  tags        = local.tags

  permissions_boundary = var.permissions_boundary
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "cloudtrail.amazonaws.com" }
      Action    = "sts:AssumeRole"
      Condition = {
        StringEquals = { "aws:SourceArn" = "arn:${local.partition}:cloudtrail:${local.region}:${local.account}:trail/${var.name}-trail" }
      }
    }]
  })
}

resource "aws_iam_role_policy" "this" {
  count = var.enable_cloudtrail ? 1 : 0

  name = "write-log"
  role = aws_iam_role.this[0].id

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect   = "Allow"
      Action   = ["logs:CreateLogStream", "logs:PutLogEvents"]
      Resource = "${aws_cloudwatch_log_group.this[0].arn}:log-stream:*"
    }]
  })
}
