"""The price table: dated, with its sources, by region; ours, or a file of the same form.

Prices are decimals in the table's currency. Whether they are still AWS's is not checked: the table says when it was
compared, and ``caio ops cost`` shows that date.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from caio.foundation.errors import InvalidInput, Violation

Price = Annotated[Decimal, Field(ge=0)]
Share = Annotated[Decimal, Field(ge=0, lt=1)]


class _Row(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Compute(_Row):
    vcpu_hour: Price
    gb_hour: Price


class LoadBalancer(_Row):
    hour: Price
    capacity_unit_hour: Price


class Gateway(_Row):
    """A NAT gateway or an endpoint: by the hour, and by what goes through."""

    hour: Price
    gb: Price


class Database(_Row):
    storage_gb_month: Price
    backup_gb_month: Price
    proxy_vcpu_hour: Price


class Sessions(_Row):
    million_writes: Price
    million_reads: Price
    gb_month: Price
    recovery_gb_month: Price


class Objects(_Row):
    gb_month: Price
    archive_gb_month: Price
    million_writes: Price


class Key(_Row):
    month: Price
    million_requests: Price


class Logs(_Row):
    gb_ingested: Price
    gb_month: Price


class Monitoring(_Row):
    metric_month: Price
    alarm_month: Price
    composite_alarm_month: Price
    dashboard_month: Price
    canary_run: Price
    million_traces: Price


class Firewall(_Row):
    acl_month: Price
    rule_month: Price
    million_requests: Price


class Region(_Row):
    """One region's list prices."""

    fargate_x86: Compute
    fargate_arm: Compute
    load_balancer: LoadBalancer
    public_ipv4_hour: Price
    nat: Gateway
    endpoint: Gateway
    database_hour: dict[str, Price]
    database_vcpus: dict[str, Annotated[int, Field(ge=1)]]
    database: Database
    cache_hour: dict[str, Price]
    sessions: Sessions
    objects: Objects
    secret_month: Price
    key: Key
    logs: Logs
    monitoring: Monitoring
    firewall: Firewall
    million_events: Price
    million_queue_requests: Price
    image_gb_month: Price
    transfer_gb: Price
    backup_copy_gb: Price

    def compute(self, architecture: Literal["x86", "arm"]) -> Compute:
        return self.fargate_arm if architecture == "arm" else self.fargate_x86


class Savings(_Row):
    """Shares of the list price that Spot and reservations save."""

    spot: Share
    reserved: Share


class PriceTable(_Row):
    as_of: date
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
    hours_per_month: Annotated[int, Field(ge=672, le=744)]
    sources: dict[str, str]
    savings: Savings
    regions: Annotated[dict[str, Region], Field(min_length=1)]

    @field_validator("sources")
    @classmethod
    def _sourced(cls, value: dict[str, str]) -> dict[str, str]:
        if not value or not all(each.startswith("https://") for each in value.values()):
            raise ValueError("say where the prices are from, as https addresses")
        return value


@dataclass(frozen=True, slots=True)
class Priced:
    """One region of a table, with what all its regions share."""

    table: PriceTable
    name: str
    prices: Region


def read_prices(path: Path | None = None) -> PriceTable:
    """The table of this release, or the one in ``path``. Raises InvalidInput with every violation."""
    source = path if path is not None else files("caio.aws.cost") / "prices.yaml"
    try:
        # Floats of YAML are read as they are written: 0.1 is a tenth.
        document = yaml.load(source.read_text(encoding="utf-8"), Loader=_ExactLoader)  # noqa: S506 - a safe loader
        return PriceTable.model_validate(document)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InvalidInput(f"the price table cannot be read: {error}", code="prices_unusable") from error
    except ValidationError as error:
        violations = [Violation("".join(f"/{part}" for part in each["loc"]), each["msg"]) for each in error.errors()]
        raise InvalidInput("the price table has mistakes", violations, code="prices_unusable") from error


def priced(table: PriceTable, region: str) -> Priced:
    """The prices of a region; raises InvalidInput for one that the table does not hold."""
    if region not in table.regions:
        raise InvalidInput(
            f"the price table holds no {region}, only {', '.join(table.regions)}; write one that does and name it "
            "with --prices",
            code="prices_unusable",
        )
    return Priced(table, region, table.regions[region])


class _ExactLoader(yaml.SafeLoader):
    """YAML with its decimals as decimals."""


def _decimal(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> Decimal:
    return Decimal(str(loader.construct_scalar(node)))


_ExactLoader.add_constructor("tag:yaml.org,2002:float", _decimal)
