mock_provider "aws" {
  mock_resource "aws_sqs_queue" {
    override_during = plan
    defaults        = { arn = "arn:aws:sqs:us-east-1:111122223333:a-queue" }
  }
  mock_resource "aws_cloudwatch_event_rule" {
    override_during = plan
    defaults        = { arn = "arn:aws:events:us-east-1:111122223333:rule/a-rule" }
  }
  mock_resource "aws_cloudwatch_event_bus" {
    override_during = plan
    defaults        = { arn = "arn:aws:events:us-east-1:111122223333:event-bus/a-bus" }
  }
}

variables {
  name        = "caio-staging"
  environment = "staging"
  kms_key_arn = "arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
}

run "every_queue_has_its_dead_letters" {
  command = plan

  assert {
    condition     = alltrue([for key, queue in aws_sqs_queue.this : contains(keys(aws_sqs_queue.dead), key) && jsondecode(queue.redrive_policy).maxReceiveCount == 3])
    error_message = "After three receives a message goes to the queue's own dead-letter queue."
  }

  assert {
    condition     = alltrue([for queue in aws_sqs_queue.dead : queue.message_retention_seconds == 1209600])
    error_message = "Dead letters are kept for 14 days."
  }

  assert {
    condition     = alltrue([for queue in concat(values(aws_sqs_queue.this), values(aws_sqs_queue.dead)) : queue.kms_master_key_id == var.kms_key_arn])
    error_message = "Every queue is encrypted with the environment's key."
  }
}

run "a_message_outlasts_its_handler" {
  command = plan

  assert {
    condition     = alltrue([for key, queue in aws_sqs_queue.this : queue.visibility_timeout_seconds >= 6 * var.queues[key].handler_timeout_seconds])
    error_message = "A message must stay invisible for six times as long as its handler may take."
  }
}

run "rules_match_what_the_application_puts" {
  command = plan

  assert {
    condition     = jsondecode(aws_cloudwatch_event_rule.this["workflows"].event_pattern) == { source = ["caio"], detail-type = [{ prefix = "caio.workflow." }] }
    error_message = "The application's source is caio, and its detail type the event's type."
  }

  assert {
    condition     = alltrue([for target in aws_cloudwatch_event_target.queue : length(target.dead_letter_config) == 1])
    error_message = "What EventBridge cannot deliver must not be lost."
  }

  assert {
    condition = alltrue([
      for policy in aws_sqs_queue_policy.this : anytrue([for statement in jsondecode(policy.policy).Statement : statement.Effect == "Allow" && statement.Principal.Service == "events.amazonaws.com" if statement.Effect == "Allow"])
    ])
    error_message = "EventBridge must be let in by each queue that a rule names."
  }
}

run "schedules" {
  command = plan

  variables {
    schedules = {
      nightly = { description = "Once a night.", expression = "cron(0 3 * * ? *)", queue = "jobs", message = { job = "sweep" } }
    }
  }

  assert {
    condition     = aws_scheduler_schedule.this["nightly"].schedule_expression_timezone == "UTC" && length(aws_iam_role.scheduler) == 1
    error_message = "A schedule runs by UTC, as a role of its own."
  }
}

run "refuses_a_message_that_reappears_while_handled" {
  command = plan

  variables {
    queues = {
      events = { handler_timeout_seconds = 60 }
      jobs   = { handler_timeout_seconds = 900, visibility_timeout_seconds = 900 }
    }
  }

  expect_failures = [var.queues]
}

run "refuses_a_rule_to_nowhere" {
  command = plan

  variables {
    rules = { stray = { description = "To nowhere.", detail_types = ["caio.*"], queue = "nowhere" } }
  }

  expect_failures = [var.rules]
}
