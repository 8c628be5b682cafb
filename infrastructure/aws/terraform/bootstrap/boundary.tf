# The boundary of each deploy role, and of every role that it makes: whatever is attached to them later, they cannot reach
# their own permissions, people's identities, another environment of the account, or another environment's state. A role
# without it would be a way around it, so none can be made.

locals {
  boundary_arns = { for environment in var.environments : environment => "${local.iam}:policy/caio-deploy-${environment}-boundary" }

  # What makes, changes or lends identities. Reading is not bounded.
  identity_changes = ["iam:Add*", "iam:Attach*", "iam:Change*", "iam:Create*", "iam:Delete*", "iam:Detach*", "iam:PassRole", "iam:Put*", "iam:Remove*", "iam:Set*", "iam:Update*", "iam:Upload*"]
}

data "aws_iam_policy_document" "boundary" {
  #checkov:skip=CKV_AWS_1:a boundary grants nothing: it is what at most is left of the attached policies
  #checkov:skip=CKV_AWS_49:a boundary grants nothing: it is what at most is left of the attached policies
  #checkov:skip=CKV_AWS_107:a boundary grants nothing: it is what at most is left of the attached policies
  #checkov:skip=CKV_AWS_108:a boundary grants nothing: it is what at most is left of the attached policies
  #checkov:skip=CKV_AWS_109:a boundary grants nothing: it is what at most is left of the attached policies
  #checkov:skip=CKV_AWS_110:a boundary grants nothing: it is what at most is left of the attached policies
  #checkov:skip=CKV_AWS_111:a boundary grants nothing: it is what at most is left of the attached policies
  #checkov:skip=CKV_AWS_356:a boundary grants nothing: it is what at most is left of the attached policies
  for_each = var.environments

  statement {
    sid       = "Ceiling"
    actions   = ["*"]
    resources = ["*"]
  }

  # Users and their keys, groups, providers, and roles of anybody else, its own among them.
  statement {
    sid           = "NoIdentitiesButItsEnvironments"
    effect        = "Deny"
    actions       = local.identity_changes
    not_resources = ["${local.iam}:role/caio-${each.key}-*", "${local.iam}:role/aws-service-role/*"]
  }

  # A role that it could make or change without this boundary could be given everything.
  statement {
    sid       = "NoRoleWithoutThisBoundary"
    effect    = "Deny"
    actions   = ["iam:AttachRolePolicy", "iam:CreateRole", "iam:PutRolePermissionsBoundary", "iam:PutRolePolicy"]
    resources = ["*"]

    condition {
      test     = "StringNotEquals"
      variable = "iam:PermissionsBoundary"
      values   = [local.boundary_arns[each.key]]
    }
  }

  statement {
    sid       = "BoundariesStay"
    effect    = "Deny"
    actions   = ["iam:DeleteRolePermissionsBoundary"]
    resources = ["*"]
  }

  # Roles of others that trust the whole account, such as those of CDK's bootstrap.
  statement {
    sid           = "NoRoleOfOthers"
    effect        = "Deny"
    actions       = ["sts:AssumeRole"]
    not_resources = ["${local.iam}:role/caio-${each.key}-*"]
  }

  statement {
    sid       = "NoOtherEnvironment"
    effect    = "Deny"
    actions   = ["*"]
    resources = ["*"]

    condition {
      test     = "StringEquals"
      variable = "aws:ResourceTag/Environment"
      values   = [for environment in ["dev", "staging", "production"] : environment if environment != each.key]
    }
  }

  statement {
    sid     = "NoOtherState"
    effect  = "Deny"
    actions = ["s3:*Object*"]
    not_resources = [
      "${aws_s3_bucket.state.arn}/caio-saas/${each.key}/*",
      "arn:${data.aws_partition.current.partition}:s3:::caio-${each.key}-*",
    ]
  }

  statement {
    sid       = "TheStatesBucketStaysAsItIs"
    effect    = "Deny"
    actions   = ["s3:DeleteBucket*", "s3:PutBucket*", "s3:PutEncryptionConfiguration", "s3:PutLifecycleConfiguration", "s3:DeleteObjectVersion"]
    resources = [aws_s3_bucket.state.arn, "${aws_s3_bucket.state.arn}/*"]
  }

  statement {
    sid       = "TheKeyStaysAsItIs"
    effect    = "Deny"
    actions   = ["kms:DisableKey", "kms:PutKeyPolicy", "kms:ScheduleKeyDeletion"]
    resources = [aws_kms_key.this.arn]
  }
}

resource "aws_iam_policy" "boundary" {
  #checkov:skip=CKV_AWS_289:a boundary grants nothing: it is what at most is left of the attached policies
  #checkov:skip=CKV_AWS_290:a boundary grants nothing: it is what at most is left of the attached policies
  for_each = var.environments

  name        = "caio-deploy-${each.key}-boundary"
  description = "What the deploy role of ${each.key}, and every role of ${each.key}, can never do"
  policy      = data.aws_iam_policy_document.boundary[each.key].json

  tags = merge(local.tags, { Purpose = "pipeline" })
}
