"""The API, the worker and the migration on Fargate: private, small in what they may do, and replaced without a gap.

The migration is a task of its own, run before the services change (caio_cdk/migration.py). How many tasks run is the
autoscaler's business: no number is stated, so no deployment takes tasks away from a busy service.
"""

from __future__ import annotations

from dataclasses import dataclass

import aws_cdk as cdk
from aws_cdk import aws_applicationautoscaling as scaling
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_ecs as ecs
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from constructs import Construct, IConstruct

from caio_cdk import contract
from caio_cdk.containers import Given, add_container, add_volumes
from caio_cdk.entry import Entry
from caio_cdk.naming import Naming, describe
from caio_cdk.network import Network

#: Collects traces on the task's loopback and sends them to X-Ray. By version, never `latest`.
COLLECTOR_IMAGE = "public.ecr.aws/aws-observability/aws-otel-collector:v0.43.3"
COLLECTOR_PORT = 4318
_COLLECTOR = f"""\
receivers: {{otlp: {{protocols: {{http: {{endpoint: "127.0.0.1:{COLLECTOR_PORT}"}}}}}}}}
processors: {{batch: {{timeout: 5s}}, memory_limiter: {{check_interval: 1s, limit_mib: 96}}}}
exporters: {{awsxray: {{}}}}
service: {{pipelines: {{traces: {{receivers: [otlp], processors: [memory_limiter, batch], exporters: [awsxray]}}}}}}
"""
_SECONDS = cdk.Duration.seconds


@dataclass(frozen=True)
class Size:
    cpu: int
    memory: int
    fewest: int
    most: int
    rests_at_night: bool


class Compute(Construct):
    """A cluster and its three task definitions; `serve` makes the services once there is a database to serve from."""

    def __init__(
        self,
        scope: Construct,
        id_: str,
        *,
        naming: Naming,
        network: Network,
        log_group: logs.ILogGroup,
        size: Size,
        insights: bool,
    ) -> None:
        super().__init__(scope, id_)
        self._naming, self._network, self._logs, self._size = naming, network, log_group, size
        self.cluster = ecs.Cluster(
            self,
            "Cluster",
            cluster_name=naming.of("cluster"),
            vpc=network.vpc,
            container_insights_v2=ecs.ContainerInsights.ENABLED if insights else ecs.ContainerInsights.DISABLED,
        )
        self.security_group = ec2.SecurityGroup(
            self,
            "SecurityGroup",
            vpc=network.vpc,
            security_group_name=naming.of("tasks"),
            description="Tasks: in from the load balancer, out to data and by HTTPS to AI services",
            allow_all_outbound=False,
        )
        self.security_group.add_egress_rule(
            ec2.Peer.any_ipv4(), ec2.Port.tcp(443), "AI services, AWS, the image's registry"
        )
        self.execution_role = self._role(
            "ExecutionRole", "Starts tasks: pulls the image, reads the secrets, writes logs"
        )
        self.task_role = self._role("TaskRole", "What CAIO itself may do")
        describe(self, "compute", "Runs the API and the worker")

    def _role(self, id_: str, description: str) -> iam.Role:
        return iam.Role(
            self, id_, assumed_by=iam.ServicePrincipal("ecs-tasks.amazonaws.com"), description=f"CAIO: {description}"
        )

    def task(self, role: contract.Role, given: Given) -> ecs.FargateTaskDefinition:
        """The task definition of one of the image's commands; the serving ones have a collector beside them."""
        serves = role != "migration"
        task = ecs.FargateTaskDefinition(
            self,
            f"{role.capitalize()}Task",
            family=self._naming.of("service" if role == "api" else role),
            cpu=self._size.cpu if serves else 256,
            memory_limit_mib=self._size.memory if serves else 512,
            execution_role=self.execution_role,
            task_role=self.task_role if serves else None,
            runtime_platform=ecs.RuntimePlatform(
                cpu_architecture=ecs.CpuArchitecture.ARM64, operating_system_family=ecs.OperatingSystemFamily.LINUX
            ),
        )
        add_volumes(task, with_exec=serves)
        add_container(task, role, given, with_exec=serves)
        if serves:
            self._add_collector(task)
        return task

    def serve(self, api: ecs.FargateTaskDefinition, worker: ecs.FargateTaskDefinition, entry: Entry) -> None:
        """Both services. Raises nothing; CloudFormation goes back when tasks do not become ready."""
        self.api = self._service("Api", "service", api, grace=120)
        self.worker = self._service("Worker", "worker", worker, grace=None)
        self.api.attach_to_application_target_group(entry.targets)
        entry.admit_to(self.security_group)
        self._scale(self.api, entry)

    def _service(
        self, id_: str, name: str, task: ecs.FargateTaskDefinition, *, grace: int | None
    ) -> ecs.FargateService:
        return ecs.FargateService(
            self,
            id_,
            service_name=self._naming.of(name),
            cluster=self.cluster,
            task_definition=task,
            desired_count=None if id_ == "Api" else 1,
            vpc_subnets=self._network.private,
            security_groups=[self.security_group],
            assign_public_ip=False,
            min_healthy_percent=100,
            max_healthy_percent=200,
            circuit_breaker=ecs.DeploymentCircuitBreaker(enable=True, rollback=True),
            health_check_grace_period=_SECONDS(grace) if grace else None,
            enable_execute_command=True,
            propagate_tags=ecs.PropagatedTagSource.SERVICE,
        )

    def _scale(self, service: ecs.FargateService, entry: Entry) -> None:
        """Out within a minute, in after five: a task too many costs cents, one too few costs requests."""
        size = self._size
        target = service.auto_scale_task_count(min_capacity=size.fewest, max_capacity=size.most)
        out, back = _SECONDS(60), _SECONDS(300)
        target.scale_on_cpu_utilization(
            "Cpu", target_utilization_percent=70, scale_out_cooldown=out, scale_in_cooldown=back
        )
        target.scale_on_memory_utilization(
            "Memory", target_utilization_percent=80, scale_out_cooldown=out, scale_in_cooldown=back
        )
        target.scale_on_request_count(
            "Requests",
            requests_per_target=1000,
            target_group=entry.targets,
            scale_out_cooldown=out,
            scale_in_cooldown=back,
        )
        if size.rests_at_night:
            night, morning = scaling.Schedule.cron(hour="22", minute="0"), scaling.Schedule.cron(hour="6", minute="0")
            target.scale_on_schedule("Night", schedule=night, min_capacity=1, max_capacity=1)
            target.scale_on_schedule("Morning", schedule=morning, min_capacity=size.fewest, max_capacity=size.most)

    def _add_collector(self, task: ecs.FargateTaskDefinition) -> None:
        task.add_container(
            "collector",
            container_name="collector",
            image=ecs.ContainerImage.from_registry(COLLECTOR_IMAGE),
            essential=False,  # traces may be lost, requests may not
            readonly_root_filesystem=True,
            memory_limit_mib=128,
            cpu=32,
            environment={"AOT_CONFIG_CONTENT": _COLLECTOR, "AWS_REGION": cdk.Aws.REGION},
            logging=ecs.LogDrivers.aws_logs(
                stream_prefix="collector", log_group=self._logs, mode=ecs.AwsLogDriverMode.NON_BLOCKING
            ),
        )

    def permitted(self) -> IConstruct:
        """What must be there before a task can start: the execution role's permissions."""
        return self.execution_role.node.find_child("DefaultPolicy")

    def opened(self) -> list[IConstruct]:
        """What must be there before a task can reach anything: the rules of its security group towards other groups."""
        return [rule for rule in self.security_group.node.children if isinstance(rule, ec2.CfnSecurityGroupEgress)]
