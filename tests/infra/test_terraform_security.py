"""What Terraform makes is closed: who reaches whom, what is encrypted, what outlives a mistake."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import pytest

from tests.support.emulated_terraform import Planned
from tests.support.terraform_resources import Resource, Resources
from tests.support.terraform_verdicts import incomplete_buckets, keys_that_lock_out_logs, queue_mistakes

ANYWHERE = {"0.0.0.0/0", "::/0"}


@pytest.fixture(scope="module")
def resources(each_plan: Planned) -> Resources:
    return Resources.of(each_plan.plan)


@pytest.fixture(scope="module")
def state(planned: Callable[[str], Planned]) -> Resources:
    applied = planned("staging").state
    assert applied is not None
    return Resources.of(applied)


# --- who reaches whom ------------------------------------------------------------------------------


@dataclass(frozen=True, order=True)
class Way:
    """One opening: from where (a group's name, or a block of addresses) to which group, on which ports."""

    source: str
    target: str
    ports: str


OUR_TASKS = ("api", "worker", "migration")
NEEDED = {
    Way("the internet", "alb", "80"),
    Way("the internet", "alb", "443"),
    Way("alb", "api", "8080"),
    *(Way(task, "db", "5432") for task in ("api", "worker")),
    *(Way(task, "cache", "6379") for task in ("api", "worker")),
}
ALLOWED = NEEDED | {
    Way("alb", "api", "9889"),  # agents, where they are switched on
    Way("worker", "api", "8080"),  # Service Connect, between our own tasks
    *(Way(task, "db", "5432") for task in OUR_TASKS),
    *(Way(task, "db-proxy", "5432") for task in OUR_TASKS),
    Way("db-proxy", "db", "5432"),
    *(Way(task, "endpoints", "443") for task in OUR_TASKS),
    Way("the network", "endpoints", "443"),
}


def ways_in(state: Resources) -> set[Way]:
    """Every opening, whether written as a rule of its own or inside its group."""
    names = {each["id"]: _part(each["name"]) for each in state.of_type("aws_security_group")}
    networks = {each["cidr_block"] for each in state.of_type("aws_vpc", "aws_subnet")}

    def source(address: str | None, group: str | None) -> str:
        if group:
            return names.get(group, group)
        return "the internet" if address in ANYWHERE else "the network" if address in networks else str(address)

    found = set()
    for rule in state.of_type("aws_vpc_security_group_ingress_rule"):
        address = rule.get("cidr_ipv4") or rule.get("cidr_ipv6") or rule.get("prefix_list_id")
        origin = source(address, rule.get("referenced_security_group_id"))
        found.add(Way(origin, names[rule["security_group_id"]], _ports(rule["from_port"], rule["to_port"])))
    for group in state.of_type("aws_security_group"):
        for rule in group.get("ingress", []):
            origins = [source(address, None) for address in rule.get("cidr_blocks") or []]
            origins += [source(None, each) for each in rule.get("security_groups") or []]
            ports = _ports(rule["from_port"], rule["to_port"])
            found |= {Way(origin, names[group["id"]], ports) for origin in origins}
    return found


def _part(name: str) -> str:
    """caio-staging-alb → alb."""
    return name.split("-", 2)[-1]


def _ports(first: Any, last: Any) -> str:
    return str(first) if first == last else f"{first}-{last}"


def test_only_the_ways_that_are_needed_are_open(state: Resources):
    ways = ways_in(state)
    assert ways - ALLOWED == set()
    assert NEEDED - ways == set(), "somebody cannot reach what it needs"


def test_no_task_nor_store_has_a_public_address(resources: Resources):
    for each in resources.of_type("aws_db_instance", "aws_rds_cluster_instance"):
        assert each.get("publicly_accessible", False) is False, each.address
    for each in resources.of_type("aws_ecs_service"):
        assert each.block("network_configuration").get("assign_public_ip") in {None, False}, each.address


def test_buckets_admit_nobody_and_nothing_in_the_clear(state: Resources):
    buckets = {each["bucket"] for each in state.of_type("aws_s3_bucket")}
    blocks = {
        each["bucket"]
        for each in state.of_type("aws_s3_bucket_public_access_block")
        if all(each[name] for name in _PUBLIC)
    }
    assert buckets
    assert buckets - blocks == set()
    secure = {each["bucket"] for each in state.of_type("aws_s3_bucket_policy") if _refuses_plain_http(each)}
    assert buckets - secure == set()


_PUBLIC = ("block_public_acls", "block_public_policy", "ignore_public_acls", "restrict_public_buckets")


def _refuses_plain_http(policy: Resource) -> bool:
    denied = [each.get("Condition", {}) for each in policy.document("policy")["Statement"] if each["Effect"] == "Deny"]
    return {"aws:SecureTransport": "false"} in [condition.get("Bool") for condition in denied]


def test_listeners_speak_tls_or_redirect(resources: Resources):
    for each in resources.of_type("aws_lb_listener"):
        if each["protocol"] == "HTTPS":
            assert "TLS13-1-2" in each["ssl_policy"], each.address
        else:
            assert [action["type"] for action in each["default_action"]] == ["redirect"], each.address


# --- encryption --------------------------------------------------------------------------------------

Encrypted = Callable[[Resource], bool]
ENCRYPTED: dict[str, Encrypted] = {
    "aws_db_instance": lambda each: each["storage_encrypted"] is True,
    "aws_rds_cluster": lambda each: each["storage_encrypted"] is True,
    "aws_dynamodb_table": lambda each: bool(each.block("server_side_encryption").get("kms_key_arn")),
    "aws_elasticache_replication_group": lambda each: (
        bool(each.get("kms_key_id")) and each["transit_encryption_enabled"] is True
    ),
    "aws_sqs_queue": lambda each: bool(each.get("kms_master_key_id") or each.get("sqs_managed_sse_enabled")),
    "aws_sns_topic": lambda each: bool(each.get("kms_master_key_id")),
    "aws_cloudwatch_log_group": lambda each: bool(each.get("kms_key_id")),
    "aws_secretsmanager_secret": lambda each: bool(each.get("kms_key_id")),
    "aws_backup_vault": lambda each: bool(each.get("kms_key_arn")),
    "aws_cloudtrail": lambda each: bool(each.get("kms_key_id")),
}


def unencrypted(state: Resources) -> list[str]:
    """The stores whose contents lie in the clear; buckets by the rule that names them."""
    found = [each.address for each in state.all if each.type in ENCRYPTED and not ENCRYPTED[each.type](each)]
    covered = {each["bucket"] for each in state.of_type("aws_s3_bucket_server_side_encryption_configuration")}
    return found + [each.address for each in state.of_type("aws_s3_bucket") if each["bucket"] not in covered]


def test_every_store_is_encrypted(state: Resources):
    assert unencrypted(state) == []
    for kind in ("aws_sqs_queue", "aws_sns_topic", "aws_cloudwatch_log_group", "aws_s3_bucket"):
        assert state.of_type(kind), f"no {kind} was looked at"


@pytest.mark.parametrize("kind", ENCRYPTED)
def test_a_store_in_the_clear_is_noticed(kind):
    clear: dict[str, Any] = {
        "storage_encrypted": False,
        "kms_key_id": "key" if kind == "aws_elasticache_replication_group" else None,
        "transit_encryption_enabled": False,
        "server_side_encryption": [],
    }
    assert unencrypted(Resources((Resource("x", kind, clear),), {})) == ["x"]


def test_a_bucket_in_the_clear_is_noticed():
    buckets = [Resource(name, "aws_s3_bucket", {"bucket": name}) for name in ("a", "b")]
    rule = Resource("r", "aws_s3_bucket_server_side_encryption_configuration", {"bucket": "a"})
    assert unencrypted(Resources((*buckets, rule), {})) == ["b"]


def test_the_cache_keeps_its_counts_and_asks_for_a_token(state: Resources):
    (group,) = state.of_type("aws_elasticache_replication_group")
    assert group["auth_token"]
    (parameters,) = state.of_type("aws_elasticache_parameter_group")
    assert {"name": "maxmemory-policy", "value": "noeviction"} in parameters["parameter"]


def test_the_database_forces_tls_and_keeps_its_master_password_to_itself(resources: Resources):
    groups = resources.of_type("aws_db_parameter_group", "aws_rds_cluster_parameter_group")
    parameters = [parameter for group in groups for parameter in group["parameter"]]
    assert {"1"} == {each["value"] for each in parameters if each["name"] == "rds.force_ssl"}
    for each in resources.of_type("aws_db_instance"):
        if not each.get("replicate_source_db"):
            assert each["manage_master_user_password"] is True
            assert not each.get("password")


# --- what outlives a mistake ----------------------------------------------------------------------------


def test_production_cannot_be_deleted_by_accident(planned: Callable[[str], Planned]):
    production = Resources.of(planned("production").plan)
    for each in production.of_type("aws_db_instance", "aws_rds_cluster"):
        assert each["deletion_protection"] is True
        if not each.get("replicate_source_db"):
            assert each["skip_final_snapshot"] is False
            assert each["backup_retention_period"] == 30
            assert each.get("multi_az", True) is True
    assert production.one("aws_lb")["enable_deletion_protection"] is True
    assert production.one("aws_dynamodb_table")["deletion_protection_enabled"] is True
    assert production.one("aws_elasticache_replication_group")["automatic_failover_enabled"] is True
    zones = {each["availability_zone"] for each in production.of_type("aws_subnet")}
    assert len(production.of_type("aws_nat_gateway")) == len(zones), "one NAT gateway in each zone"


def test_every_group_of_logs_forgets_in_time(resources: Resources):
    groups = resources.of_type("aws_cloudwatch_log_group")
    assert groups
    assert [each.address for each in groups if not each.get("retention_in_days")] == []


def test_every_bucket_has_what_a_bucket_has(state: Resources):
    assert incomplete_buckets(state) == []
    locked = state.one("aws_s3_bucket_object_lock_configuration")["bucket"]
    assert locked.split("-")[2] == "audit"


def test_logs_can_use_their_keys(state: Resources):
    assert keys_that_lock_out_logs(state) == []


def test_sessions_expire_and_can_be_restored(resources: Resources):
    table = resources.one("aws_dynamodb_table")
    assert table["billing_mode"] == "PAY_PER_REQUEST"
    assert table.block("ttl")["enabled"] is True
    assert table.block("point_in_time_recovery")["enabled"] is True


# --- queues ----------------------------------------------------------------------------------------------


def test_queues_have_dead_letters_and_patience(state: Resources):
    assert queue_mistakes(state) == []
    assert len(state.of_type("aws_sqs_queue")) >= 2


def world(queue: dict[str, Any] | None = None, dead: dict[str, Any] | None = None) -> Resources:
    def redrive(receives: int) -> str:
        return json.dumps({"deadLetterTargetArn": "dead", "maxReceiveCount": receives})

    work = {"arn": "work", "visibility_timeout_seconds": 360, "redrive_policy": redrive(3)} | (queue or {})
    letters = {"arn": "dead", "message_retention_seconds": 1_209_600} | (dead or {})
    handler = {"arn": "f", "timeout": 60}
    mapping = {"event_source_arn": "work", "function_name": "f"}
    kinds: Iterable[tuple[str, dict[str, Any]]] = [
        ("aws_sqs_queue", work),
        ("aws_sqs_queue", letters),
        ("aws_lambda_function", handler),
        ("aws_lambda_event_source_mapping", mapping),
    ]
    return Resources(tuple(Resource(kind, kind, values) for kind, values in kinds), {})


WRONG_QUEUES = [
    world({"visibility_timeout_seconds": 359}),
    world({"redrive_policy": None}),
    world({"redrive_policy": json.dumps({"deadLetterTargetArn": "dead", "maxReceiveCount": 1})}),
    world(dead={"message_retention_seconds": 345_600}),
]


@pytest.mark.parametrize("wrong", WRONG_QUEUES)
def test_an_impatient_or_forgetful_queue_is_noticed(wrong):
    assert queue_mistakes(world()) == []
    assert queue_mistakes(wrong) != []


def test_an_opening_too_many_is_noticed():
    groups = [Resource(name, "aws_security_group", {"id": name, "name": f"caio-dev-{name}"}) for name in ("alb", "db")]
    rule = {"security_group_id": "db", "cidr_ipv4": "0.0.0.0/0", "from_port": 5432, "to_port": 5432}
    opened = Resources((*groups, Resource("r", "aws_vpc_security_group_ingress_rule", rule)), {})
    assert ways_in(opened) == {Way("the internet", "db", "5432")}
    inline = {"id": "db", "name": "caio-dev-db", "ingress": [
        {"from_port": 0, "to_port": 65535, "cidr_blocks": ["::/0"], "security_groups": ["alb"]}]}  # fmt: skip
    opened = Resources((groups[0], Resource("g", "aws_security_group", inline)), {})
    assert ways_in(opened) == {Way("the internet", "db", "0-65535"), Way("alb", "db", "0-65535")}
