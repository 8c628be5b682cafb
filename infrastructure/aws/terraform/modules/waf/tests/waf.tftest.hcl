mock_provider "aws" {
  mock_resource "aws_wafv2_web_acl" {
    defaults = { arn = "arn:aws:wafv2:us-east-1:123456789012:regional/webacl/caio-dev/00000000-0000-0000-0000-000000000000" }
  }
  mock_resource "aws_cloudwatch_log_group" {
    defaults = { arn = "arn:aws:logs:us-east-1:123456789012:log-group:aws-waf-logs-caio-dev" }
  }
}

variables {
  name        = "caio-dev"
  environment = "dev"
}

run "addresses_paths_and_headers_are_judged" {
  command = plan

  assert {
    condition     = length([for rule in aws_wafv2_web_acl.this.rule : rule if length(flatten(rule.override_action[*].none)) == 1]) == 4
    error_message = "Four managed rule groups block."
  }
  assert {
    condition     = one([for rule in aws_wafv2_web_acl.this.rule : rule.statement[0].rate_based_statement[0].limit if rule.name == "rate"]) == 20000
    error_message = "One address may send so much and no more."
  }
}

run "prompts_are_not_judged" {
  command = plan

  assert {
    condition = alltrue(flatten([for rule in aws_wafv2_web_acl.this.rule : [
      for override in flatten([for group in rule.statement[0].managed_rule_group_statement : group.rule_action_override]) : endswith(override.name, "_BODY") && length(override.action_to_use[0].count) == 1
    ]]))
    error_message = "Only rules that read bodies are counted instead of obeyed."
  }
  assert {
    condition     = contains(flatten([for rule in aws_wafv2_web_acl.this.rule : [for group in rule.statement[0].managed_rule_group_statement : [for override in group.rule_action_override : override.name]]]), "SizeRestrictions_BODY")
    error_message = "A prompt beyond 8 KB is no attack."
  }
}

run "keys_are_not_logged" {
  command = plan

  assert {
    condition     = toset([for field in aws_wafv2_web_acl_logging_configuration.this.redacted_fields : field.single_header[0].name]) == toset(["authorization", "x-api-key", "cookie"])
    error_message = "Credentials are redacted."
  }
}

run "a_limit_below_what_waf_knows_is_refused" {
  command = plan

  variables {
    requests_per_five_minutes = 10
  }
  expect_failures = [var.requests_per_five_minutes]
}
