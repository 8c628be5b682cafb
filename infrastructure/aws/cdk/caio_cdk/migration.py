"""The migration before the switch: CloudFormation runs it as a task and changes the services only after it ended well.

Whenever the task definition changes (another image, another setting) the migration runs again; `caio db upgrade` does
nothing to a database that is at head. A failed migration fails the deployment and the services stay as they were.
"""

from __future__ import annotations

import ast
from pathlib import Path

import aws_cdk as cdk
from aws_cdk import aws_ecs as ecs
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from constructs import Construct

from caio_cdk.compute import Compute
from caio_cdk.naming import Naming, describe
from caio_cdk.network import PRIVATE, Network

_CODE = Path(__file__).with_name("migrate_function.py")
#: What CloudFormation takes as code within a template, in characters.
MOST_CODE = 4096


class Migration(Construct):
    def __init__(
        self,
        scope: Construct,
        id_: str,
        *,
        naming: Naming,
        network: Network,
        key: kms.IKey,
        compute: Compute,
        task: ecs.FargateTaskDefinition,
        log_group: logs.ILogGroup,
        retention: logs.RetentionDays,
    ) -> None:
        super().__init__(scope, id_)
        group = logs.LogGroup(
            self,
            "Logs",
            log_group_name=naming.logs("migration"),
            retention=retention,
            encryption_key=key,
            removal_policy=cdk.RemovalPolicy.DESTROY,
        )
        role = iam.Role(self, "Role", assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"))
        group.grant_write(role)
        function = lambda_.CfnFunction(
            self,
            "Function",
            function_name=naming.of("migrate"),
            description="Runs CAIO's migration task for CloudFormation",
            runtime="python3.14",
            handler="index.handler",
            code=lambda_.CfnFunction.CodeProperty(zip_file=_without_docstrings(_CODE.read_text())),
            timeout=900,
            memory_size=256,
            role=role.role_arn,
            logging_config=lambda_.CfnFunction.LoggingConfigProperty(log_group=group.log_group_name),
        )
        self._let_run(role, compute, task)
        subnets = network.vpc.select_subnets(subnet_group_name=PRIVATE).subnet_ids
        self.done = cdk.CustomResource(
            self,
            "Run",
            service_token=function.attr_arn,
            service_timeout=cdk.Duration.minutes(16),
            resource_type="Custom::CaioMigration",
            properties={
                "Cluster": compute.cluster.cluster_name,
                "Task": task.task_definition_arn,
                "Subnets": subnets,
                "SecurityGroup": compute.security_group.security_group_id,
                "Logs": log_group.log_group_name,
            },
        )
        self.done.node.add_dependency(role.node.find_child("DefaultPolicy"))
        describe(self, "migration", "Brings the database to head before the services change")

    @staticmethod
    def _let_run(role: iam.Role, compute: Compute, task: ecs.FargateTaskDefinition) -> None:
        here = {"ArnEquals": {"ecs:cluster": compute.cluster.cluster_arn}}
        tasks = (
            f"arn:{cdk.Aws.PARTITION}:ecs:{cdk.Aws.REGION}:{cdk.Aws.ACCOUNT_ID}:task/{compute.cluster.cluster_name}/*"
        )
        statements = [
            iam.PolicyStatement(actions=["ecs:RunTask"], resources=[task.task_definition_arn], conditions=here),
            iam.PolicyStatement(actions=["ecs:DescribeTasks"], resources=[tasks], conditions=here),
            iam.PolicyStatement(
                actions=["ecs:TagResource"],
                resources=[tasks],
                conditions={"StringEquals": {"ecs:CreateAction": "RunTask"}},
            ),
            iam.PolicyStatement(
                actions=["iam:PassRole"],
                resources=[compute.execution_role.role_arn, task.task_role.role_arn],
                conditions={"StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}},
            ),
        ]
        for statement in statements:
            role.add_to_policy(statement)


def _without_docstrings(source: str) -> str:
    """The code alone, as CloudFormation has little room for it. Raises ValueError when it is too long even so."""
    tree = ast.parse(source)
    bodies: list[ast.Module | ast.FunctionDef] = [tree]
    bodies += [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    for node in bodies:
        if ast.get_docstring(node) is not None:
            node.body = node.body[1:]
    code = ast.unparse(tree)
    if len(code) > MOST_CODE:
        raise ValueError(f"{_CODE.name} has {len(code)} characters and CloudFormation takes {MOST_CODE}: shorten it.")
    return code
