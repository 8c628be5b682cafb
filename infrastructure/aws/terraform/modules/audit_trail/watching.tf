# GuardDuty, Security Hub and Inspector: switches, because there is one of each an account and region.

resource "aws_guardduty_detector" "this" {
  #checkov:skip=CKV2_AWS_3:there is one an account and region, so it is switched on in one environment of each account
  count = var.enable_guardduty ? 1 : 0

  enable                       = true
  finding_publishing_frequency = "FIFTEEN_MINUTES"
  tags                         = local.tags
}

resource "aws_guardduty_detector_feature" "this" {
  for_each = var.enable_guardduty ? toset(["S3_DATA_EVENTS", "RDS_LOGIN_EVENTS"]) : toset([])

  detector_id = aws_guardduty_detector.this[0].id
  name        = each.key
  status      = "ENABLED"
}

resource "aws_securityhub_account" "this" {
  count = var.enable_security_hub ? 1 : 0

  enable_default_standards = false
}

resource "aws_securityhub_standards_subscription" "foundational" {
  count = var.enable_security_hub ? 1 : 0

  standards_arn = "arn:${local.partition}:securityhub:${local.region}::standards/aws-foundational-security-best-practices/v/1.0.0"

  depends_on = [aws_securityhub_account.this]
}

resource "aws_inspector2_enabler" "this" {
  count = var.enable_inspector ? 1 : 0

  account_ids    = [local.account]
  resource_types = ["ECR", "LAMBDA"]
}

locals {
  # What GuardDuty and Inspector call high.
  patterns = {
    guardduty = jsonencode({ source = ["aws.guardduty"], detail-type = ["GuardDuty Finding"], detail = { severity = [{ numeric = [">=", 7] }] } })
    inspector = jsonencode({ source = ["aws.inspector2"], detail-type = ["Inspector2 Finding"], detail = { severity = ["HIGH", "CRITICAL"], status = ["ACTIVE"] } })
  }
  watching = { guardduty = var.enable_guardduty, inspector = var.enable_inspector }
  findings = { for key, pattern in local.patterns : key => pattern if local.watching[key] && var.notify }
}

resource "aws_cloudwatch_event_rule" "finding" {
  for_each = local.findings

  name          = "${var.name}-${each.key}"
  description   = "Findings of high severity."
  event_pattern = each.value
  tags          = local.tags
}

resource "aws_cloudwatch_event_target" "finding" {
  for_each = local.findings

  rule      = aws_cloudwatch_event_rule.finding[each.key].name
  target_id = "topic"
  arn       = var.findings_topic_arn
}
