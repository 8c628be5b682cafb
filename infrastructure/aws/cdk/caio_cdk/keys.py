"""The keys that data at rest is encrypted with, and who may use them.

Two keys, since they guard different things: `data` encrypts what AWS stores for us (database, logs, queues, secrets),
`tenants` wraps each tenant's own key (CAIO_KMS_KEY_ID): whoever deletes that one has erased the tenants' payloads.
"""

from __future__ import annotations

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from constructs import Construct

from caio_cdk.naming import Naming, describe

#: Services that encrypt with the data key on nobody's behalf: they publish to our topic and deliver to our queues.
_PUBLISHERS = ("cloudwatch.amazonaws.com", "events.amazonaws.com", "budgets.amazonaws.com", "backup.amazonaws.com")


class Keys(Construct):
    def __init__(self, scope: Construct, id_: str, *, naming: Naming, removal: cdk.RemovalPolicy) -> None:
        super().__init__(scope, id_)
        self.data = self._key("Data", naming.of("data"), "CAIO: data at rest", removal)
        self.tenants = self._key("Tenants", naming.of("tenants"), "CAIO: wraps each tenant's own key", removal)
        self._let_logs_encrypt()
        self._let_publishers_encrypt()
        describe(self, "keys", "Encrypts data at rest")

    def _key(self, id_: str, alias: str | None, description: str, removal: cdk.RemovalPolicy) -> kms.Key:
        # CloudFormation keeps a key for 30 days after it was told to delete it, and the account can cancel that.
        return kms.Key(
            self,
            id_,
            alias=f"alias/{alias}" if alias else None,
            description=description,
            enable_key_rotation=True,
            pending_window=cdk.Duration.days(30),
            removal_policy=removal,
        )

    def _let_logs_encrypt(self) -> None:
        # Without this statement no encrypted log group can be created: the account's own right does not reach Logs.
        groups = f"arn:{cdk.Aws.PARTITION}:logs:{cdk.Aws.REGION}:{cdk.Aws.ACCOUNT_ID}:log-group:*"
        self.data.add_to_resource_policy(
            iam.PolicyStatement(
                sid="LogsOfThisAccount",
                principals=[iam.ServicePrincipal(f"logs.{cdk.Aws.REGION}.amazonaws.com")],
                actions=["kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:DescribeKey"],
                resources=["*"],
                conditions={"ArnLike": {"kms:EncryptionContext:aws:logs:arn": groups}},
            )
        )

    def _let_publishers_encrypt(self) -> None:
        self.data.add_to_resource_policy(
            iam.PolicyStatement(
                sid="PublishersOfThisAccount",
                principals=[iam.ServicePrincipal(name) for name in _PUBLISHERS],
                actions=["kms:Decrypt", "kms:GenerateDataKey*", "kms:DescribeKey"],
                resources=["*"],
                conditions={"StringEquals": {"aws:SourceAccount": cdk.Aws.ACCOUNT_ID}},
            )
        )
