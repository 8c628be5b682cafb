"""What the CDK's templates promise of security, data, alarms and the container, read from the templates themselves.

Laws
----
- the_way_in_is_from_the_load_balancer_alone, and data is reached by tasks alone: in the trial as in a deployment.
- nothing_is_public_but_the_load_balancer.
- what_is_stored_is_encrypted_with_our_key: database, cache, buckets, table, queues, topics, logs, secrets, registry.
- both_ways_give_the_container_the_same: environment, secrets, commands, user, times, of infrastructure/container.yaml.
- secrets_come_by_reference.
- the_migration_runs_before_the_services_change, and alone has the master's password.
- the_number_of_tasks_is_the_autoscalers.
- a_message_is_given_up_only_into_another_queue.
- alarms_are_on_the_right_statistic and name dimensions that their metric has; somebody is told.
- both_ways_tell_the_same_outputs.
- the_password_policy_is_the_promised_one.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.cdk_synthesis import (
    FULL,
    QUICK_START,
    Template,
    containers,
    names_given,
    of_type,
    synthesised,
    template,
)
from tests.support.infra_tools import CONTAINER, LAST_SECONDS

pytestmark = pytest.mark.infra

CONTRACT: dict[str, Any] = yaml.safe_load(CONTAINER.read_text())
ROLES = {"api": "serving", "worker": "serving", "migration": "migration"}
#: What a metric of each namespace is asked for by; for the load balancer one of two.
DIMENSIONS = {
    "AWS/ApplicationELB": [{"LoadBalancer"}, {"LoadBalancer", "TargetGroup"}],
    "AWS/ECS": [{"ClusterName", "ServiceName"}],
    "AWS/RDS": [{"DBInstanceIdentifier"}],
    "AWS/ElastiCache": [{"CacheClusterId"}],
    "AWS/SQS": [{"QueueName"}],
    "CAIO": [{"Environment"}],
}
#: The metrics that are alarmed on, and the only statistic that says what the alarm says.
STATISTICS = {
    "TargetResponseTime": "p95",
    "UnHealthyHostCount": "Maximum",
    "HealthyHostCount": "Minimum",
    "CPUUtilization": "Average",
    "MemoryUtilization": "Average",
    "FreeStorageSpace": "Minimum",
    "DatabaseConnections": "Maximum",
    "DatabaseMemoryUsagePercentage": "Maximum",
    "Evictions": "Sum",
    "ApproximateNumberOfMessagesVisible": "Maximum",
    "HTTPCode_Target_5XX_Count": "Sum",
    "HTTPCode_ELB_5XX_Count": "Sum",
    "RequestCount": "Sum",
}


@pytest.fixture(scope="module")
def assembly(shared_folder: Path) -> Path:
    return synthesised(shared_folder, "production")[0]


@pytest.fixture(scope="module")
def full(assembly: Path) -> Template:
    """The resources, outputs and conditions of the three stacks, as one template."""
    merged: Template = {"Resources": {}, "Outputs": {}}
    for stack in FULL:
        one = template(assembly, stack)
        merged["Resources"] |= {f"{stack}.{name}": each for name, each in one["Resources"].items()}
        merged["Outputs"] |= one.get("Outputs", {})
    return merged


@pytest.fixture(scope="module", params=["full", "trial"])
def way(request: pytest.FixtureRequest, assembly: Path) -> Template:
    if request.param == "trial":
        return template(assembly, QUICK_START)
    full: Template = request.getfixturevalue("full")
    return full


def _open_ways(way: Template) -> set[tuple[str, int]]:
    """The ports of every rule that lets an address in (not a group), by the group's beginning."""
    found = set()
    for name, group in of_type(way, "AWS::EC2::SecurityGroup").items():
        for rule in group.get("SecurityGroupIngress", ()):
            found.add((name.split(".")[-1], rule["FromPort"]))
    return found


def test_the_way_in_is_from_the_load_balancer_alone(way: Template):
    for name, port in _open_ways(way):
        assert (name.startswith("EntrySecurityGroup") and port in (80, 443)) or name.startswith("NetworkEndpoints")
    edges = {
        (json.dumps(rule["SourceSecurityGroupId"]), json.dumps(rule["GroupId"]), rule["FromPort"], rule["ToPort"])
        for rule in of_type(way, "AWS::EC2::SecurityGroupIngress").values()
    }
    into = {(_group(target), first) for _source, target, first, last in edges if first == last}
    assert len(into) == len(edges)
    assert {port for _target, port in into} <= {8080, 5432, 6379}
    for source, target, port, _ in edges:
        assert _group(source) == ("Entry" if port == 8080 else "Tasks")
        assert _group(target) == {8080: "Tasks", 5432: "Database", 6379: "Cache"}[port]


def _group(reference: str) -> str:
    """Whose security group a reference names."""
    for part, meaning in (
        ("Entry", "Entry"),
        ("Database", "Database"),
        ("Cache", "Cache"),
        ("Compute", "Tasks"),
        ("Task", "Tasks"),
    ):
        if part in reference:
            return meaning
    return reference


def test_nothing_leaves_but_to_known_ports(way: Template):
    for group in of_type(way, "AWS::EC2::SecurityGroup").values():
        for rule in group.get("SecurityGroupEgress", ()):
            nowhere = rule["CidrIp"] == "255.255.255.255/32"
            assert nowhere or (rule["FromPort"], rule["ToPort"]) == (443, 443)


def test_nothing_is_public_but_the_load_balancer(full: Template):
    for database in of_type(full, "AWS::RDS::DBInstance").values():
        assert database["PubliclyAccessible"] is False
    for service in of_type(full, "AWS::ECS::Service").values():
        assert service["NetworkConfiguration"]["AwsvpcConfiguration"]["AssignPublicIp"] == "DISABLED"
    closed = {"BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets"}
    for bucket in of_type(full, "AWS::S3::Bucket").values():
        assert {name for name, value in bucket["PublicAccessBlockConfiguration"].items() if value is True} == closed


def test_what_is_stored_is_encrypted_with_our_key(way: Template):
    keyed = {
        "AWS::RDS::DBInstance": "KmsKeyId",
        "AWS::ElastiCache::ReplicationGroup": "KmsKeyId",
        "AWS::SQS::Queue": "KmsMasterKeyId",
        "AWS::SNS::Topic": "KmsMasterKeyId",
        "AWS::Logs::LogGroup": "KmsKeyId",
        "AWS::SecretsManager::Secret": "KmsKeyId",
        "AWS::DynamoDB::Table": "SSESpecification",
        "AWS::ECR::Repository": "EncryptionConfiguration",
        "AWS::Events::EventBus": "KmsKeyIdentifier",
        "AWS::Backup::BackupVault": "EncryptionKeyArn",
        "AWS::S3::Bucket": "BucketEncryption",
    }
    seen = set()
    for name, resource in way["Resources"].items():
        if (named := keyed.get(resource["Type"])) is not None:
            seen.add(resource["Type"])
            assert "Key" in json.dumps(resource["Properties"][named]) or "StorageLogs" in name, name
    assert seen == set(keyed) or seen == {
        "AWS::RDS::DBInstance", "AWS::SNS::Topic", "AWS::Logs::LogGroup", "AWS::SecretsManager::Secret"
    }  # fmt: skip
    [key, _tenants] = of_type(way, "AWS::KMS::Key").values()
    allowed = json.dumps(key["KeyPolicy"])
    assert "logs." in allowed, "without this no encrypted log group can be made"
    assert "kms:EncryptionContext:aws:logs:arn" in allowed


def test_every_bucket_is_like_every_other(full: Template):
    buckets = of_type(full, "AWS::S3::Bucket")
    assert len(buckets) == 4
    for name, bucket in buckets.items():
        assert bucket["VersioningConfiguration"] == {"Status": "Enabled"}, name
        [rule] = bucket["LifecycleConfiguration"]["Rules"]
        assert rule["Transitions"][0]["TransitionInDays"] == 90
        assert bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"], name
    policies = of_type(full, "AWS::S3::BucketPolicy").values()
    assert sum("aws:SecureTransport" in json.dumps(each) for each in policies) == len(buckets)
    [audit] = [each for name, each in buckets.items() if "Audit" in name]
    assert audit["ObjectLockEnabled"] is True
    assert "ExpirationInDays" not in json.dumps(audit["LifecycleConfiguration"])


def test_the_cache_is_spoken_to_by_tls_and_token_and_evicts_nothing(full: Template):
    [cache] = of_type(full, "AWS::ElastiCache::ReplicationGroup").values()
    assert cache["TransitEncryptionEnabled"] is True
    assert "resolve:secretsmanager" in json.dumps(cache["AuthToken"])
    assert cache["AutomaticFailoverEnabled"] is True
    [parameters] = of_type(full, "AWS::ElastiCache::ParameterGroup").values()
    assert parameters["Properties"] == {"maxmemory-policy": "noeviction"}


def test_retired_signing_keys_reach_what_serves_and_nothing_else(shared_folder: Path):
    key = "A" * 43 + "="
    folder, _ = synthesised(shared_folder, "retired", {"environment": "dev", "retired_signing_keys": key})
    made = containers(json.loads((folder / "CaioInfrastructureStack.template.json").read_text()))
    told = {role: {each["Name"]: each["Value"] for each in made[role].get("Environment", ())} for role in ROLES}
    assert {role: values.get("CAIO_RETIRED_SIGNING_KEYS") for role, values in told.items()} == {
        "api": key,
        "worker": key,
        "migration": None,
    }


def test_both_ways_give_the_container_the_same(full: Template):
    made = containers(full)
    assert set(made) == {*ROLES, "collector"}
    for role, group in ROLES.items():
        plain, secret = names_given(made[role])
        assert plain == {*CONTRACT["environment"]["all"], *CONTRACT["environment"].get(group, [])}
        assert secret == {*CONTRACT["secrets"]["all"], *CONTRACT["secrets"][group]}
        assert made[role]["Command"] == CONTRACT["commands"][role]
        assert made[role]["User"] == str(CONTRACT["user"])
        assert made[role]["StopTimeout"] == CONTRACT["stop_seconds"]
        if role != "migration":
            values = {each["Name"]: each["Value"] for each in made[role]["Environment"]}
            served = int(values["CAIO_DRAIN_SECONDS"]) + int(values["CAIO_GRACE_SECONDS"])
            assert served + LAST_SECONDS <= CONTRACT["stop_seconds"]
        assert made[role]["ReadonlyRootFilesystem"] is True
        assert made[role]["LinuxParameters"]["Capabilities"] == {"Drop": ["ALL"]}
    assert {each["Image"] for each in made.values() if isinstance(each["Image"], str)} == {made["collector"]["Image"]}
    assert re.search(r":v\d+\.\d+\.\d+$", made["collector"]["Image"])


def test_secrets_come_by_reference(way: Template):
    for container in containers(way).values():
        for secret in container.get("Secrets", ()):
            assert re.search("Secret", json.dumps(secret["ValueFrom"])), secret
        for plain in container.get("Environment", ()):
            assert "resolve:" not in json.dumps(plain["Value"]), plain
            assert not re.search("PASSWORD|SECRET|TOKEN", plain["Name"]), plain


def test_the_migration_runs_before_the_services_change(full: Template):
    [(name, run)] = of_type(full, "Custom::CaioMigration").items()
    local = name.split(".")[1]
    assert "MigrationTask" in json.dumps(run["Task"]), "another task definition runs it again"
    for each in full["Resources"].values():
        if each["Type"] == "AWS::ECS::Service":
            assert local in each["DependsOn"]
    admins = {name for name, each in containers(full).items() for secret in names_given(each)[1] if "ADMIN" in secret}
    assert admins == {"migration"}


def test_the_number_of_tasks_is_the_autoscalers(full: Template):
    services = of_type(full, "AWS::ECS::Service")
    [api] = [each for each in services.values() if "LoadBalancers" in each]
    assert "DesiredCount" not in api
    assert api["HealthCheckGracePeriodSeconds"] >= 60
    assert api["DeploymentConfiguration"]["DeploymentCircuitBreaker"] == {"Enable": True, "Rollback": True}
    assert api["DeploymentConfiguration"]["Alarms"]["Rollback"] is True
    assert api["DeploymentConfiguration"]["MinimumHealthyPercent"] == 100
    [target] = of_type(full, "AWS::ApplicationAutoScaling::ScalableTarget").values()
    assert (target["MinCapacity"], target["MaxCapacity"]) == (3, 10)
    wanted = {
        each["TargetTrackingScalingPolicyConfiguration"]["PredefinedMetricSpecification"]["PredefinedMetricType"]: each[
            "TargetTrackingScalingPolicyConfiguration"
        ]
        for each in of_type(full, "AWS::ApplicationAutoScaling::ScalingPolicy").values()
    }
    assert {name: each["TargetValue"] for name, each in wanted.items()} == {
        "ECSServiceAverageCPUUtilization": 70,
        "ECSServiceAverageMemoryUtilization": 80,
        "ALBRequestCountPerTarget": 1000,
    }
    assert {(each["ScaleOutCooldown"], each["ScaleInCooldown"]) for each in wanted.values()} == {(60, 300)}


def test_the_entry_is_https_and_lets_streams_finish(way: Template):
    listeners = of_type(way, "AWS::ElasticLoadBalancingV2::Listener").values()
    assert {each["Port"] for each in listeners} == {80, 443}
    [secure] = [each for each in listeners if each["Port"] == 443]
    assert (secure["Protocol"], secure["SslPolicy"]) == ("HTTPS", "ELBSecurityPolicy-TLS13-1-2-2021-06")
    [targets] = of_type(way, "AWS::ElasticLoadBalancingV2::TargetGroup").values()
    attributes = {each["Key"]: each["Value"] for each in targets["TargetGroupAttributes"]}
    assert int(attributes["deregistration_delay.timeout_seconds"]) >= CONTRACT["stop_seconds"]
    assert (targets["HealthCheckPath"], targets["Matcher"]) == ("/health/ready", {"HttpCode": "200"})
    [balancer] = of_type(way, "AWS::ElasticLoadBalancingV2::LoadBalancer").values()
    kept = {each["Key"]: each["Value"] for each in balancer["LoadBalancerAttributes"]}
    assert kept["idle_timeout.timeout_seconds"] == "300"
    assert kept["routing.http.drop_invalid_header_fields.enabled"] == "true"


def test_a_message_is_given_up_only_into_another_queue(full: Template):
    queues = of_type(full, "AWS::SQS::Queue")
    dead = {name for name in queues if re.search("Dead|Undelivered", name)}
    for name, queue in queues.items():
        if name in dead:
            assert queue["MessageRetentionPeriod"] == 14 * 86400
        else:
            assert queue["RedrivePolicy"]["maxReceiveCount"] == 3
    assert {queues[name]["VisibilityTimeout"] for name in set(queues) - dead} == {6 * 60, 6 * 900}
    for rule in of_type(full, "AWS::Events::Rule").values():
        assert all("DeadLetterConfig" in target for target in rule["Targets"])
    senders = json.dumps(list(of_type(full, "AWS::SQS::QueuePolicy").values()))
    assert senders.count("EventsOfThisBus") == len(queues) - 2, "two dead-letter queues are SQS's own to fill"


def _metrics(alarm: dict[str, Any]) -> list[dict[str, Any]]:
    """Every metric of an alarm, with its statistic."""
    if "MetricName" in alarm:
        return [alarm | {"Stat": alarm.get("ExtendedStatistic") or alarm["Statistic"]}]
    return [
        each["MetricStat"]["Metric"] | {"Stat": each["MetricStat"]["Stat"]}
        for each in alarm["Metrics"]
        if "MetricStat" in each
    ]


def test_alarms_are_on_the_right_statistic(way: Template):
    alarms = of_type(way, "AWS::CloudWatch::Alarm")
    for name, alarm in alarms.items():
        if "ApplicationAutoScaling" in json.dumps(alarm.get("Namespace", "")):
            continue
        for metric in _metrics(alarm):
            assert metric["Stat"] == STATISTICS[metric["MetricName"]], name
            assert {each["Name"] for each in metric["Dimensions"]} in DIMENSIONS[metric["Namespace"]], name
        assert alarm["AlarmDescription"]


def test_the_promised_alarms_are_there_and_somebody_is_told(full: Template):
    alarms = of_type(full, "AWS::CloudWatch::Alarm")
    thresholds = {each["AlarmName"].removeprefix("caio-production-"): each["Threshold"] for each in alarms.values()}
    assert thresholds["errors"] == 1
    assert thresholds["latency"] == 1
    assert thresholds["cpu"] == 80
    assert thresholds["memory"] == 85
    assert thresholds["db-cpu"] == 80
    assert {"db-connections", "db-storage", "unhealthy", "nobody-ready", "burn-fast", "burn-slow"} <= set(thresholds)
    assert {thresholds[name] for name in ("queue-events", "queue-jobs")} == {100}
    assert {thresholds[name] for name in ("dlq-events", "dlq-jobs", "dlq-undelivered")} == {0}
    [page] = of_type(full, "AWS::CloudWatch::CompositeAlarm").values()
    paged = json.dumps(page["AlarmRule"])
    for name, alarm in alarms.items():
        silent = "AlarmActions" not in alarm
        assert silent == (name.split(".")[1] in paged), "either it tells by itself, or the page tells for it"
    subscribers = of_type(full, "AWS::SNS::Subscription").values()
    assert [each["Endpoint"] for each in subscribers] == [{"Ref": "AlertEmail"}]
    nodes = {
        each["Value"]
        for alarm in alarms.values()
        for each in alarm.get("Dimensions", ())
        if each["Name"] == "CacheClusterId"
    }
    assert nodes == {"caio-production-cache-001", "caio-production-cache-002"}


def test_money_and_recovery_are_watched(full: Template):
    [budget] = of_type(full, "AWS::Budgets::Budget").values()
    told = {
        (each["Notification"]["NotificationType"], each["Notification"]["Threshold"])
        for each in budget["NotificationsWithSubscribers"]
    }
    assert told == {("ACTUAL", 80), ("ACTUAL", 100), ("FORECASTED", 100)}
    [plan] = of_type(full, "AWS::Backup::BackupPlan").values()
    [rule] = plan["BackupPlan"]["BackupPlanRule"]
    assert (rule["EnableContinuousBackup"], rule["Lifecycle"]["DeleteAfterDays"]) == (True, 30)
    [database] = of_type(full, "AWS::RDS::DBInstance").values()
    assert (database["BackupRetentionPeriod"], database["MultiAZ"], database["DeletionProtection"]) == (30, True, True)


def test_both_ways_tell_the_same_outputs(full: Template):
    promised = {"".join(part.capitalize() for part in name.split("_")) for name in CONTRACT["outputs"]}
    assert promised <= set(full["Outputs"])


def test_names_are_those_that_scripts_rely_on(full: Template):
    text = json.dumps(full["Resources"])
    for what in (
        "vpc",
        "cluster",
        "service",
        "alb",
        "tg",
        "db",
        "cache",
        "sessions",
        "alerts",
        "db-credentials",
        "auth-secret",
    ):
        assert f'"caio-production-{what}"' in text, what
    for what in ("artifacts", "backups", "logs", "audit"):
        assert f"caio-production-{what}-" in text, what
    assert '"/ecs/caio-production"' in text


def test_everything_that_takes_tags_has_them(full: Template):
    wanted = {"Project", "Environment", "ManagedBy", "Owner"}
    for name, properties in {**of_type(full, "AWS::RDS::DBInstance"), **of_type(full, "AWS::ECS::Service")}.items():
        assert wanted | {"Component", "Purpose"} <= {each["Key"] for each in properties["Tags"]}, name


def test_the_password_policy_is_the_promised_one(full: Template):
    [pool] = of_type(full, "AWS::Cognito::UserPool").values()
    policy = pool["Policies"]["PasswordPolicy"]
    assert policy["MinimumLength"] == 12
    assert all(policy[f"Require{each}"] for each in ("Lowercase", "Uppercase", "Numbers", "Symbols"))
    assert policy["TemporaryPasswordValidityDays"] == 3
    assert pool["MfaConfiguration"] == "ON"
    assert pool["UserPoolAddOns"] == {"AdvancedSecurityMode": "ENFORCED"}
    [client] = of_type(full, "AWS::Cognito::UserPoolClient").values()
    assert client["AllowedOAuthFlows"] == ["code"]
    assert client["GenerateSecret"] is False
