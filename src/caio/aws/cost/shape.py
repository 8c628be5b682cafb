"""What is deployed, as far as it costs something: an environment's safety, a size's load.

The environment says how much must survive (zones, standbys, firewall, nights off); the size says how much is served
(tasks, classes, traffic). What the environments are is what ``infrastructure/aws/terraform/environments`` makes them; a
test compares the two.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal
from enum import StrEnum
from typing import Literal

#: A night of the scheduled scaling outside production, 22:00 to 06:00, of a day's hours.
_BY_DAY = Decimal(16) / 24


class Environment(StrEnum):
    DEV = "dev"
    STAGING = "staging"
    PRODUCTION = "production"


class Size(StrEnum):
    SMALL = "small"
    MEDIUM = "medium"
    LARGE = "large"


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What a month brings: calls in millions, GB sent out of AWS, GB of logs, GB kept for each purpose."""

    million_requests: Decimal
    transfer_gb: Decimal
    log_gb: Decimal
    objects_gb: Decimal
    database_gb: int
    sessions_gb: Decimal
    custom_metrics: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """One deployment. Tasks are those that run on average while it is on."""

    environment: Environment
    architecture: Literal["x86", "arm"] = "arm"
    api_tasks: int
    worker_tasks: int
    task_vcpu: Decimal
    task_gb: Decimal
    on: Decimal = Decimal(1)
    spot_workers: bool = False
    reserved: bool = False
    zones: int
    nat_gateways: int
    endpoints: int
    database_class: str
    database_standby: bool
    database_proxy: bool
    backup_days: int
    cache_class: str
    cache_nodes: int
    firewall: bool
    canary: bool
    alarms: int
    composite_alarms: int = 3
    dashboards: int = 6
    secrets: int = 5
    keys: int = 2
    load: Load

    def __post_init__(self) -> None:
        if self.api_tasks < 1 or self.worker_tasks < 0 or self.nat_gateways < 0:
            raise ValueError("a deployment has at least one task, and no fewer than no workers and gateways")
        if not 0 < self.on <= 1:
            raise ValueError("a deployment is on for a share of the time above 0, at most 1")
        if self.nat_gateways == 0 and self.endpoints == 0:
            raise ValueError("without a NAT gateway the tasks reach AWS by endpoints only, and there are none")


#: Interface endpoints in each zone, where there are any (`interface_endpoints` of the network module).
INTERFACE_ENDPOINTS = 10

_LOADS = {
    Size.SMALL: Load(
        million_requests=Decimal(3),
        transfer_gb=Decimal(50),
        log_gb=Decimal(10),
        objects_gb=Decimal(20),
        database_gb=100,
        sessions_gb=Decimal(1),
        custom_metrics=20,
    ),
    Size.MEDIUM: Load(
        million_requests=Decimal(60),
        transfer_gb=Decimal(500),
        log_gb=Decimal(60),
        objects_gb=Decimal(200),
        database_gb=200,
        sessions_gb=Decimal(10),
        custom_metrics=60,
    ),
    Size.LARGE: Load(
        million_requests=Decimal(600),
        transfer_gb=Decimal(5000),
        log_gb=Decimal(600),
        objects_gb=Decimal(2000),
        database_gb=1000,
        sessions_gb=Decimal(100),
        custom_metrics=200,
    ),
}

_DEV_DATABASE_GB = 20

#: API tasks, workers, and a task's vCPU and GB.
_TASKS = {
    Size.SMALL: (2, 1, Decimal("0.5"), Decimal(1)),
    Size.MEDIUM: (4, 2, Decimal(1), Decimal(2)),
    Size.LARGE: (20, 4, Decimal(2), Decimal(4)),
}
_DATABASES = {Size.SMALL: "db.t3.medium", Size.MEDIUM: "db.r6g.large", Size.LARGE: "db.r6g.xlarge"}
_CACHES = {Size.SMALL: "cache.t3.micro", Size.MEDIUM: "cache.t3.medium", Size.LARGE: "cache.r6g.large"}


def shape_of(environment: Environment, size: Size) -> Shape:
    """What the environment's profile deploys for a load of the size."""
    api, workers, vcpu, gb = _TASKS[size]
    production = environment is Environment.PRODUCTION
    zones = 3 if production else 2
    dev = environment is Environment.DEV
    return Shape(
        environment=environment,
        api_tasks=max(api, 3) if production else 1 if dev else api,
        worker_tasks=max(workers, 2) if production else 1,
        task_vcpu=vcpu,
        task_gb=gb,
        on=_BY_DAY if dev else Decimal(1),
        zones=zones,
        nat_gateways=zones if production else 1,
        endpoints=INTERFACE_ENDPOINTS if production else 0,
        database_class="db.t3.micro" if dev else _DATABASES[size],
        database_standby=production,
        database_proxy=False,
        backup_days=30 if production else 1 if dev else 7,
        cache_class="cache.t3.micro" if dev else _CACHES[size],
        cache_nodes=2 if production else 1,
        firewall=not dev,
        canary=not dev,
        alarms=22 if production else 16,
        load=replace(_LOADS[size], database_gb=_DEV_DATABASE_GB) if dev else _LOADS[size],
    )
