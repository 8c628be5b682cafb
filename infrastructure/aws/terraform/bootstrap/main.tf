# What an account has once, before its first environment: a place for Terraform's state, one for images, and the roles
# that a pipeline takes. Its own state is local at first and then moves into the bucket (README.md).

data "aws_caller_identity" "current" {}

data "aws_partition" "current" {}

locals {
  account = data.aws_caller_identity.current.account_id
  tags    = { Component = "bootstrap" }
}

# State names every resource and holds the cache's token: it is encrypted with a key of its own.
data "aws_iam_policy_document" "key" {
  #checkov:skip=CKV_AWS_109:a key's policy says * for the key itself, and the account's own policies decide who may use it
  #checkov:skip=CKV_AWS_111:a key's policy says * for the key itself, and the account's own policies decide who may use it
  #checkov:skip=CKV_AWS_356:a key's policy says * for the key itself
  statement {
    sid       = "TheAccountDecides"
    actions   = ["kms:*"]
    resources = ["*"]

    principals {
      type        = "AWS"
      identifiers = ["arn:${data.aws_partition.current.partition}:iam::${local.account}:root"]
    }
  }

  dynamic "statement" {
    for_each = length(var.pull_account_ids) > 0 ? [var.pull_account_ids] : []

    content {
      sid       = "OtherAccountsPullImages"
      actions   = ["kms:Decrypt", "kms:DescribeKey"]
      resources = ["*"]

      principals {
        type        = "AWS"
        identifiers = [for id in sort(statement.value) : "arn:${data.aws_partition.current.partition}:iam::${id}:root"]
      }
    }
  }
}

resource "aws_kms_key" "this" {
  description             = "Terraform's state and CAIO's images"
  enable_key_rotation     = true
  deletion_window_in_days = 30
  policy                  = data.aws_iam_policy_document.key.json

  tags = merge(local.tags, { Purpose = "state" })
}

resource "aws_kms_alias" "this" {
  name          = "alias/caio-bootstrap"
  target_key_id = aws_kms_key.this.key_id
}

module "registry" {
  source = "../modules/registry"

  kms_key_arn      = aws_kms_key.this.arn
  replica_regions  = var.replica_regions
  pull_account_ids = var.pull_account_ids
  tags             = local.tags
}
