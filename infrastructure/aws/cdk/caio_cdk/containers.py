"""The image's containers as tasks run them: nothing writable but two volumes, no privilege, time to finish.

Every container of CAIO is made here, so that the API, the worker and the migration cannot differ in what they are
allowed: uid 1000, a read-only root, all Linux capabilities dropped, and the seconds of the contract between SIGTERM and
SIGKILL. ECS Exec writes below /var/lib/amazon and /var/log/amazon, which are volumes of their own where it is on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import aws_cdk as cdk
from aws_cdk import aws_ecs as ecs
from aws_cdk import aws_logs as logs

from caio_cdk import contract

_WRITABLE = {"data": contract.DATA_DIRECTORY, "tmp": "/tmp"}  # noqa: S108 - a volume of the task's own
_EXEC = {"ssm-lib": "/var/lib/amazon", "ssm-log": "/var/log/amazon"}


@dataclass(frozen=True)
class Given:
    """What a container is made from beside its role: the same for all containers of a deployment."""

    image: str
    log_group: logs.ILogGroup
    environment: Mapping[str, str]
    secrets: Mapping[str, ecs.Secret]
    trial: bool = False

    def beside(self, environment: Mapping[str, str], secrets: Mapping[str, ecs.Secret]) -> Given:
        return replace(self, environment={**self.environment, **environment}, secrets={**self.secrets, **secrets})


def add_volumes(task: ecs.FargateTaskDefinition, *, with_exec: bool) -> None:
    """Room to write, which lives and dies with the task."""
    for name in _volumes(with_exec):
        task.add_volume(name=name)


def add_container(
    task: ecs.FargateTaskDefinition,
    role: contract.Role,
    given: Given,
    *,
    with_exec: bool = False,
    essential: bool = True,
) -> ecs.ContainerDefinition:
    """One container of CAIO. Raises ValueError when it would get other settings than the contract names."""
    contract.hold(role, given.environment, given.secrets, trial=given.trial)
    limits = ecs.LinuxParameters(task, f"{role.capitalize()}Limits", init_process_enabled=True)
    limits.drop_capabilities(ecs.Capability.ALL)
    serves = role != "migration"
    container = task.add_container(
        role,
        container_name=role,
        image=ecs.ContainerImage.from_registry(given.image),
        command=contract.command(role),
        essential=essential,
        user=contract.USER,
        privileged=False,
        readonly_root_filesystem=True,
        linux_parameters=limits,
        environment=dict(given.environment),
        secrets=dict(given.secrets),
        stop_timeout=cdk.Duration.seconds(contract.STOP_SECONDS),
        health_check=_health() if serves else None,
        logging=ecs.LogDrivers.aws_logs(
            stream_prefix=role, log_group=given.log_group, mode=ecs.AwsLogDriverMode.NON_BLOCKING
        ),
        port_mappings=[ecs.PortMapping(container_port=contract.API_PORT, name=role)] if role == "api" else None,
        ulimits=[ecs.Ulimit(name=ecs.UlimitName.NOFILE, soft_limit=65536, hard_limit=65536)],
    )
    for name, path in _volumes(with_exec).items():
        container.add_mount_points(ecs.MountPoint(source_volume=name, container_path=path, read_only=False))
    return container


def _volumes(with_exec: bool) -> dict[str, str]:
    return _WRITABLE | (_EXEC if with_exec else {})


def _health() -> ecs.HealthCheck:
    """The image's own probe, asked whether the process lives: ECS replaces a task that fails it.

    Whether it is ready is the load balancer's question. Asked here, an hour without the database would have every
    task killed and started again, to come up with no database either.
    """
    return ecs.HealthCheck(
        command=["CMD", "healthcheck", "/health/live"],
        interval=cdk.Duration.seconds(30),
        timeout=cdk.Duration.seconds(10),
        retries=3,
        start_period=cdk.Duration.seconds(40),
    )
