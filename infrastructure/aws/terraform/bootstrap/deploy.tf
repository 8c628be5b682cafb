# The pipeline's roles: GitHub's token of one environment takes the role of that environment, for an hour, without any
# key that could be copied. AWS knows GitHub's certificate authority; no thumbprint is needed.

locals {
  deployed     = var.github_repository == null ? toset([]) : var.environments
  provider_arn = one(concat(aws_iam_openid_connect_provider.github[*].arn, compact([var.github_provider_arn])))
  iam          = "arn:${data.aws_partition.current.partition}:iam::${local.account}"
}

resource "aws_iam_openid_connect_provider" "github" {
  count = var.github_repository != null && var.github_provider_arn == null ? 1 : 0

  url            = "https://token.actions.githubusercontent.com"
  client_id_list = ["sts.amazonaws.com"]

  tags = merge(local.tags, { Purpose = "pipeline" })
}

data "aws_iam_policy_document" "deploy_assume" {
  for_each = local.deployed

  statement {
    actions = ["sts:AssumeRoleWithWebIdentity"]

    principals {
      type        = "Federated"
      identifiers = [local.provider_arn]
    }

    condition {
      test     = "StringEquals"
      variable = "token.actions.githubusercontent.com:aud"
      values   = ["sts.amazonaws.com"]
    }

    # Only a job of this environment, past its approval: no branch, no pull request, no other repository.
    condition {
      test     = "StringEquals"
      variable = "token.actions.githubusercontent.com:sub"
      values   = ["repo:${var.github_repository}:environment:${each.key}"]
    }
  }
}

resource "aws_iam_role" "deploy" {
  for_each = local.deployed

  name                 = "caio-deploy-${each.key}"
  description          = "Taken by the workflows of ${var.github_repository} for ${each.key}"
  assume_role_policy   = data.aws_iam_policy_document.deploy_assume[each.key].json
  permissions_boundary = aws_iam_policy.boundary[each.key].arn
  max_session_duration = 7200

  tags = merge(local.tags, { Purpose = "pipeline" })
}

# Everything but identities: an environment is made of some forty services.
resource "aws_iam_role_policy_attachment" "deploy" {
  for_each = local.deployed

  role       = aws_iam_role.deploy[each.key].name
  policy_arn = "arn:${data.aws_partition.current.partition}:iam::aws:policy/PowerUserAccess"
}

# Identities: those of its own environment.
data "aws_iam_policy_document" "deploy" {
  for_each = local.deployed

  statement {
    sid = "RolesOfTheEnvironment"
    actions = [
      "iam:AttachRolePolicy", "iam:CreateRole", "iam:DeleteRole", "iam:DeleteRolePolicy", "iam:DetachRolePolicy", "iam:GetRole",
      "iam:GetRolePolicy", "iam:ListAttachedRolePolicies", "iam:ListInstanceProfilesForRole", "iam:ListRolePolicies", "iam:ListRoleTags",
      "iam:PutRolePermissionsBoundary", "iam:PutRolePolicy", "iam:TagRole", "iam:UntagRole", "iam:UpdateAssumeRolePolicy", "iam:UpdateRole", "iam:UpdateRoleDescription",
    ]
    resources = ["${local.iam}:role/caio-${each.key}-*"]
  }

  statement {
    sid       = "PassThemToServices"
    actions   = ["iam:PassRole"]
    resources = ["${local.iam}:role/caio-${each.key}-*"]

    condition {
      test     = "StringLike"
      variable = "iam:PassedToService"
      values   = ["*.amazonaws.com"]
    }
  }

  statement {
    sid       = "RolesThatServicesMakeForThemselves"
    actions   = ["iam:CreateServiceLinkedRole", "iam:GetRole"]
    resources = ["${local.iam}:role/aws-service-role/*"]
  }

  statement {
    sid       = "ReadPoliciesOfAws"
    actions   = ["iam:GetPolicy", "iam:GetPolicyVersion"]
    resources = ["arn:${data.aws_partition.current.partition}:iam::aws:policy/*"]
  }
}

resource "aws_iam_role_policy" "deploy" {
  for_each = local.deployed

  name   = "identities"
  role   = aws_iam_role.deploy[each.key].id
  policy = data.aws_iam_policy_document.deploy[each.key].json
}
