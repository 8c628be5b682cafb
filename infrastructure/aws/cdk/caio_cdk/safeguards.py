"""What it may cost, and how it comes back: a budget that tells before it is spent, and a vault of backups."""

from __future__ import annotations

from typing import Literal

import aws_cdk as cdk
from aws_cdk import aws_backup as backup
from aws_cdk import aws_budgets as budgets
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_sns as sns
from constructs import Construct

from caio_cdk.naming import Naming, describe

#: When somebody is told: percent of the month's budget that is spent, or will be.
_TOLD: tuple[tuple[Literal["ACTUAL", "FORECASTED"], int], ...] = (("ACTUAL", 80), ("ACTUAL", 100), ("FORECASTED", 100))


class Budget(Construct):
    def __init__(
        self, scope: Construct, id_: str, *, naming: Naming, monthly_usd: float, topic: sns.ITopic, email: str
    ) -> None:
        super().__init__(scope, id_)
        told = [("SNS", topic.topic_arn), ("EMAIL", email)]
        subscribers = [
            budgets.CfnBudget.SubscriberProperty(subscription_type=kind, address=address) for kind, address in told
        ]
        budgets.CfnBudget(
            self,
            "Month",
            budget=budgets.CfnBudget.BudgetDataProperty(
                budget_name=naming.of("month"),
                budget_type="COST",
                time_unit="MONTHLY",
                budget_limit=budgets.CfnBudget.SpendProperty(amount=monthly_usd, unit="USD"),
                cost_filters={"TagKeyValue": [f"user:Environment${naming.environment}"]},
            ),
            notifications_with_subscribers=[
                budgets.CfnBudget.NotificationWithSubscribersProperty(
                    notification=budgets.CfnBudget.NotificationProperty(
                        notification_type=kind,
                        comparison_operator="GREATER_THAN",
                        threshold=percent,
                        threshold_type="PERCENTAGE",
                    ),
                    subscribers=subscribers,
                )
                for kind, percent in _TOLD
            ],
        )
        describe(self, "money", "Tells before the month's budget is spent")


class Recovery(Construct):
    """Continuous backups (to any second of the last days) beside daily ones; deleted with nothing but intent."""

    def __init__(
        self, scope: Construct, id_: str, *, naming: Naming, key: kms.IKey, days: int, resources: list[str]
    ) -> None:
        super().__init__(scope, id_)
        vault = backup.BackupVault(
            self,
            "Vault",
            backup_vault_name=naming.of("vault"),
            encryption_key=key,
            block_recovery_point_deletion=True,
            removal_policy=cdk.RemovalPolicy.RETAIN,
        )
        plan = backup.CfnBackupPlan(
            self,
            "Plan",
            backup_plan=backup.CfnBackupPlan.BackupPlanResourceTypeProperty(
                backup_plan_name=naming.of("backup") or "",
                backup_plan_rule=[
                    backup.CfnBackupPlan.BackupRuleResourceTypeProperty(
                        rule_name="daily",
                        target_backup_vault=vault.backup_vault_name,
                        schedule_expression="cron(0 5 * * ? *)",
                        start_window_minutes=60,
                        completion_window_minutes=240,
                        enable_continuous_backup=True,
                        lifecycle=backup.CfnBackupPlan.LifecycleResourceTypeProperty(delete_after_days=days),
                    )
                ],
            ),
        )
        role = iam.Role(
            self,
            "Role",
            assumed_by=iam.ServicePrincipal("backup.amazonaws.com"),
            managed_policies=[
                iam.ManagedPolicy.from_aws_managed_policy_name(f"service-role/AWSBackupServiceRolePolicyFor{what}")
                for what in ("Backup", "Restores")
            ],
        )
        backup.CfnBackupSelection(
            self,
            "Selection",
            backup_plan_id=plan.ref,
            backup_selection=backup.CfnBackupSelection.BackupSelectionResourceTypeProperty(
                selection_name="data", iam_role_arn=role.role_arn, resources=resources
            ),
        )
        describe(self, "recovery", "Brings data back")
