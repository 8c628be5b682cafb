mock_provider "aws" {}

variables {
  name              = "caio-staging"
  environment       = "staging"
  monthly_limit_usd = 300
  notified_emails   = ["owner@example.com"]
  cost_tag          = { key = "Environment", value = "staging" }
}

run "told_in_time" {
  command = plan

  assert {
    condition     = toset([for each in aws_budgets_budget.this.notification : "${each.notification_type} ${each.threshold}"]) == toset(["ACTUAL 80", "ACTUAL 100", "FORECASTED 100"])
    error_message = "80 % and 100 % of what is spent, 100 % of what is forecast."
  }

  assert {
    condition     = alltrue([for each in aws_budgets_budget.this.notification : contains(each.subscriber_email_addresses, "owner@example.com")])
    error_message = "Each threshold tells somebody."
  }

  assert {
    condition     = one(aws_budgets_budget.this.cost_filter).values == tolist(["user:Environment$staging"])
    error_message = "Only the environment's costs count."
  }
}

run "refuses_to_tell_nobody" {
  command = plan

  variables {
    notified_emails = []
  }

  expect_failures = [var.notified_emails]
}

run "refuses_a_limit_of_nothing" {
  command = plan

  variables {
    monthly_limit_usd = 0
  }

  expect_failures = [var.monthly_limit_usd]
}
