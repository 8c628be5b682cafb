# Who starts tasks and what they may read to do so. The API's and the worker's execution role cannot read the
# database's administrator; only the migration's can.

data "aws_iam_policy_document" "tasks_assume" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["ecs-tasks.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [data.aws_caller_identity.current.account_id]
    }
  }
}

locals {
  executions = {
    execution = {
      secrets    = var.serving_environment.secret_arns
      log_groups = [for group in setintersection(["api", "worker", "collector"], keys(local.log_groups)) : "${aws_cloudwatch_log_group.this[group].arn}:*"]
    }
    migration-execution = {
      secrets    = var.migration_environment.secret_arns
      log_groups = ["${aws_cloudwatch_log_group.this["migration"].arn}:*"]
    }
  }
}

data "aws_iam_policy_document" "execution" {
  for_each = local.executions

  statement {
    sid       = "RegistryToken"
    actions   = ["ecr:GetAuthorizationToken"]
    resources = ["*"] # the action knows no resource
  }

  statement {
    sid       = "PullTheImage"
    actions   = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
    resources = [var.repository_arn]
  }

  statement {
    sid       = "WriteLogs"
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents"]
    resources = each.value.log_groups
  }

  statement {
    sid       = "ReadItsSecrets"
    actions   = ["secretsmanager:GetSecretValue"]
    resources = each.value.secrets
  }

  statement {
    sid       = "OpenItsSecrets"
    actions   = ["kms:Decrypt"]
    resources = [var.kms_key_arn]

    condition {
      test     = "StringEquals"
      variable = "kms:ViaService"
      values   = ["secretsmanager.${data.aws_region.current.name}.amazonaws.com"]
    }
  }
}

resource "aws_iam_role" "execution" {
  for_each = local.executions

  name                 = "${var.name}-${each.key}"
  permissions_boundary = var.permissions_boundary
  assume_role_policy   = data.aws_iam_policy_document.tasks_assume.json

  tags = merge(local.tags, { Purpose = each.key })
}

resource "aws_iam_role_policy" "execution" {
  for_each = local.executions

  name   = "start-tasks"
  role   = aws_iam_role.execution[each.key].id
  policy = data.aws_iam_policy_document.execution[each.key].json
}

# The migration speaks to the database alone: its role has no permission at all.
resource "aws_iam_role" "migration" {
  name                 = "${var.name}-migration"
  permissions_boundary = var.permissions_boundary
  assume_role_policy   = data.aws_iam_policy_document.tasks_assume.json

  tags = merge(local.tags, { Purpose = "migration" })
}
