"""What is wrong with what Terraform would make, or has made: functions over resources that answer with sentences."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from tests.support.cloudwatch_metrics import metric_mistakes
from tests.support.terraform_resources import Resource, Resources

Metric = tuple[str, str, Mapping[str, str], str | None]
FOURTEEN_DAYS = 14 * 86_400


# --- alarms -----------------------------------------------------------------------------------------


def metrics_of(alarm: Resource) -> Iterator[Metric]:
    """(namespace, metric, dimensions, statistic) of an alarm, those inside its expressions included."""
    if alarm.get("metric_name"):
        statistic = alarm.get("extended_statistic") or alarm.get("statistic")
        yield str(alarm["namespace"]), str(alarm["metric_name"]), alarm.get("dimensions", {}), statistic
    for query in alarm.get("metric_query", []):
        for metric in query.get("metric") or []:
            yield metric["namespace"], metric["metric_name"], metric.get("dimensions") or {}, metric["stat"]


def alarm_mistakes(alarm: Resource, *, complete: bool = True) -> list[str]:
    """What would keep an alarm silent, or make it ring for something else than it says; see ``metric_mistakes``."""
    found = []
    metrics = list(metrics_of(alarm))
    for namespace, metric, dimensions, statistic in metrics:
        found += metric_mistakes(namespace, metric, dimensions, statistic, complete=complete)
        # Unknown until the apply is fine; empty is not.
        found += [f"{metric} has an empty {name}" for name, value in dimensions.items() if value == ""]
    said = " ".join(str(alarm.get(name, "")) for name in ("alarm_name", "alarm_description"))
    percentiles = {float(number) for number in re.findall(r"\bp(\d\d(?:\.\d+)?)\b", said.lower())}
    read = {float(each[1:]) for *_, each in metrics if each and re.fullmatch(r"p\d+(\.\d+)?", each)}
    if percentiles - read:
        found.append(f"says p{min(percentiles - read):g} and reads {[each for *_, each in metrics]}")
    if not metrics:
        found.append("looks at nothing")
    return [f"{alarm.address}: {mistake}" for mistake in found]


def unheard_topics(state: Resources) -> list[str]:
    """Topics that nobody has subscribed to."""
    subscribed = {each["topic_arn"] for each in state.of_type("aws_sns_topic_subscription")}
    return [each.address for each in state.of_type("aws_sns_topic") if each["arn"] not in subscribed]


# --- queues -----------------------------------------------------------------------------------------


def queue_mistakes(state: Resources) -> list[str]:
    """Queues without a dead-letter queue, or whose messages come back while they are still being handled."""
    queues = {each["arn"]: each for each in state.of_type("aws_sqs_queue")}
    redrives = {each["arn"]: each.document("redrive_policy") for each in queues.values() if each.get("redrive_policy")}
    by_url = {each.get("url"): arn for arn, each in queues.items()}
    for policy in state.of_type("aws_sqs_queue_redrive_policy"):
        redrives[by_url[policy["queue_url"]]] = policy.document("redrive_policy")
    dead = {redrive["deadLetterTargetArn"] for redrive in redrives.values()} | undelivered(state)
    found = []
    for arn, queue in queues.items():
        if arn in dead:
            if queue["message_retention_seconds"] < FOURTEEN_DAYS:
                found.append(f"{queue.address} forgets dead letters early")
        elif arn not in redrives:
            found.append(f"{queue.address} has no dead-letter queue")
        elif redrives[arn]["maxReceiveCount"] != 3:
            found.append(f"{queue.address} tries {redrives[arn]['maxReceiveCount']} times")
    return found + impatient_queues(state)


def undelivered(state: Resources) -> set[str]:
    """The queues that take what a rule, a bus, a schedule or a function could not deliver."""
    kinds = ("aws_cloudwatch_event_target", "aws_cloudwatch_event_bus", "aws_lambda_function")
    found = {
        each.block("dead_letter_config").get(name) for each in state.of_type(*kinds) for name in ("arn", "target_arn")
    }
    schedules = [each.block("target") for each in state.of_type("aws_scheduler_schedule")]
    found |= {config["arn"] for each in schedules for config in each.get("dead_letter_config") or []}
    return {arn for arn in found if arn}


def impatient_queues(state: Resources) -> list[str]:
    """Queues that give a message to a second receiver before the function that has it may be done."""
    queues = {each["arn"]: each for each in state.of_type("aws_sqs_queue")}
    timeouts = {each["arn"]: each["timeout"] for each in state.of_type("aws_lambda_function")}
    found = []
    for mapping in state.of_type("aws_lambda_event_source_mapping"):
        queue, timeout = queues.get(mapping["event_source_arn"]), timeouts.get(mapping["function_name"])
        if queue and timeout and queue["visibility_timeout_seconds"] < 6 * timeout:
            found.append(f"{queue.address} gives a message back before {mapping.address} is done with it")
    return found


# --- buckets ----------------------------------------------------------------------------------------

OF_EVERY_BUCKET = (
    "aws_s3_bucket_public_access_block",
    "aws_s3_bucket_server_side_encryption_configuration",
    "aws_s3_bucket_versioning",
    "aws_s3_bucket_lifecycle_configuration",
    "aws_s3_bucket_policy",
)


def incomplete_buckets(state: Resources) -> list[str]:
    """Buckets that lack what every bucket has."""
    found = []
    for kind in OF_EVERY_BUCKET:
        having = {each["bucket"] for each in state.of_type(kind)}
        found += [
            f"{each.address} has no {kind}" for each in state.of_type("aws_s3_bucket") if each["bucket"] not in having
        ]
    return found


# --- keys -------------------------------------------------------------------------------------------

LOGS_NEEDS = ("kms:Encrypt", "kms:Decrypt", "kms:GenerateDataKey", "kms:DescribeKey")


def keys_that_lock_out_logs(state: Resources) -> list[str]:
    """Keys of log groups whose policy does not let CloudWatch Logs use them, or leaves nobody to change it."""
    keys = {each["arn"]: each for each in state.of_type("aws_kms_key")}
    used = {each.get("kms_key_id") for each in state.of_type("aws_cloudwatch_log_group")} & set(keys)
    found = []
    for arn in sorted(used):
        policy = keys[arn].document("policy")["Statement"]
        logs = [each for each in policy if "logs." in str(each.get("Principal", {}).get("Service", ""))]
        allowed = [action for each in logs if each["Effect"] == "Allow" for action in _listed(each["Action"])]
        missing = [need for need in LOGS_NEEDS if not any(_covers(action, need) for action in allowed)]
        found += [f"{keys[arn].address} does not let Logs {need}" for need in missing]
        if not any(_is_owner(each) for each in policy):
            found.append(f"{keys[arn].address} can never be changed again")
    return found


def _listed(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value)


def _covers(action: str, need: str) -> bool:
    return action in {"kms:*", "*", need} or (action.endswith("*") and need.startswith(action[:-1]))


def _is_owner(statement: Mapping[str, Any]) -> bool:
    principal = str(statement.get("Principal", {}).get("AWS", "")) if statement.get("Principal") != "*" else "*"
    return statement["Effect"] == "Allow" and ":root" in principal and "kms:*" in _listed(statement["Action"])
