"""What AWS's own rules say of these stacks and is meant so, finding by finding, with the reason.

The rules are cdk-nag's AwsSolutions and CloudFormation's own validation. Synthesis fails on every finding that is not
in this table. A test holds the table to the findings of a synthesis that acknowledges nothing: a line whose finding is
gone fails it, so no reason outlives what it excused.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import aws_cdk as cdk
from cdk_nag import AwsSolutionsChecks
from constructs import IConstruct

from caio_cdk.deployment import Profile


@dataclass(frozen=True)
class Finding:
    """A finding of a rule at a construct, by its path."""

    path: str
    rule: str
    reason: str


_FULL, _TRIAL = "CaioInfrastructureStack", "CaioQuickStart"
_TASKS, _TRIAL_TASK = (
    f"{_FULL}/Compute/TaskRole/DefaultPolicy/Resource",
    f"{_TRIAL}/Task/TaskRole/DefaultPolicy/Resource",
)
_EVERYTHING = "AwsSolutions-IAM5[Resource::*]"


def _each(rule: str, reason: str, *paths: str) -> Iterator[Finding]:
    return (Finding(path, rule, reason) for path in paths)


ACCEPTED: tuple[Finding, ...] = (
    *_each(
        "AwsSolutions-SMG4",
        "The login does not change beneath running tasks: a new one is written, migrated and rolled out "
        "(docs/runbooks). The master password, which can do more, is rotated by RDS.",
        f"{_FULL}/Secrets/DbCredentials/Resource",
        f"{_TRIAL}/Secrets/DbCredentials/Resource",
    ),
    *_each(
        "AwsSolutions-SMG4",
        "The master key is derived from it: replaced without re-wrapping, what tenants stored could never be opened.",
        f"{_FULL}/Secrets/AuthSecret/Resource",
        f"{_TRIAL}/Secrets/AuthSecret/Resource",
    ),
    *_each(
        "AwsSolutions-SMG4",
        "Receipts are verified with its public key: it is retired by people, who publish the old key first.",
        f"{_FULL}/Secrets/SigningSecret/Resource",
        f"{_TRIAL}/Secrets/SigningSecret/Resource",
    ),
    *_each(
        "AwsSolutions-SMG4",
        "The cache knows one token at a time: it is changed in a deployment, which gives tasks and cache the new one.",
        f"{_FULL}/Secrets/CacheAuth/Resource",
    ),
    *_each(
        "AwsSolutions-SMG4",
        "Keys of other companies' services, which only those companies can make anew.",
        f"{_FULL}/Secrets/ApiKeys/Resource",
    ),
    *_each(
        "AwsSolutions-RDS11",
        "An unusual port hides a database from nobody; its security group lets the tasks in and no one else.",
        f"{_FULL}/Database/Instance",
        f"{_TRIAL}/Database/Instance",
    ),
    *_each(
        "AwsSolutions-SQS3",
        "It is the dead-letter queue itself, of EventBridge's rules, which the check does not look at.",
        f"{_FULL}/Messaging/Undelivered/Resource",
    ),
    *_each(
        "AwsSolutions-ECS2",
        "What stands in the task definition is no secret: secrets come by reference, and infrastructure/container.yaml "
        "names which is which.",
        f"{_FULL}/Compute/MigrationTask/Resource",
        f"{_FULL}/Compute/ApiTask/Resource",
        f"{_FULL}/Compute/WorkerTask/Resource",
        f"{_TRIAL}/Task/Resource",
    ),
    *_each(
        _EVERYTHING,
        "X-Ray's and ECS Exec's actions know no resources (xray:Put…, ssmmessages:…).",
        _TASKS,
        _TRIAL_TASK,
    ),
    *_each(
        _EVERYTHING,
        "The registry's login (ecr:GetAuthorizationToken) knows no resources.",
        f"{_FULL}/Compute/ExecutionRole/DefaultPolicy/Resource",
        f"{_TRIAL}/Task/ExecutionRole/DefaultPolicy/Resource",
    ),
    *_each(
        _EVERYTHING,
        "AWS Marketplace's metering knows no resources.",
        f"{_TRIAL}/MarketplaceMetering/Resource",
    ),
    *_each(
        "AwsSolutions-IAM5[Resource::arn:<AWS::Partition>:ecr:*:*:repository/*]",
        "Which repository the image is in is the launching person's choice, and may be another account's; "
        "that account must permit it too.",
        f"{_TRIAL}/Task/ExecutionRole/DefaultPolicy/Resource",
    ),
    *_each(
        "AwsSolutions-IAM5[Resource::<StorageArtifacts08431D1F.Arn>/*]",
        "Any object of this one bucket, by name of action.",
        _TASKS,
    ),
    *_each(
        "AwsSolutions-IAM5[Resource::<StorageAudit9012A908.Arn>/*]",
        "Any checkpoint of this one bucket; to delete one or to shorten its retention is not among the actions.",
        _TASKS,
    ),
    *_each(
        "AwsSolutions-IAM5[Resource::arn:<AWS::Partition>:ecs:<AWS::Region>:<AWS::AccountId>:task/"
        "<ComputeCluster4F8E5F81>/*]",
        "A task has no name before it is started: any of this one cluster, to look at and to tag at its start.",
        f"{_FULL}/Migration/Role/DefaultPolicy/Resource",
    ),
    *(
        Finding(
            f"{_FULL}/Recovery/Role/Resource",
            f"AwsSolutions-IAM4[Policy::arn:<AWS::Partition>:iam::aws:policy/service-role/{name}]",
            "What AWS Backup needs changes with every service it learns; AWS keeps this list for it.",
        )
        for name in ("AWSBackupServiceRolePolicyForBackup", "AWSBackupServiceRolePolicyForRestores")
    ),
    *_each(
        "AwsSolutions-EC23",
        "Everybody may speak to it: it is the API's public entry. Only the load balancer is behind this group.",
        f"{_FULL}/Entry/SecurityGroup/Resource",
    ),
    *_each(
        "AwsSolutions-EC23",
        "The check cannot read a parameter: the network is named by a person, and 0.0.0.0/0 refused without HTTPS.",
        f"{_TRIAL}/Entry/SecurityGroup/Resource",
    ),
    *_each(
        "AwsSolutions-RDS3",
        "A trial's database is in one zone: twice the price for data that is to be thrown away.",
        f"{_TRIAL}/Database/Instance",
    ),
    *_each(
        "AwsSolutions-RDS10",
        "Deleting the stack must end the trial, and what it costs, without another step.",
        f"{_TRIAL}/Database/Instance",
    ),
    *_each(
        "AwsSolutions-ELB2",
        "A bucket with objects survives the deletion of its stack; who called is in CAIO's own log.",
        f"{_TRIAL}/Entry/LoadBalancer/Resource",
    ),
    *_each(
        "CloudFormation-Validate::E3047",
        "Processor and memory are two columns of one row of the mapping: no other pair can be chosen.",
        f"{_TRIAL}/Task/Resource",
    ),
)


#: Beside these where data may be lost: in staging and dev, which are sized by what they cost.
ACCEPTED_OUTSIDE_PRODUCTION: tuple[Finding, ...] = (
    Finding(f"{_FULL}/Database/Instance", "AwsSolutions-RDS3", "One zone: what is here can be made again."),
    Finding(
        f"{_FULL}/Database/Instance", "AwsSolutions-RDS10", "An environment that comes and goes is deleted on purpose."
    ),
    Finding(f"{_FULL}/Cache/Group", "AwsSolutions-AEC4", "One node: what it forgets is read again from the database."),
)


def accepted(profile: Profile) -> tuple[Finding, ...]:
    """What is accepted of a deployment of this size."""
    return ACCEPTED if profile.lasting else ACCEPTED + ACCEPTED_OUTSIDE_PRODUCTION


def check(app: cdk.App, accepted: Iterable[Finding]) -> None:
    """Let synthesis fail on findings beyond those accepted. Raises ValueError for a path that no construct has."""
    cdk.Validations.of(app).add_plugins(AwsSolutionsChecks(app))
    for finding in accepted:
        acknowledged = cdk.Acknowledgment(id=finding.rule, reason=finding.reason)
        cdk.Validations.of(_at(app, finding)).acknowledge(acknowledged)


def _at(app: cdk.App, finding: Finding) -> IConstruct:
    construct: IConstruct = app
    for part in finding.path.split("/"):
        found = construct.node.try_find_child(part)
        if found is None:
            raise ValueError(f"findings.py accepts {finding.rule} at {finding.path}, and there is no such construct.")
        construct = found
    return construct
