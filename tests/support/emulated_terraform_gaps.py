"""What Terraform's AWS provider asks for and moto 5.2.5 does not answer, added to moto's own classes.

Terraform reads back each resource after it made it. Where moto lacks the reading, the apply fails although the
resource is there; so each addition below is the smallest state that makes the reading true: what was put is what is
got. Nothing here judges what was put: that is done by the tests, on the plan and on the state.

It runs in the environment of emulators, and imports nothing of CAIO:

    .cache/infra/emulators/bin/python -m tests.support.emulated_terraform_gaps PORT
"""

from __future__ import annotations

import json
import secrets
import sys
import uuid
from collections.abc import Callable
from typing import Any

from moto.applicationautoscaling.responses import ApplicationAutoScalingResponse
from moto.backup import urls as backup_urls
from moto.backup.responses import BackupResponse
from moto.budgets.responses import BudgetsResponse
from moto.cloudwatch.responses import CloudWatchResponse
from moto.core.responses import ActionResult, EmptyResult
from moto.elasticache.responses import ElastiCacheResponse
from moto.logs.responses import LogsResponse
from moto.rds import models as rds
from moto.rds import utils as rds_utils
from moto.s3 import models as s3
from moto.securityhub.responses import SecurityHubResponse
from moto.sqs import models as sqs
from moto.synthetics import models as synthetics
from moto.synthetics import urls as synthetics_urls
from moto.synthetics.responses import SyntheticsResponse

Answer = Callable[[Any], Any]

ANY_FUNCTION = "arn:aws:lambda:us-east-1:123456789012:function:cwsyn"


def _constant(document: dict[str, Any]) -> Answer:
    """An action that always answers the same document."""
    return lambda _response: json.dumps(document)


def _answer(response: type, **actions: Answer) -> None:
    """Teach a service these actions."""
    for name, action in actions.items():
        setattr(response, name, action)


# --- services that only have to say "nothing of the kind" ------------------------------------------


def tell_that_there_are_no_tags() -> None:
    """Tags of a scalable target and of a budget; what Security Hub is asked while it is switched on."""
    _answer(ApplicationAutoScalingResponse, list_tags_for_resource=_constant({"Tags": {}}))
    _answer(BudgetsResponse, list_tags_for_resource=_constant({"ResourceTags": []}))
    _answer(
        SecurityHubResponse,
        update_security_hub_configuration=_constant({}),
        batch_disable_standards=_constant({"StandardsSubscriptions": []}),
    )


# --- RDS ----------------------------------------------------------------------------------------


def give_each_database_its_own_resource_id() -> None:
    """moto writes the same DbiResourceId into every instance, and the provider finds instances by it."""
    plain: Any = rds.DBInstance.__init__

    def own(self: Any, *arguments: Any, **named: Any) -> None:
        plain(self, *arguments, **named)
        self.dbi_resource_id = f"db-{secrets.token_hex(13).upper()}"

    rds.DBInstance.__init__ = own  # type: ignore[method-assign]


def let_windows_touch() -> None:
    """A backup window may end when the maintenance window begins; moto calls that an overlap."""

    def overlap(start: Any, end: Any, other_start: Any, other_end: Any) -> int:
        return 1 if max(start, other_start) < min(end, other_end) else -1

    rds_utils.get_overlap_between_two_date_ranges = overlap  # type: ignore[assignment]


# --- S3 and SQS ---------------------------------------------------------------------------------


def admit_the_logs_of_buckets() -> None:
    """moto cannot read a policy whose principal is everybody (`"*"`), which the ban on plain HTTP has."""
    bucket: Any = s3.FakeBucket
    bucket._log_permissions_enabled_policy = staticmethod(lambda **_: True)


def keep_the_policies_of_queues() -> None:
    """Who may use a dead-letter queue; and a policy that was put stays when another attribute is set."""
    queue: Any = sqs.Queue
    plain_set, plain_attributes = queue._set_attributes, queue.attributes.fget

    def set_attributes(self: Any, attributes: dict[str, Any], now: float | None = None) -> None:
        policy = getattr(self, "policy", None)
        plain_set(self, attributes, now)
        if "Policy" not in attributes:
            self.policy = policy

    def attributes(self: Any) -> Any:
        allowed = getattr(self, "redrive_allow_policy", None)
        return plain_attributes(self) | ({"RedriveAllowPolicy": allowed} if allowed else {})

    queue.FIFO_ATTRIBUTES = [*queue.FIFO_ATTRIBUTES, "RedriveAllowPolicy"]  # a name that may be asked for
    queue._set_attributes = set_attributes
    queue.attributes = property(attributes)


# --- Budgets ------------------------------------------------------------------------------------


def remember_who_a_budget_tells() -> None:
    """The subscribers of a budget's notifications, which the provider reads one notification at a time."""
    told: dict[tuple[str, str], list[Any]] = {}
    plain_budget, plain_notification = BudgetsResponse.create_budget, BudgetsResponse.create_notification

    def key(budget: str, notification: dict[str, Any]) -> tuple[str, str]:
        fields = ("NotificationType", "ComparisonOperator", "Threshold")
        return budget, "/".join(str(notification[field]) for field in fields)

    def create_budget(self: BudgetsResponse) -> str:
        asked = json.loads(self.body)
        for each in asked.get("NotificationsWithSubscribers", []):
            told[key(asked["Budget"]["BudgetName"], each["Notification"])] = each.get("Subscribers", [])
        return plain_budget(self)

    def create_notification(self: BudgetsResponse) -> str:
        asked = json.loads(self.body)
        told[key(asked["BudgetName"], asked["Notification"])] = asked.get("Subscribers", [])
        return plain_notification(self)

    def describe_subscribers_for_notification(self: BudgetsResponse) -> str:
        asked = json.loads(self.body)
        return json.dumps({"Subscribers": told.get(key(asked["BudgetName"], asked["Notification"]), [])})

    _answer(
        BudgetsResponse,
        create_budget=create_budget,
        create_notification=create_notification,
        describe_subscribers_for_notification=describe_subscribers_for_notification,
    )


# --- Backup -------------------------------------------------------------------------------------


def keep_backup_selections() -> None:
    """What a backup plan covers."""
    kept: dict[str, dict[str, Any]] = {}

    def put(self: BackupResponse) -> str:
        plan, name = self.path.split("/plans/")[1].split("/")[0], str(uuid.uuid4())
        kept[name] = {"BackupSelection": json.loads(self.body)["BackupSelection"], "BackupPlanId": plan}
        return json.dumps({"SelectionId": name, "BackupPlanId": plan, "CreationDate": 1.0})

    def get(self: BackupResponse) -> str:
        name = self.path.rstrip("/").rsplit("/", 1)[-1]
        return json.dumps({**kept[name], "SelectionId": name, "CreationDate": 1.0})

    def delete(self: BackupResponse) -> str:
        kept.pop(self.path.rstrip("/").rsplit("/", 1)[-1], None)
        return "{}"

    _answer(BackupResponse, create_backup_selection=put, get_backup_selection=get, delete_backup_selection=delete)


def keep_the_notifications_of_vaults() -> None:
    """Which topic hears of a vault's failures."""
    kept: dict[str, dict[str, Any]] = {}

    def name(response: BackupResponse) -> str:
        return response.path.split("/backup-vaults/")[1].split("/")[0]

    def put(self: BackupResponse) -> str:
        kept[name(self)] = json.loads(self.body)
        return "{}"

    def get(self: BackupResponse) -> str:
        return json.dumps({"BackupVaultName": name(self), **kept[name(self)]})

    backup_urls.url_paths["{0}/backup-vaults/(?P<name>[^/]+)/notification-configuration$"] = BackupResponse.dispatch
    _answer(BackupResponse, put_backup_vault_notifications=put, get_backup_vault_notifications=get)


# --- CloudWatch ---------------------------------------------------------------------------------


def keep_query_definitions() -> None:
    """Saved queries of Logs Insights."""
    kept: dict[str, dict[str, Any]] = {}

    def put(self: LogsResponse) -> str:
        asked = json.loads(self.body)
        name = asked.get("queryDefinitionId") or str(uuid.uuid4())
        kept[name] = {
            "queryDefinitionId": name,
            "name": asked["name"],
            "queryString": asked["queryString"],
            "logGroupNames": asked.get("logGroupNames", []),
            "lastModified": 1,
        }
        return json.dumps({"queryDefinitionId": name})

    def describe(_self: LogsResponse) -> str:
        return json.dumps({"queryDefinitions": list(kept.values())})

    def delete(self: LogsResponse) -> str:
        return json.dumps({"success": bool(kept.pop(json.loads(self.body)["queryDefinitionId"], None))})

    _answer(LogsResponse, put_query_definition=put, describe_query_definitions=describe, delete_query_definition=delete)


def keep_composite_alarms() -> None:
    """Alarms over alarms, beside those over metrics."""
    kept: dict[str, dict[str, Any]] = {}
    plain_describe, plain_delete = CloudWatchResponse.describe_alarms, CloudWatchResponse.delete_alarms

    def put(self: CloudWatchResponse) -> ActionResult:
        asked = self._get_params()
        name = asked["AlarmName"]
        kept[name] = {
            "AlarmName": name,
            "AlarmArn": f"arn:aws:cloudwatch:{self.region}:{self.current_account}:alarm:{name}",
            "AlarmRule": asked["AlarmRule"],
            "AlarmDescription": asked.get("AlarmDescription"),
            "AlarmActions": asked.get("AlarmActions", []),
            "OKActions": asked.get("OKActions", []),
            "InsufficientDataActions": asked.get("InsufficientDataActions", []),
            "ActionsEnabled": True,
            "StateValue": "OK",
        }
        return EmptyResult()

    def describe(self: CloudWatchResponse) -> Any:
        asked = self._get_params()
        if "CompositeAlarm" not in (asked.get("AlarmTypes") or []):
            return plain_describe(self)
        found = [kept[name] for name in asked.get("AlarmNames") or kept if name in kept]
        return ActionResult({"CompositeAlarms": found, "MetricAlarms": []})

    def delete(self: CloudWatchResponse) -> Any:
        for name in self._get_params().get("AlarmNames", []):
            kept.pop(name, None)
        return plain_delete(self)

    _answer(CloudWatchResponse, put_composite_alarm=put, describe_alarms=describe, delete_alarms=delete)


def start_canaries() -> None:
    """A canary runs once it is started."""

    def start(self: SyntheticsResponse) -> str:
        name = self.path.split("/canary/")[1].split("/")[0]
        self.synthetics_backend.get_canary(name).state = "RUNNING"
        return "{}"

    synthetics_urls.url_paths["{0}/canary/(?P<name>[^/]+)/start$"] = SyntheticsResponse.dispatch
    _answer(SyntheticsResponse, start_canary=start)


def describe_canaries_in_full() -> None:
    """moto's canary tells times as text and leaves out its engine, which the provider refuses."""
    plain = synthetics.Canary.to_dict

    def in_full(self: synthetics.Canary) -> dict[str, Any]:
        document: dict[str, Any] = plain(self)
        return document | {
            "Timeline": {"Created": 1.0, "LastModified": 1.0},
            "RunConfig": document.get("RunConfig") or {"TimeoutInSeconds": 60},
            "Code": {"Handler": document["Code"].get("Handler"), "SourceLocationArn": f"{ANY_FUNCTION}:1"},
            "EngineArn": f"{ANY_FUNCTION}-{self.name}:1",
        }

    synthetics.Canary.to_dict = in_full  # type: ignore[method-assign]


# --- ElastiCache --------------------------------------------------------------------------------


def keep_cache_parameter_groups() -> None:
    """Parameter groups with their parameters."""
    groups: dict[str, dict[str, Any]] = {}
    parameters: dict[str, dict[str, str]] = {}
    plain_tags = ElastiCacheResponse.list_tags_for_resource

    def create(self: ElastiCacheResponse) -> ActionResult:
        asked = self._get_params()
        name = asked["CacheParameterGroupName"]
        parameters[name] = {}
        groups[name] = {
            "CacheParameterGroupName": name,
            "CacheParameterGroupFamily": asked["CacheParameterGroupFamily"],
            "Description": asked.get("Description", ""),
            "IsGlobal": False,
            "ARN": f"arn:aws:elasticache:{self.region}:{self.current_account}:parametergroup:{name}",
        }
        return ActionResult({"CacheParameterGroup": groups[name]})

    def describe(self: ElastiCacheResponse) -> ActionResult:
        asked = self._get_params().get("CacheParameterGroupName")
        return ActionResult({"CacheParameterGroups": [each for name, each in groups.items() if asked in {None, name}]})

    def describe_parameters(self: ElastiCacheResponse) -> ActionResult:
        put = parameters.get(self._get_params()["CacheParameterGroupName"], {})
        return ActionResult(
            {"Parameters": [{"ParameterName": each, "ParameterValue": value} for each, value in put.items()]}
        )

    def modify(self: ElastiCacheResponse) -> ActionResult:
        asked = self._get_params()
        name = asked["CacheParameterGroupName"]
        for each in asked.get("ParameterNameValues", []):
            parameters[name][each["ParameterName"]] = each["ParameterValue"]
        return ActionResult({"CacheParameterGroupName": name})

    def delete(self: ElastiCacheResponse) -> ActionResult:
        groups.pop(self._get_params()["CacheParameterGroupName"], None)
        return EmptyResult()

    def tags(self: ElastiCacheResponse) -> ActionResult:
        if ":parametergroup:" in self._get_params()["ResourceName"]:
            return ActionResult({"TagList": []})
        return plain_tags(self)

    _answer(
        ElastiCacheResponse,
        create_cache_parameter_group=create,
        describe_cache_parameter_groups=describe,
        describe_cache_parameters=describe_parameters,
        modify_cache_parameter_group=modify,
        delete_cache_parameter_group=delete,
        list_tags_for_resource=tags,
    )


def show_the_members_of_replication_groups() -> None:
    """The provider reads the engine's details from a member of the group, which moto does not keep as a cluster."""
    plain = ElastiCacheResponse.describe_cache_clusters

    def member(response: ElastiCacheResponse, group: Any, name: str) -> dict[str, Any]:
        return {
            "CacheClusterId": name,
            "ReplicationGroupId": group.replication_group_id,
            "CacheNodeType": group.cache_node_type,
            "Engine": group.engine or "redis",
            "EngineVersion": group.engine_version or "7.1.0",
            "CacheClusterStatus": "available",
            "NumCacheNodes": 1,
            "CacheSubnetGroupName": group.cache_subnet_group_name,
            "SecurityGroups": [
                {"SecurityGroupId": each, "Status": "active"} for each in group.security_group_ids or []
            ],
            "CacheParameterGroup": {
                "CacheParameterGroupName": group.cache_parameter_group_name,
                "ParameterApplyStatus": "in-sync",
            },
            "AtRestEncryptionEnabled": True,
            "TransitEncryptionEnabled": True,
            "AuthTokenEnabled": True,
            "SnapshotRetentionLimit": 0,
            "PreferredMaintenanceWindow": "sun:05:00-sun:06:00",
            "ARN": f"arn:aws:elasticache:{response.region}:{response.current_account}:cluster:{name}",
        }

    def describe(self: ElastiCacheResponse) -> ActionResult:
        name = self._get_params().get("CacheClusterId")
        backend: Any = self.elasticache_backend
        for group in backend.replication_groups.values():
            if name is not None and name in (group.member_clusters or []):
                return ActionResult({"CacheClusters": [member(self, group, name)]})
        return plain(self)

    _answer(ElastiCacheResponse, describe_cache_clusters=describe)


def fill_the_gaps() -> None:
    """Everything above."""
    tell_that_there_are_no_tags()
    give_each_database_its_own_resource_id()
    let_windows_touch()
    admit_the_logs_of_buckets()
    keep_the_policies_of_queues()
    remember_who_a_budget_tells()
    keep_backup_selections()
    keep_the_notifications_of_vaults()
    start_canaries()
    keep_query_definitions()
    keep_composite_alarms()
    describe_canaries_in_full()
    keep_cache_parameter_groups()
    show_the_members_of_replication_groups()


if __name__ == "__main__":
    from moto.server import main

    fill_the_gaps()
    main(["-H", "127.0.0.1", "-p", sys.argv[1]])
