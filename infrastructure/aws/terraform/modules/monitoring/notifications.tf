# What is told without being measured: deployments, rotations, and what RDS does by itself. Failures are warnings, the rest is
# for the record.

locals {
  services = "arn:${local.partition}:ecs:${local.region}:${local.account}:service/${var.cluster_name}/"

  notifications = merge(
    {
      deployment-failed = {
        severity = "warning"
        pattern = {
          source      = ["aws.ecs"]
          detail-type = ["ECS Deployment State Change"]
          resources   = [{ prefix = local.services }]
          detail      = { eventName = ["SERVICE_DEPLOYMENT_FAILED"] }
        }
        paths   = { name = "$.detail.eventName", reason = "$.detail.reason", about = "$.resources[0]" }
        message = "A deployment has failed and is rolled back: <reason> (<about>). Runbook: tasks-not-starting."
      }
      deployment-done = {
        severity = "info"
        pattern = {
          source      = ["aws.ecs"]
          detail-type = ["ECS Deployment State Change"]
          resources   = [{ prefix = local.services }]
          detail      = { eventName = ["SERVICE_DEPLOYMENT_IN_PROGRESS", "SERVICE_DEPLOYMENT_COMPLETED"] }
        }
        paths   = { name = "$.detail.eventName", reason = "$.detail.reason", about = "$.resources[0]" }
        message = "<name>: <reason> (<about>)."
      }
      traffic-shift-failed = {
        severity = "warning"
        pattern = {
          source      = ["aws.codedeploy"]
          detail-type = ["CodeDeploy Deployment State-change Notification"]
          detail      = { state = ["FAILURE", "STOP"], application = [{ prefix = var.name }] }
        }
        paths   = { name = "$.detail.application", reason = "$.detail.state", about = "$.detail.deploymentId" }
        message = "The blue/green deployment <about> of <name> has ended in <reason>: traffic is back at the old version."
      }
      database-event = {
        severity = "warning"
        pattern = {
          source = ["aws.rds"]
          detail = {
            SourceIdentifier = [{ prefix = var.database.identifier }]
            EventCategories  = ["failover", "failure", "low storage", "maintenance", "recovery"]
          }
        }
        paths   = { name = "$.detail.SourceIdentifier", reason = "$.detail.Message", about = "$.detail.EventID" }
        message = "Database <name>: <reason> (<about>)."
      }
    },
    length(var.rotated_secret_arns) == 0 ? {} : {
      rotation-failed = {
        severity = "warning"
        pattern = {
          source      = ["aws.secretsmanager"]
          detail-type = ["AWS Service Event via CloudTrail"]
          detail      = { eventName = ["RotationFailed"], additionalEventData = { SecretId = var.rotated_secret_arns } }
        }
        paths   = { name = "$.detail.eventName", reason = "$.detail.eventTime", about = "$.detail.additionalEventData.SecretId" }
        message = "A secret could not be rotated at <reason>: <about>. Runbook: key-rotation."
      }
      rotation-done = {
        severity = "info"
        pattern = {
          source      = ["aws.secretsmanager"]
          detail-type = ["AWS Service Event via CloudTrail"]
          detail      = { eventName = ["RotationSucceeded"], additionalEventData = { SecretId = var.rotated_secret_arns } }
        }
        paths   = { name = "$.detail.eventName", reason = "$.detail.eventTime", about = "$.detail.additionalEventData.SecretId" }
        message = "A secret was rotated at <reason>: <about>."
      }
    },
  )
}

resource "aws_cloudwatch_event_rule" "notification" {
  for_each = local.notifications

  name          = "${var.name}-${each.key}"
  description   = "Told to ${each.value.severity}."
  event_pattern = jsonencode(each.value.pattern)
  tags          = merge(local.tags, { Purpose = each.value.severity })
}

resource "aws_cloudwatch_event_target" "notification" {
  for_each = local.notifications

  rule      = aws_cloudwatch_event_rule.notification[each.key].name
  target_id = each.value.severity
  arn       = aws_sns_topic.this[each.value.severity].arn

  input_transformer {
    input_paths    = each.value.paths
    input_template = jsonencode("${var.name}: ${each.value.message}")
  }
}
