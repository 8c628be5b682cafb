"""Objects and sessions. Every bucket alike: closed to the public, TLS alone, encrypted, versioned, archived in time.

`audit` keeps checkpoints under Object Lock: CAIO itself says how long each is kept, and nobody can shorten it. `logs`
is encrypted with S3's own key, since the load balancer can deliver to no other.
"""

from __future__ import annotations

import aws_cdk as cdk
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from constructs import Construct

from caio_cdk.naming import Naming, describe

_DAYS = cdk.Duration.days
_TO_GLACIER = 90


class Storage(Construct):
    def __init__(self, scope: Construct, id_: str, *, naming: Naming, key: kms.IKey) -> None:
        super().__init__(scope, id_)
        self._naming, self._key = naming, key
        self.logs = self._bucket("Logs", "logs", "Who asked the load balancer and the buckets", ends=365, own_key=False)
        self.artifacts = self._bucket("Artifacts", "artifacts", "What services made", ends=730)
        self.backups = self._bucket("Backups", "backups", "Exports of the database", ends=365)
        self.audit = self._bucket("Audit", "audit", "Checkpoints of the audit logs", ends=None, locked=True)
        self._take_balancer_logs()
        self.sessions = self._table()

    def _bucket(
        self, id_: str, what: str, purpose: str, *, ends: int | None, own_key: bool = True, locked: bool = False
    ) -> s3.Bucket:
        bucket = s3.Bucket(
            self,
            id_,
            bucket_name=self._naming.unique(what),
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
            encryption=s3.BucketEncryption.KMS if own_key else s3.BucketEncryption.S3_MANAGED,
            encryption_key=self._key if own_key else None,
            bucket_key_enabled=own_key or None,
            enforce_ssl=True,
            minimum_tls_version=1.2,
            versioned=True,
            object_lock_enabled=locked or None,
            server_access_logs_bucket=self.logs if id_ != "Logs" else None,
            server_access_logs_prefix=f"s3/{what}/" if id_ != "Logs" else None,
            lifecycle_rules=[
                s3.LifecycleRule(
                    id="archive",
                    transitions=[
                        s3.Transition(
                            storage_class=s3.StorageClass.GLACIER_INSTANT_RETRIEVAL, transition_after=_DAYS(_TO_GLACIER)
                        )
                    ],
                    expiration=_DAYS(ends) if ends else None,
                    # What Object Lock still holds, S3 lets no rule take.
                    noncurrent_version_expiration=_DAYS(30) if not locked else None,
                    abort_incomplete_multipart_upload_after=_DAYS(7),
                )
            ],
            removal_policy=cdk.RemovalPolicy.RETAIN,
        )
        describe(bucket, "storage", purpose)
        return bucket

    def _take_balancer_logs(self) -> None:
        self.logs.add_to_resource_policy(
            iam.PolicyStatement(
                sid="LoadBalancerLogs",
                principals=[iam.ServicePrincipal("logdelivery.elasticloadbalancing.amazonaws.com")],
                actions=["s3:PutObject"],
                resources=[self.logs.arn_for_objects(f"alb/AWSLogs/{cdk.Aws.ACCOUNT_ID}/*")],
            )
        )

    def _table(self) -> dynamodb.Table:
        table = dynamodb.Table(
            self,
            "Sessions",
            table_name=self._naming.of("sessions"),
            partition_key=dynamodb.Attribute(name="pk", type=dynamodb.AttributeType.STRING),
            sort_key=dynamodb.Attribute(name="sk", type=dynamodb.AttributeType.STRING),
            billing_mode=dynamodb.BillingMode.PAY_PER_REQUEST,
            time_to_live_attribute="expires_at",
            point_in_time_recovery_specification=dynamodb.PointInTimeRecoverySpecification(
                point_in_time_recovery_enabled=True
            ),
            encryption=dynamodb.TableEncryption.CUSTOMER_MANAGED,
            encryption_key=self._key,
            removal_policy=cdk.RemovalPolicy.RETAIN,
        )
        describe(table, "sessions", "Sessions of people until they end")
        return table
