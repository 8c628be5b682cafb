# The boundary of each deploy role: whatever is attached to it later, it cannot reach its own permissions, people's
# identities, another environment of the account, or another environment's state.

locals {
  # What makes or changes identities. Reading is not bounded.
  identity_changes = ["iam:Add*", "iam:Attach*", "iam:Change*", "iam:Create*", "iam:Delete*", "iam:Detach*", "iam:Put*", "iam:Remove*", "iam:Set*", "iam:Update*", "iam:Upload*"]
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
  for_each = local.deployed

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
  for_each = local.deployed

  name        = "caio-deploy-${each.key}-boundary"
  description = "What the deploy role of ${each.key} can never do"
  policy      = data.aws_iam_policy_document.boundary[each.key].json

  tags = merge(local.tags, { Purpose = "pipeline" })
}
