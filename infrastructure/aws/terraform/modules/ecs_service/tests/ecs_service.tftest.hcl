mock_provider "aws" {
  override_during = plan

  mock_data "aws_region" {
    defaults = { name = "us-east-1" }
  }
  mock_data "aws_partition" {
    defaults = { partition = "aws" }
  }
  mock_data "aws_iam_policy_document" {
    defaults = { json = "{}" }
  }
  mock_resource "aws_iam_role" {
    defaults = { arn = "arn:aws:iam::123456789012:role/mock" }
  }
  mock_resource "aws_appautoscaling_policy" {
    defaults = { arn = "arn:aws:autoscaling:us-east-1:123456789012:scalingPolicy:mock" }
  }
  mock_resource "aws_cloudwatch_log_group" {
    defaults = { arn = "arn:aws:logs:us-east-1:123456789012:log-group:mock" }
  }
  mock_resource "aws_service_discovery_http_namespace" {
    defaults = { arn = "arn:aws:servicediscovery:us-east-1:123456789012:namespace/ns-0123456789abcdef" }
  }
  mock_resource "aws_ecs_task_definition" {
    defaults = { arn = "arn:aws:ecs:us-east-1:123456789012:task-definition/mock:1" }
  }
  mock_resource "aws_ecs_cluster" {
    defaults = { arn = "arn:aws:ecs:us-east-1:123456789012:cluster/caio-staging-cluster", id = "arn:aws:ecs:us-east-1:123456789012:cluster/caio-staging-cluster" }
  }
}

variables {
  name                  = "caio-staging"
  environment           = "staging"
  vpc_id                = "vpc-0123456789abcdef0"
  subnet_ids            = ["subnet-0123456789abcdef0", "subnet-0123456789abcdef1"]
  alb_security_group_id = "sg-alb"
  data_stores = {
    database = { security_group_id = "sg-db", port = 5432 }
    cache    = { security_group_id = "sg-cache", port = 6379 }
  }
  load_balancer = {
    alb_arn_suffix          = "app/caio-staging-alb/0123456789abcdef"
    target_group_arn        = "arn:aws:elasticloadbalancing:us-east-1:123456789012:targetgroup/caio-staging-tg/0123456789abcdef"
    target_group_arn_suffix = "targetgroup/caio-staging-tg/0123456789abcdef"
    target_group_names      = ["caio-staging-tg"]
    https_listener_arn      = "arn:aws:elasticloadbalancing:us-east-1:123456789012:listener/app/caio-staging-alb/0123456789abcdef/0123456789abcdef"
    test_listener           = "arn:aws:elasticloadbalancing:us-east-1:123456789012:listener/app/caio-staging-alb/0123456789abcdef/fedcba9876543210"
  }
  image          = "123456789012.dkr.ecr.us-east-1.amazonaws.com/caio:v1.0.0"
  repository_arn = "arn:aws:ecr:us-east-1:123456789012:repository/caio"
  serving_environment = {
    plain       = { CAIO_ENV = "staging" }
    secrets     = { CAIO_DB_PASSWORD = "arn:aws:secretsmanager:us-east-1:123456789012:secret:app:password::" }
    secret_arns = ["arn:aws:secretsmanager:us-east-1:123456789012:secret:app"]
  }
  migration_environment = {
    plain       = { CAIO_ENV = "staging" }
    secrets     = { CAIO_DB_ADMIN_PASSWORD = "arn:aws:secretsmanager:us-east-1:123456789012:secret:admin:password::" }
    secret_arns = ["arn:aws:secretsmanager:us-east-1:123456789012:secret:admin"]
  }
  kms_key_arn          = "arn:aws:kms:us-east-1:123456789012:key/00000000-0000-0000-0000-000000000000"
  rollback_alarm_names = ["caio-staging-5xx"]
  access = {
    tenants_key_arn      = "arn:aws:kms:us-east-1:123456789012:key/11111111-1111-1111-1111-111111111111"
    artifacts_bucket_arn = "arn:aws:s3:::caio-staging-artifacts"
    audit_bucket_arn     = "arn:aws:s3:::caio-staging-audit"
    table_arn            = "arn:aws:dynamodb:us-east-1:123456789012:table/caio-staging-sessions"
    queue_arns           = []
    bus_arn              = "arn:aws:events:us-east-1:123456789012:event-bus/caio-staging"
  }
}

run "every_container_is_restricted" {
  command = plan

  assert {
    condition = alltrue(flatten([for task in [aws_ecs_task_definition.serving["api"], aws_ecs_task_definition.serving["worker"], aws_ecs_task_definition.migration] : [
      for container in jsondecode(task.container_definitions) : container.readonlyRootFilesystem && !container.privileged && contains(container.linuxParameters.capabilities.drop, "ALL")
    ]]))
    error_message = "Read-only root, no privileges, no capabilities: every container, the collector too."
  }
  assert {
    condition = alltrue([for task in [aws_ecs_task_definition.serving["api"], aws_ecs_task_definition.serving["worker"], aws_ecs_task_definition.migration] :
      jsondecode(task.container_definitions)[0].user == "1000" && jsondecode(task.container_definitions)[0].stopTimeout == 120
    ])
    error_message = "CAIO runs as 1000 and has 120 s to stop."
  }
  assert {
    condition     = [for container in jsondecode(aws_ecs_task_definition.serving["api"].container_definitions) : container.essential] == [true, false]
    error_message = "A failing collector does not stop the API."
  }
}

run "only_the_migration_reads_the_administrator" {
  command = plan

  assert {
    condition     = toset(flatten([for statement in data.aws_iam_policy_document.execution["execution"].statement : statement.resources if contains(statement.actions, "secretsmanager:GetSecretValue")])) == toset(var.serving_environment.secret_arns)
    error_message = "The services' execution role reads exactly their secrets."
  }
  assert {
    condition     = aws_ecs_task_definition.migration.family == "caio-staging-migration" && jsondecode(aws_ecs_task_definition.migration.container_definitions)[0].command == ["db", "upgrade"]
    error_message = "The migration is a task of its own."
  }
}

run "rolling_with_a_circuit_breaker_and_alarms" {
  command = plan

  assert {
    condition     = aws_ecs_service.api[0].deployment_circuit_breaker[0].rollback && aws_ecs_service.api[0].alarms[0].rollback && aws_ecs_service.api[0].alarms[0].alarm_names == toset(["caio-staging-5xx"])
    error_message = "A deployment that fails or alarms goes back by itself."
  }
  assert {
    condition     = !aws_ecs_service.api[0].network_configuration[0].assign_public_ip && !aws_ecs_service.worker.network_configuration[0].assign_public_ip
    error_message = "No task has a public address."
  }
  assert {
    condition     = length(aws_codedeploy_app.this) == 0
    error_message = "CodeDeploy and the circuit breaker exclude each other."
  }
}

run "scaling_tracks_cpu_memory_and_requests" {
  command = plan

  assert {
    condition     = aws_appautoscaling_policy.tracked["api-requests"].target_tracking_scaling_policy_configuration[0].predefined_metric_specification[0].resource_label == "app/caio-staging-alb/0123456789abcdef/targetgroup/caio-staging-tg/0123456789abcdef"
    error_message = "The label is the load balancer's suffix and the target group's."
  }
  assert {
    condition     = alltrue([for policy in aws_appautoscaling_policy.tracked : policy.target_tracking_scaling_policy_configuration[0].scale_in_cooldown == 300 && policy.target_tracking_scaling_policy_configuration[0].scale_out_cooldown == 60])
    error_message = "Out after 60 s, in after 300 s."
  }
  assert {
    condition     = aws_cloudwatch_metric_alarm.response_time.extended_statistic == "p95"
    error_message = "p95 is a percentile, not an average."
  }
}

run "only_the_load_balancer_reaches_the_api" {
  command = plan

  assert {
    condition     = [for rule in aws_vpc_security_group_ingress_rule.api_from_alb : rule.referenced_security_group_id] == ["sg-alb"]
    error_message = "The API's group has one way in."
  }
  assert {
    condition     = alltrue([for rule in aws_vpc_security_group_egress_rule.https : rule.from_port == 443 && rule.to_port == 443]) && length(aws_vpc_security_group_egress_rule.to_store) == 4
    error_message = "Out: HTTPS, and the data stores' ports to their groups."
  }
}

run "nights_are_quiet_outside_production" {
  command = plan

  variables {
    night = { capacity = 1 }
  }
  assert {
    condition     = aws_appautoscaling_scheduled_action.night["api"].scalable_target_action[0].max_capacity == "1" && aws_appautoscaling_scheduled_action.morning["api"].scalable_target_action[0].max_capacity == "10"
    error_message = "22:00 → 1/1, 06:00 → 2/10."
  }
}

run "before_the_first_migration_nothing_runs" {
  command = plan

  variables {
    serving = false
  }
  assert {
    condition     = aws_ecs_service.api[0].desired_count == 0 && aws_appautoscaling_target.this["worker"].max_capacity == 0
    error_message = "serving = false runs no task, and the autoscaler starts none."
  }
}

run "spot_is_for_workers_beyond_the_first" {
  command = plan

  variables {
    worker_spot_percent = 70
  }
  assert {
    condition     = toset([for strategy in aws_ecs_service.worker.capacity_provider_strategy : "${strategy.capacity_provider} ${coalesce(strategy.base, 0)} ${strategy.weight}"]) == toset(["FARGATE 1 30", "FARGATE_SPOT 0 70"])
    error_message = "The first worker is never on Spot."
  }
}

run "blue_green_is_codedeploy_s_business" {
  command = plan

  variables {
    blue_green    = true
    load_balancer = merge(var.load_balancer, { target_group_names = ["caio-staging-tg", "caio-staging-tg-green"] })
  }
  assert {
    condition     = length(aws_ecs_service.api) == 0 && aws_ecs_service.api_blue_green[0].deployment_controller[0].type == "CODE_DEPLOY" && length(aws_codedeploy_deployment_group.this) == 1
    error_message = "One service, under CodeDeploy."
  }
  assert {
    condition     = !contains(keys(aws_appautoscaling_policy.tracked), "api-requests")
    error_message = "Requests per target of one group say nothing when tasks change groups."
  }
}

run "an_image_without_a_name_is_refused" {
  command = plan

  variables {
    image = "123456789012.dkr.ecr.us-east-1.amazonaws.com/caio:latest"
  }
  expect_failures = [var.image]
}

run "production_runs_a_digest" {
  command = plan

  variables {
    name        = "caio-production"
    environment = "production"
  }
  expect_failures = [var.image]
}

run "production_does_not_sleep" {
  command = plan

  variables {
    name        = "caio-production"
    environment = "production"
    image       = "123456789012.dkr.ecr.us-east-1.amazonaws.com/caio@sha256:0000000000000000000000000000000000000000000000000000000000000000"
    night       = { capacity = 1 }
  }
  expect_failures = [var.night]
}

run "a_secret_in_the_environment_is_refused" {
  command = plan

  variables {
    serving_environment = { plain = { CAIO_REDIS_PASSWORD = "no" }, secrets = {}, secret_arns = [] }
  }
  expect_failures = [var.serving_environment]
}

run "service_connect_with_codedeploy_is_refused" {
  command = plan

  variables {
    blue_green      = true
    service_connect = true
  }
  expect_failures = [var.service_connect]
}

run "a_size_that_fargate_lacks_is_refused" {
  command = plan

  variables {
    sizes = { api = { cpu = 512, memory = 8192 } }
  }
  expect_failures = [var.sizes]
}
