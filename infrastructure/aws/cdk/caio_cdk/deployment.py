"""What a full deployment is asked when it is synthesised, and the sizes that follow from the environment.

Context (`cdk deploy -c environment=staging`, or cdk.context.json): `environment` (production, staging, dev), `owner`,
`vpc_cidr` (a /16), `nat` (per_az or single), `retired_signing_keys` (base64, comma separated).
What changes from one deployment to the next is a parameter of the stacks.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from aws_cdk import aws_logs as logs
from constructs import Node

from caio_cdk.naming import Naming
from caio_cdk.network import ZONES

_PUBLIC_KEY = re.compile(r"[A-Za-z0-9+/]{43}=")


@dataclass(frozen=True)
class Profile:
    """Sizes. `most_connections` is PostgreSQL's own limit for the class: memory over 9,531,392 bytes."""

    min_tasks: int
    max_tasks: int
    multi_az: bool
    backup_days: int
    lasting: bool
    database_class: str
    database_gb: int
    most_connections: int
    cache_node: str
    cache_nodes: int
    single_nat: bool
    firewall: bool
    rests_at_night: bool
    retention: logs.RetentionDays
    task_cpu: int = 512
    task_memory: int = 1024


_MONTH, _WEEK = logs.RetentionDays.ONE_MONTH, logs.RetentionDays.ONE_WEEK
PROFILES = {
    "production": Profile(
        min_tasks=3, max_tasks=10, multi_az=True, backup_days=30, lasting=True,
        database_class="db.r6g.large", database_gb=100, most_connections=1700, cache_node="cache.t4g.small",
        cache_nodes=2, single_nat=False, firewall=True, rests_at_night=False, retention=_MONTH,
    ),
    "staging": Profile(
        min_tasks=2, max_tasks=4, multi_az=False, backup_days=7, lasting=False,
        database_class="db.t3.medium", database_gb=100, most_connections=400, cache_node="cache.t3.micro",
        cache_nodes=1, single_nat=True, firewall=True, rests_at_night=True, retention=_MONTH,
    ),
    "dev": Profile(
        min_tasks=1, max_tasks=2, multi_az=False, backup_days=1, lasting=False,
        database_class="db.t3.micro", database_gb=20, most_connections=80, cache_node="cache.t3.micro",
        cache_nodes=1, single_nat=True, firewall=False, rests_at_night=True, retention=_WEEK,
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Deployment:
    naming: Naming
    profile: Profile
    vpc_cidr: str
    nat_gateways: int
    retired_signing_keys: str

    @property
    def caio_env(self) -> str:
        """CAIO_ENV: all but `dev` are held to what production is held to."""
        return "development" if self.naming.environment == "dev" else self.naming.environment


def read(node: Node) -> Deployment:
    """What the context says. Raises ValueError for a value that is not one of those above."""
    environment = _asked(node, "environment", "production")
    if environment not in PROFILES:
        raise ValueError(f"environment is {environment!r}: choose one of {', '.join(PROFILES)} (-c environment=…).")
    profile = PROFILES[environment]
    cidr = _asked(node, "vpc_cidr", "10.0.0.0/16")
    if ipaddress.ip_network(cidr).prefixlen != 16:
        raise ValueError(f"vpc_cidr is {cidr}: a /16 is needed, the subnets' places in it are fixed.")
    nat = _asked(node, "nat", "single" if profile.single_nat else "per_az")
    if nat not in ("single", "per_az"):
        raise ValueError(f"nat is {nat!r}: choose single or per_az.")
    retired = _asked(node, "retired_signing_keys", "")
    if retired and not all(_PUBLIC_KEY.fullmatch(key) for key in retired.split(",")):
        raise ValueError("retired_signing_keys: public keys of 32 bytes in base64, comma separated, are needed.")
    return Deployment(
        naming=Naming(environment, _asked(node, "owner", "platform")),
        profile=profile,
        vpc_cidr=cidr,
        nat_gateways=1 if nat == "single" else ZONES,
        retired_signing_keys=retired,
    )


def _asked(node: Node, name: str, default: str) -> str:
    value = node.try_get_context(name)
    return default if value is None else str(value)
