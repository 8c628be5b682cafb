"""What is promised is planned: each part of the deployment, with its figures, in the environments that have it."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping

import pytest

from tests.support.emulated_terraform import Planned
from tests.support.terraform_resources import Resource, Resources

# For each part: the types of which every environment has at least so many.
EVERYWHERE: Mapping[str, Mapping[str, int]] = {
    "network": {"aws_vpc": 1, "aws_subnet": 4, "aws_internet_gateway": 1, "aws_flow_log": 1, "aws_route_table": 2},
    "entry": {"aws_lb": 1, "aws_lb_listener": 2, "aws_lb_target_group": 1, "aws_acm_certificate": 1},
    "compute": {
        "aws_ecs_cluster": 1,
        "aws_ecs_service": 2,
        "aws_ecs_task_definition": 3,
        "aws_appautoscaling_target": 1,
    },
    "database": {"aws_db_instance": 1, "aws_db_parameter_group": 1, "aws_db_subnet_group": 1},
    "cache": {"aws_elasticache_replication_group": 1, "aws_elasticache_parameter_group": 1},
    "sessions": {"aws_dynamodb_table": 1},
    "objects": {"aws_s3_bucket": 4, "aws_s3_bucket_object_lock_configuration": 1},
    "secrets": {"aws_kms_key": 2, "aws_kms_alias": 2, "aws_secretsmanager_secret": 4},
    "identity": {"aws_cognito_user_pool": 1, "aws_cognito_user_pool_client": 1, "aws_cognito_user_pool_domain": 1},
    "events": {"aws_cloudwatch_event_bus": 1, "aws_cloudwatch_event_rule": 1, "aws_sqs_queue": 2},
    "observability": {
        "aws_cloudwatch_log_group": 2,
        "aws_cloudwatch_metric_alarm": 10,
        "aws_cloudwatch_composite_alarm": 1,
        "aws_cloudwatch_dashboard": 6,
        "aws_cloudwatch_query_definition": 1,
        "aws_sns_topic": 1,
        "aws_sns_topic_subscription": 1,
    },
    "money": {"aws_budgets_budget": 1},
}
IN_PRODUCTION: Mapping[str, Mapping[str, int]] = {
    "entry": {"aws_wafv2_web_acl": 1},
    "network": {"aws_nat_gateway": 2},
    "recovery": {"aws_backup_vault": 1, "aws_backup_plan": 1, "aws_backup_selection": 1},
    "audit": {"aws_cloudtrail": 1},
    "observability": {"aws_synthetics_canary": 1},
}


@pytest.fixture(scope="module")
def resources(each_plan: Planned) -> Resources:
    return Resources.of(each_plan.plan)


@pytest.fixture(scope="module")
def production(planned: Callable[[str], Planned]) -> Resources:
    return Resources.of(planned("production").plan)


def lacking(resources: Resources, promised: Mapping[str, Mapping[str, int]]) -> list[str]:
    """The promised parts of which there is too little."""
    there = Counter(each.type for each in resources.all)
    return [
        f"{part}: {there[kind]} of {least} {kind}"
        for part, kinds in promised.items()
        for kind, least in kinds.items()
        if there[kind] < least
    ]


def test_every_part_is_planned(resources: Resources):
    assert lacking(resources, EVERYWHERE) == []


def test_production_has_what_only_production_must_have(production: Resources):
    assert lacking(production, IN_PRODUCTION) == []


def test_a_missing_part_is_noticed():
    some = Resources((Resource("q", "aws_sqs_queue", {}),), {})
    assert lacking(some, {"events": {"aws_sqs_queue": 1}}) == []
    assert lacking(some, {"events": {"aws_sqs_queue": 2}}) == ["events: 1 of 2 aws_sqs_queue"]


def test_the_network_has_the_documented_ranges(planned: Callable[[str], Planned]):
    staging = Resources.of(planned("staging").plan)
    assert staging.one("aws_vpc")["cidr_block"] == "10.0.0.0/16"
    ranges = {each["cidr_block"] for each in staging.of_type("aws_subnet")}
    assert ranges >= {"10.0.1.0/24", "10.0.2.0/24", "10.0.10.0/24", "10.0.11.0/24"}
    production = Resources.of(planned("production").plan)
    assert {each["cidr_block"] for each in production.of_type("aws_subnet")} >= ranges | {"10.0.3.0/24", "10.0.12.0/24"}


def test_targets_are_probed_for_readiness(resources: Resources):
    for group in resources.of_type("aws_lb_target_group"):
        if str(group["port"]) == "8080":
            probe = group.block("health_check")
            assert (probe["path"], probe["matcher"]) == ("/health/ready", "200")
            assert (probe["interval"], probe["timeout"]) == (30, 10)
            assert (probe["healthy_threshold"], probe["unhealthy_threshold"]) == (2, 3)


def test_the_service_scales_on_three_measures_out_faster_than_in(production: Resources):
    target = [each for each in production.of_type("aws_appautoscaling_target") if each["min_capacity"] >= 2]
    assert target
    assert {each["max_capacity"] for each in target} <= set(range(2, 41))
    aims = {}
    for each in production.of_type("aws_appautoscaling_policy"):
        if each["policy_type"] == "TargetTrackingScaling":
            tracking = each.block("target_tracking_scaling_policy_configuration")
            measures = tracking.get("predefined_metric_specification") or []
            for measure in measures:
                aims[measure["predefined_metric_type"]] = tracking["target_value"]
            assert tracking["scale_out_cooldown"] == 60, each.address
            assert tracking["scale_in_cooldown"] == 300, each.address
    assert aims["ECSServiceAverageCPUUtilization"] == 70
    assert aims["ECSServiceAverageMemoryUtilization"] == 80
    assert aims["ALBRequestCountPerTarget"] == 1_000


def test_a_failed_deployment_goes_back(resources: Resources):
    api = [each for each in resources.of_type("aws_ecs_service") if each["load_balancer"]]
    assert api
    for service in api:
        if service.block("deployment_controller").get("type", "ECS") == "ECS":
            assert service.block("deployment_circuit_breaker") == {"enable": True, "rollback": True}
            assert service.block("alarms").get("rollback") is True


def test_nights_outside_production_are_quiet(planned: Callable[[str], Planned]):
    nights = Resources.of(planned("dev").plan).of_type("aws_appautoscaling_scheduled_action")
    assert {re.sub(r"\s+", " ", each["schedule"]) for each in nights} == {"cron(0 22 * * ? *)", "cron(0 6 * * ? *)"}
    assert Resources.of(planned("production").plan).of_type("aws_appautoscaling_scheduled_action") == []


def test_passwords_are_long_and_the_client_keeps_no_secret(resources: Resources):
    pool = resources.one("aws_cognito_user_pool")
    policy = pool.block("password_policy")
    assert policy["minimum_length"] >= 12
    assert policy["temporary_password_validity_days"] == 3
    assert all(policy[f"require_{kind}"] for kind in ("lowercase", "uppercase", "numbers", "symbols"))
    assert pool["mfa_configuration"] in {"ON", "OPTIONAL"}
    client = resources.one("aws_cognito_user_pool_client")
    assert client["allowed_oauth_flows"] == ["code"]
    assert not client.get("generate_secret", False)


def test_production_insists_on_a_second_factor(production: Resources):
    assert production.one("aws_cognito_user_pool")["mfa_configuration"] == "ON"


def test_budgets_warn_before_and_after(resources: Resources):
    notified = {
        (notice["notification_type"], notice["threshold"])
        for budget in resources.of_type("aws_budgets_budget")
        for notice in budget["notification"]
    }
    assert notified >= {("ACTUAL", 80), ("ACTUAL", 100), ("FORECASTED", 100)}


def test_the_canary_looks_every_five_minutes(production: Resources):
    assert production.one("aws_synthetics_canary").block("schedule")["expression"] == "rate(5 minutes)"


def test_the_registry_keeps_ten_images(resources: Resources):
    for policy in resources.of_type("aws_ecr_lifecycle_policy"):
        kept = [rule["selection"] for rule in json.loads(policy["policy"])["rules"]]
        assert ("imageCountMoreThan", 10) in {(each["countType"], each["countNumber"]) for each in kept}


def test_everything_is_named_and_tagged_for_its_environment(each_plan: Planned):
    name = f"caio-{each_plan.environment}"
    resources = Resources.of(each_plan.plan)
    untagged = [
        each.address
        for each in resources.all
        if "tags_all" in each.values
        and not {"Project", "Environment", "ManagedBy", "Owner"} <= set(each.get("tags_all", {}))
    ]
    assert untagged == []
    assert resources.one("aws_ecs_cluster")["name"] == f"{name}-cluster"
    assert resources.one("aws_lb")["name"] == f"{name}-alb"
    groups = {each["name"] for each in resources.of_type("aws_cloudwatch_log_group") if each.get("name")}
    assert any(group == f"/ecs/{name}" or group.startswith(f"/ecs/{name}/") for group in groups)
