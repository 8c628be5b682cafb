# Two keys. `data` encrypts what the environment stores; services of AWS that write on their own behalf may use it, each
# in no other way than it must. `tenants` wraps each tenant's own key and is used by the application alone.

data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}
data "aws_region" "current" {}

locals {
  account   = data.aws_caller_identity.current.account_id
  partition = data.aws_partition.current.partition
  region    = data.aws_region.current.name

  # Without this statement nobody could ever change the key; who may use it is then said by IAM policies.
  owner_statement = {
    Sid       = "Account"
    Effect    = "Allow"
    Principal = { AWS = "arn:${local.partition}:iam::${local.account}:root" }
    Action    = "kms:*"
    Resource  = "*"
  }

  service_statements = [
    {
      Sid       = "Logs"
      Effect    = "Allow"
      Principal = { Service = "logs.${local.region}.amazonaws.com" }
      Action    = ["kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:DescribeKey"]
      Resource  = "*"
      Condition = {
        ArnLike = { "kms:EncryptionContext:aws:logs:arn" = "arn:${local.partition}:logs:${local.region}:${local.account}:log-group:*" }
      }
    },
    {
      # Alarms, budgets and backups that tell an encrypted topic.
      Sid       = "Notifications"
      Effect    = "Allow"
      Principal = { Service = ["cloudwatch.amazonaws.com", "budgets.amazonaws.com", "backup.amazonaws.com"] }
      Action    = ["kms:Decrypt", "kms:GenerateDataKey*"]
      Resource  = "*"
      Condition = { StringEquals = { "aws:SourceAccount" = local.account } }
    },
    {
      # The bus and its archive, and rules whose targets are encrypted queues and topics. EventBridge states no source
      # account when it encrypts for a target: with a condition every event would be dropped without a word.
      Sid       = "Events"
      Effect    = "Allow"
      Principal = { Service = "events.amazonaws.com" }
      Action    = ["kms:Decrypt", "kms:GenerateDataKey*", "kms:ReEncrypt*", "kms:DescribeKey"]
      Resource  = "*"
    },
    {
      Sid       = "Trail"
      Effect    = "Allow"
      Principal = { Service = "cloudtrail.amazonaws.com" }
      Action    = ["kms:GenerateDataKey*", "kms:DescribeKey"]
      Resource  = "*"
      Condition = {
        StringEquals = { "aws:SourceArn" = "arn:${local.partition}:cloudtrail:${local.region}:${local.account}:trail/${var.name}-trail" }
      }
    },
  ]
}

resource "aws_kms_key" "data" {
  description             = "${var.name}: everything at rest"
  enable_key_rotation     = true
  deletion_window_in_days = var.key_deletion_window_days
  policy                  = jsonencode({ Version = "2012-10-17", Statement = concat([local.owner_statement], local.service_statements) })
  tags                    = merge(var.tags, { Name = var.name, Component = "secrets", Purpose = "encryption at rest" })
}

resource "aws_kms_alias" "data" {
  name          = "alias/${var.name}"
  target_key_id = aws_kms_key.data.key_id
}

resource "aws_kms_key" "tenants" {
  description             = "${var.name}: wraps each tenant's key"
  enable_key_rotation     = true
  deletion_window_in_days = 30
  policy                  = jsonencode({ Version = "2012-10-17", Statement = [local.owner_statement] })
  tags                    = merge(var.tags, { Name = "${var.name}-tenants", Component = "secrets", Purpose = "tenant keys" })

  # Without this key every tenant's secrets and erasable records are noise for ever.
  lifecycle {
    prevent_destroy = true
  }
}

resource "aws_kms_alias" "tenants" {
  name          = "alias/${var.name}-tenants"
  target_key_id = aws_kms_key.tenants.key_id
}
