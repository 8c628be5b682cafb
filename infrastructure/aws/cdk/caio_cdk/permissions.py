"""What tasks may do, statement by statement: actions by name, on resources by ARN."""

from __future__ import annotations

import aws_cdk as cdk
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_events as events
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_sqs as sqs


def _allow(role: iam.IRole, sid: str, actions: list[str], resources: list[str], **conditions: dict[str, str]) -> None:
    role.add_to_principal_policy(
        iam.PolicyStatement(sid=sid, actions=actions, resources=resources, conditions=dict(conditions))
    )


def may_wrap_keys(role: iam.IRole, key: kms.IKey) -> None:
    """The key that wraps tenants' keys, for nothing but that: the purpose is part of the encryption context."""
    purpose = {"kms:EncryptionContext:caio:purpose": "tenant-key"}
    _allow(role, "WrapTenantsKeys", ["kms:Encrypt", "kms:Decrypt"], [key.key_arn], StringEquals=purpose)


def may_use_key(role: iam.IRole, key: kms.IKey) -> None:
    """What is stored encrypted, in buckets, queues and the table."""
    _allow(role, "DataAtRest", ["kms:Decrypt", "kms:GenerateDataKey"], [key.key_arn])


def may_pull_images(role: iam.IRole) -> None:
    """Images of ECR in this region, whoever's: a repository must itself permit an account that is not its own."""
    _allow(role, "EcrLogin", ["ecr:GetAuthorizationToken"], ["*"])
    _allow(
        role,
        "PullImages",
        ["ecr:BatchCheckLayerAvailability", "ecr:GetDownloadUrlForLayer", "ecr:BatchGetImage"],
        [f"arn:{cdk.Aws.PARTITION}:ecr:*:*:repository/*"],
    )


def may_keep_objects(role: iam.IRole, bucket: s3.IBucket) -> None:
    _allow(role, "KeepObjects", ["s3:GetObject", "s3:PutObject"], [bucket.arn_for_objects("*")])
    _allow(role, "FindObjects", ["s3:ListBucket"], [bucket.bucket_arn])


def may_anchor(role: iam.IRole, bucket: s3.IBucket) -> None:
    """Checkpoints under Object Lock: to add and to read them, and to see that the bucket forgets nothing."""
    objects = ["s3:PutObject", "s3:PutObjectRetention", "s3:GetObject", "s3:GetObjectVersion"]
    _allow(role, "AnchorCheckpoints", objects, [bucket.arn_for_objects("*")])
    whole = ["s3:ListBucket", "s3:ListBucketVersions", "s3:GetBucketVersioning", "s3:GetBucketObjectLockConfiguration"]
    _allow(role, "ReadAnchors", whole, [bucket.bucket_arn])


def may_keep_sessions(role: iam.IRole, table: dynamodb.ITable) -> None:
    items = ["dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem", "dynamodb:DeleteItem", "dynamodb:Query"]
    _allow(role, "KeepSessions", items, [table.table_arn])


def may_publish(role: iam.IRole, bus: events.IEventBus) -> None:
    _allow(role, "PublishEvents", ["events:PutEvents"], [bus.event_bus_arn])


def may_work_off(role: iam.IRole, queues: list[sqs.IQueue]) -> None:
    messages = ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:ChangeMessageVisibility", "sqs:GetQueueAttributes"]
    _allow(role, "WorkOffQueues", [*messages, "sqs:SendMessage"], [queue.queue_arn for queue in queues])


def may_trace(role: iam.IRole) -> None:
    """X-Ray knows no resources for these."""
    _allow(role, "SendTraces", ["xray:PutTraceSegments", "xray:PutTelemetryRecords"], ["*"])
