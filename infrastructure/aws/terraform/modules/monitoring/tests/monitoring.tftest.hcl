mock_provider "aws" {
  mock_data "aws_caller_identity" {
    defaults = { account_id = "111122223333" }
  }
  mock_data "aws_partition" {
    defaults = { partition = "aws" }
  }
  mock_data "aws_region" {
    defaults = { name = "us-east-1" }
  }
  mock_resource "aws_sns_topic" {
    override_during = plan
    defaults        = { arn = "arn:aws:sns:us-east-1:111122223333:a-topic" }
  }
  mock_resource "aws_cloudwatch_metric_alarm" {
    override_during = plan
    defaults        = { arn = "arn:aws:cloudwatch:us-east-1:111122223333:alarm:an-alarm" }
  }
  mock_resource "aws_cloudwatch_composite_alarm" {
    override_during = plan
    defaults        = { arn = "arn:aws:cloudwatch:us-east-1:111122223333:alarm:a-composite" }
  }
}

variables {
  name                    = "caio-staging"
  environment             = "staging"
  application_environment = "staging"
  kms_key_arn             = "arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
  alert_email             = "ops@example.com"
  alb_arn_suffix          = "app/caio-staging-alb/0123456789abcdef"
  target_group_arn_suffix = "targetgroup/caio-staging-tg/0123456789abcdef"
  cluster_name            = "caio-staging-cluster"
  service_names           = { api = "caio-staging-service", worker = "caio-staging-worker" }
  log_group_names         = ["/ecs/caio-staging"]
  database                = { identifier = "caio-staging-db", max_connections = 300 }
  cache_node_ids          = ["caio-staging-cache-001"]
  table_name              = "caio-staging-sessions"
  queue_names             = { events = "caio-staging-events" }
  dlq_names               = { events = "caio-staging-events-dlq" }
  canary_name             = "caio-staging"
  rotated_secret_arns     = ["arn:aws:secretsmanager:us-east-1:111122223333:secret:rds!db-1-AbCdEf"]
}

run "latency_is_a_percentile" {
  command = plan

  assert {
    condition = alltrue([
      for key in ["p95", "chat-p95"] :
      aws_cloudwatch_metric_alarm.metric[key].extended_statistic == "p95" && aws_cloudwatch_metric_alarm.metric[key].statistic == null
    ])
    error_message = "A p95 alarm must be on the p95, not on an average."
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.metric["p95"].threshold == 1 && aws_cloudwatch_metric_alarm.metric["chat-p95"].threshold == 3000
    error_message = "1 s for responses (in seconds), 3 s for a first token (in milliseconds)."
  }
}

run "dimensions_are_those_that_are_published" {
  command = plan

  assert {
    condition     = aws_cloudwatch_metric_alarm.metric["unhealthy-hosts"].dimensions == tomap({ LoadBalancer = var.alb_arn_suffix, TargetGroup = var.target_group_arn_suffix })
    error_message = "Hosts are counted by load balancer and target group."
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.metric["api-cpu"].dimensions == tomap({ ClusterName = "caio-staging-cluster", ServiceName = "caio-staging-service" })
    error_message = "A service is known by its cluster's name and its own."
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.metric["database-connections"].dimensions == tomap({ DBInstanceIdentifier = "caio-staging-db" }) && aws_cloudwatch_metric_alarm.metric["database-connections"].threshold == 240
    error_message = "80 % of the connections that the instance is set to."
  }
}

run "aurora_is_known_by_its_writer" {
  command = plan

  variables {
    database = { identifier = "caio-staging-db", max_connections = 300, engine = "aurora-postgresql" }
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.metric["database-cpu"].dimensions == tomap({ DBClusterIdentifier = "caio-staging-db", Role = "WRITER" }) && aws_cloudwatch_metric_alarm.metric["database-storage"].metric_name == "FreeLocalStorage"
    error_message = "After a failover the writer has another instance's name."
  }
}

run "silence_is_thought_through" {
  command = plan

  assert {
    condition = alltrue([
      aws_cloudwatch_metric_alarm.metric["canary"].treat_missing_data == "breaching",
      aws_cloudwatch_metric_alarm.metric["no-healthy-hosts"].treat_missing_data == "breaching",
      aws_cloudwatch_metric_alarm.metric["dead-letters-events"].treat_missing_data == "notBreaching",
      aws_cloudwatch_metric_alarm.ratio["error-rate"].treat_missing_data == "notBreaching",
    ])
    error_message = "A canary that does not run has failed; a queue that nobody uses has not."
  }
}

run "an_outage_pages_once" {
  command = plan

  assert {
    condition     = alltrue([for key, alarm in aws_cloudwatch_metric_alarm.metric : length(alarm.alarm_actions) == 0 if alarm.tags.Purpose == "critical"])
    error_message = "A critical alarm pages through the composite only."
  }

  assert {
    condition = alltrue([
      for name in ["caio-staging-error-rate", "caio-staging-unhealthy-hosts", "caio-staging-dead-letters-events", "caio-staging-canary", "caio-staging-slo-availability-fast-short"] :
      strcontains(aws_cloudwatch_composite_alarm.page.alarm_rule, "ALARM(\"${name}\")")
    ])
    error_message = "Whatever is critical must be in the composite that pages."
  }

  assert {
    condition     = alltrue([for alarm in aws_cloudwatch_metric_alarm.metric : length(alarm.alarm_actions) == 1 if alarm.tags.Purpose == "warning"])
    error_message = "A warning tells its topic."
  }
}

run "budgets_burn_by_two_windows" {
  command = plan

  assert {
    condition = { for key, alarm in aws_cloudwatch_metric_alarm.burn : key => alarm.threshold if startswith(key, "slo-availability") } == {
      slo-availability-fast-long = 14.4, slo-availability-fast-short = 14.4, slo-availability-slow-long = 6, slo-availability-slow-short = 6
    }
    error_message = "14.4 over an hour and five minutes, 6 over six hours and half an hour."
  }

  assert {
    condition = alltrue([
      for key, alarm in aws_cloudwatch_metric_alarm.burn :
      toset([for query in alarm.metric_query : one(query.metric).period if length(query.metric) > 0]) == toset([endswith(key, "fast-long") ? 3600 : endswith(key, "fast-short") ? 300 : endswith(key, "slow-long") ? 21600 : 1800])
    ])
    error_message = "Each window is as long as its name says."
  }
}

run "a_rate_needs_a_count" {
  command = plan

  assert {
    condition     = strcontains(one([for query in aws_cloudwatch_metric_alarm.ratio["error-rate"].metric_query : query.expression if query.return_data == true]), "> 10") && aws_cloudwatch_metric_alarm.ratio["error-rate"].threshold == 1
    error_message = "More than 1 % and more than ten."
  }
}

run "somebody_hears_it" {
  command = plan

  assert {
    condition     = length(aws_sns_topic_subscription.email) == length(aws_sns_topic.this) && alltrue([for each in aws_sns_topic_subscription.email : each.endpoint == "ops@example.com"])
    error_message = "Every topic needs a subscriber."
  }

  assert {
    condition     = alltrue([for topic in aws_sns_topic.this : topic.kms_master_key_id == var.kms_key_arn])
    error_message = "Topics are encrypted with the environment's key."
  }
}

run "six_dashboards_are_drawn" {
  command = plan

  assert {
    condition     = toset(keys(aws_cloudwatch_dashboard.this)) == toset(["overview", "performance", "errors", "infrastructure", "tenants", "cost"])
    error_message = "There are six dashboards."
  }

  assert {
    condition     = alltrue([for dashboard in aws_cloudwatch_dashboard.this : length(jsondecode(dashboard.dashboard_body).widgets) >= 6])
    error_message = "Each dashboard must be JSON with widgets."
  }

  assert {
    condition = length(setsubtract(["p50", "p95", "p99"], flatten([
      for widget in jsondecode(aws_cloudwatch_dashboard.this["overview"].dashboard_body).widgets : [for metric in try(widget.properties.metrics, []) : try(metric[length(metric) - 1].stat, "")]
    ]))) == 0
    error_message = "The overview draws response times by p50, p95 and p99."
  }
}

run "without_a_canary_and_a_cache" {
  command = plan

  variables {
    canary_name    = null
    cache_node_ids = []
    table_name     = null
    dlq_names      = {}
    queue_names    = {}

    rotated_secret_arns = []
  }

  assert {
    condition     = !strcontains(aws_cloudwatch_composite_alarm.page.alarm_rule, "canary") && length(jsondecode(aws_cloudwatch_dashboard.this["infrastructure"].dashboard_body).widgets) > 6
    error_message = "What there is none of has no alarm."
  }
}

run "a_deployment_that_fails_is_told" {
  command = plan

  assert {
    condition     = jsondecode(aws_cloudwatch_event_rule.notification["deployment-failed"].event_pattern).detail.eventName == ["SERVICE_DEPLOYMENT_FAILED"] && aws_cloudwatch_event_target.notification["deployment-failed"].target_id == "warning"
    error_message = "A rollback is told."
  }
}

run "refuses_an_alert_to_nobody" {
  command = plan

  variables {
    alert_email = ""
  }

  expect_failures = [var.alert_email]
}

run "refuses_a_latency_objective_that_cannot_burn" {
  command = plan

  variables {
    slo = { latency = 90 }
  }

  expect_failures = [var.slo]
}

run "an_outage_that_reaches_no_target_is_a_rate_of_failures" {
  command = plan

  assert {
    condition = alltrue([
      for alarm in concat(values(aws_cloudwatch_metric_alarm.ratio), values(aws_cloudwatch_metric_alarm.rollback), [aws_cloudwatch_metric_alarm.burn["slo-availability-fast-short"]]) :
      strcontains(one([for query in alarm.metric_query : query.expression if query.return_data == true]), "/ MAX([FILL(requests, 0), FILL(balancer, 0)])")
    ])
    error_message = "RequestCount does not count what no target was found for: the failures must be part of what they are divided by."
  }
}

run "what_sleeps_pages_nobody" {
  command = plan

  variables {
    always_serving = false
  }

  assert {
    condition     = !contains(keys(aws_cloudwatch_metric_alarm.metric), "no-healthy-hosts") && aws_cloudwatch_metric_alarm.metric["canary"].treat_missing_data == "notBreaching"
    error_message = "Silence at night, and before the first migration, is what was asked for."
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.metric["unhealthy-hosts"].treat_missing_data == "notBreaching"
    error_message = "Tasks that are there and fail still page."
  }
}

run "what_serves_always_pages_when_it_is_silent" {
  command = plan

  assert {
    condition     = aws_cloudwatch_metric_alarm.metric["no-healthy-hosts"].treat_missing_data == "breaching" && aws_cloudwatch_metric_alarm.metric["canary"].treat_missing_data == "breaching"
    error_message = "No target and no canary are no good news."
  }
}

run "the_applications_metrics_are_under_its_own_name_of_the_environment" {
  command = plan

  variables {
    environment             = "dev"
    application_environment = "development"
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.metric["audit-lag"].dimensions["Environment"] == "development" && !strcontains(aws_cloudwatch_dashboard.this["performance"].dashboard_body, "\"dev\"")
    error_message = "The dimension Environment is CAIO_ENV."
  }
}

run "refuses_a_name_that_the_application_does_not_know" {
  command = plan

  variables {
    application_environment = "dev"
  }

  expect_failures = [var.application_environment]
}

run "a_shift_to_the_other_group_pages_nobody" {
  command = plan

  variables {
    green_target_group = { arn_suffix = "targetgroup/caio-staging-tg-green/0123456789abcdef" }
  }

  assert {
    condition     = !contains(keys(aws_cloudwatch_metric_alarm.metric), "no-healthy-hosts") && length([for query in aws_cloudwatch_metric_alarm.either_group["no-healthy-hosts"].metric_query : query if length(query.metric) == 1]) == 2
    error_message = "After a blue/green deployment one of the two groups is empty."
  }

  assert {
    condition     = strcontains(aws_cloudwatch_composite_alarm.page.alarm_rule, "caio-staging-no-healthy-hosts") && contains(keys(aws_cloudwatch_metric_alarm.metric), "unhealthy-hosts-green")
    error_message = "Both groups are watched, and page."
  }

  assert {
    condition = alltrue([for title, dashboard in { "Response time" = "overview", "Healthy tasks" = "overview", "Requests a target" = "performance" } : length(distinct(flatten([
      for widget in jsondecode(aws_cloudwatch_dashboard.this[dashboard].dashboard_body).widgets : [for metric in try(widget.properties.metrics, []) : [for value in metric : value if can(regex("^targetgroup/", value))]] if try(widget.properties.title, "") == title
    ]))) == 2])
    error_message = "Dashboards draw the group that the tasks are in."
  }
}
