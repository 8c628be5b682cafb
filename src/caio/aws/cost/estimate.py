"""A month's cost of a deployment, line by line: quantities times list prices, in exact decimals.

Theory of operation
-------------------
Each line is a quantity in the unit that AWS bills, and its price. What depends on use is taken from the shape's load;
what AWS gives for free is not taken off, and neither are taxes, support and what models cost. Spot and reservations
are shares off the lines they apply to.

Laws (each has a test of the same name)
---------------------------------------
- the_total_is_the_sum_of_the_lines, to the cent of each.
- more_costs_more: a larger count of anything never lowers the total.
- a_saving_is_a_share_of_its_lines: Spot of workers' tasks, reservations of the database and the cache.

Not known here: bursts above the average, I/O beyond what gp3 includes, the rates of an agreement with AWS.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal

from caio.aws.cost.prices import Priced
from caio.aws.cost.shape import Shape
from caio.foundation.errors import InvalidInput

_MINUTES = 60
#: A canary runs every five minutes.
_CANARY_MINUTES = 5
#: A GB an hour is one of a load balancer's capacity units.
_GB_PER_UNIT_HOUR = 1
#: Of calls, those whose trace is kept.
_TRACED = Decimal("0.01")
#: Share of objects that has moved to the archive, where objects go after 90 days.
_ARCHIVED = Decimal("0.75")
#: Log groups keep 30 days: a month's logs.
_IMAGES_GB = Decimal("2.5")
#: Managed rule groups and the rate rule.
_FIREWALL_RULES = 6


@dataclass(frozen=True, slots=True)
class Line:
    """``cost`` is a month's, in the table's currency, to the cent."""

    group: str
    item: str
    quantity: Decimal
    unit: str
    cost: Decimal


@dataclass(frozen=True, slots=True)
class Estimate:
    """All lines of one deployment."""

    lines: Sequence[Line]

    @property
    def total(self) -> Decimal:
        return sum((line.cost for line in self.lines), Decimal(0))

    def groups(self) -> dict[str, Decimal]:
        """The sums by group, in the order of the lines."""
        sums: dict[str, Decimal] = {}
        for line in self.lines:
            sums[line.group] = sums.get(line.group, Decimal(0)) + line.cost
        return sums


def estimate(shape: Shape, priced: Priced) -> Estimate:
    """A month of the deployment; raises InvalidInput for a class that the table does not hold."""
    parts = (_compute, _entry, _network, _database, _cache, _storage, _security, _events, _observability)
    return Estimate([line for part in parts for line in part(shape, priced)])


def _compute(shape: Shape, priced: Priced) -> Iterator[Line]:
    rates = priced.prices.compute(shape.architecture)
    hours = priced.table.hours_per_month * shape.on
    rate = shape.task_vcpu * rates.vcpu_hour + shape.task_gb * rates.gb_hour
    size = f"{shape.task_vcpu} vCPU, {shape.task_gb} GB, {shape.architecture}"
    yield _line("compute", f"{shape.api_tasks} × API task of {size}", shape.api_tasks * hours, "task-hours", rate)
    if shape.worker_tasks:
        kept = 1 - priced.table.savings.spot if shape.spot_workers else Decimal(1)
        named = f"{shape.worker_tasks} × worker task of {size}" + ", Spot" * shape.spot_workers
        yield _line("compute", named, shape.worker_tasks * hours, "task-hours", rate * kept)
    yield _line("compute", "images", _IMAGES_GB, "GB", priced.prices.image_gb_month)


def _entry(shape: Shape, priced: Priced) -> Iterator[Line]:
    rates, hours = priced.prices.load_balancer, Decimal(priced.table.hours_per_month)
    yield _line("entry", "load balancer", hours, "hours", rates.hour)
    units = max(hours, shape.load.transfer_gb * 2 / _GB_PER_UNIT_HOUR)
    yield _line("entry", "capacity units", units, "unit-hours", rates.capacity_unit_hour)
    yield _line("entry", "public addresses", shape.zones * hours, "hours", priced.prices.public_ipv4_hour)
    if shape.firewall:
        wall = priced.prices.firewall
        yield _line(
            "entry", "firewall with its rules", Decimal(1), "months", wall.acl_month + _FIREWALL_RULES * wall.rule_month
        )
        yield _line("entry", "requests looked at", shape.load.million_requests, "millions", wall.million_requests)


def _network(shape: Shape, priced: Priced) -> Iterator[Line]:
    prices, hours = priced.prices, Decimal(priced.table.hours_per_month)
    if shape.nat_gateways:
        yield _line(
            "network", f"{shape.nat_gateways} × NAT gateway", shape.nat_gateways * hours, "hours", prices.nat.hour
        )
        addresses = shape.nat_gateways * hours
        yield _line("network", "their public addresses", addresses, "hours", prices.public_ipv4_hour)
        yield _line("network", "through NAT", shape.load.transfer_gb, "GB", prices.nat.gb)
    if shape.endpoints:
        number = shape.endpoints * shape.zones
        yield _line(
            "network", f"{shape.endpoints} × endpoint, in each zone", number * hours, "hours", prices.endpoint.hour
        )
        yield _line("network", "through endpoints", shape.load.log_gb, "GB", prices.endpoint.gb)
    yield _line("network", "sent to the internet", shape.load.transfer_gb, "GB", prices.transfer_gb)


def _database(shape: Shape, priced: Priced) -> Iterator[Line]:
    prices, hours = priced.prices, Decimal(priced.table.hours_per_month)
    copies = 2 if shape.database_standby else 1
    rate = _price(prices.database_hour, shape.database_class, "database class") * _kept(shape, priced)
    named = f"{shape.database_class}{' with a standby' * shape.database_standby}{', reserved' * shape.reserved}"
    yield _line("database", named, copies * hours, "hours", rate)
    size = Decimal(shape.load.database_gb)
    yield _line("database", "storage", copies * size, "GB", prices.database.storage_gb_month)
    if (beyond := _backups(shape)) > 0:
        yield _line("database", "backups beyond its size", beyond, "GB", prices.database.backup_gb_month)
    if shape.database_proxy:
        vcpus = _price(prices.database_vcpus, shape.database_class, "database class")
        yield _line("database", "proxy", vcpus * hours, "vCPU-hours", prices.database.proxy_vcpu_hour)


def _backups(shape: Shape) -> Decimal:
    """GB of backups that are paid: a tenth of the database changes a day, and one database's size is free."""
    size = Decimal(shape.load.database_gb)
    return max(Decimal(0), size * (1 + shape.backup_days / Decimal(10)) - size)


def _cache(shape: Shape, priced: Priced) -> Iterator[Line]:
    rate = _price(priced.prices.cache_hour, shape.cache_class, "cache class") * _kept(shape, priced)
    hours = Decimal(shape.cache_nodes * priced.table.hours_per_month)
    named = f"{shape.cache_nodes} × {shape.cache_class}{', reserved' * shape.reserved}"
    yield _line("cache", named, hours, "hours", rate)


def _storage(shape: Shape, priced: Priced) -> Iterator[Line]:
    prices, load = priced.prices, shape.load
    yield _line("storage", "objects", load.objects_gb * (1 - _ARCHIVED), "GB", prices.objects.gb_month)
    yield _line("storage", "objects archived", load.objects_gb * _ARCHIVED, "GB", prices.objects.archive_gb_month)
    # An anchor a minute for each of a few logs, and logs of the load balancer.
    yield _line("storage", "objects written", Decimal("0.2"), "millions", prices.objects.million_writes)
    yield _line("storage", "sessions", load.sessions_gb, "GB", prices.sessions.gb_month)
    yield _line("storage", "sessions' recovery", load.sessions_gb, "GB", prices.sessions.recovery_gb_month)
    turns = load.million_requests / 10
    yield _line("storage", "sessions written", turns, "millions", prices.sessions.million_writes)
    yield _line("storage", "sessions read", turns, "millions", prices.sessions.million_reads)
    if shape.backup_days >= 30:
        yield _line("storage", "copies in another region", Decimal(load.database_gb), "GB", prices.backup_copy_gb)


def _security(shape: Shape, priced: Priced) -> Iterator[Line]:
    prices = priced.prices
    yield _line("security", "secrets", Decimal(shape.secrets), "months", prices.secret_month)
    yield _line("security", "keys", Decimal(shape.keys), "months", prices.key.month)
    # Data keys are cached; buckets use bucket keys.
    yield _line("security", "uses of keys", shape.load.million_requests / 100, "millions", prices.key.million_requests)


def _events(shape: Shape, priced: Priced) -> Iterator[Line]:
    published = shape.load.million_requests / 10
    yield _line("events", "events", published, "millions", priced.prices.million_events)
    yield _line("events", "requests of queues", published * 3, "millions", priced.prices.million_queue_requests)


def _observability(shape: Shape, priced: Priced) -> Iterator[Line]:
    prices, load = priced.prices, shape.load
    watch = prices.monitoring
    yield _line("observability", "logs", load.log_gb, "GB", prices.logs.gb_ingested)
    yield _line("observability", "logs kept", load.log_gb, "GB", prices.logs.gb_month)
    yield _line("observability", "metrics", Decimal(load.custom_metrics), "months", watch.metric_month)
    yield _line("observability", "alarms", Decimal(shape.alarms), "months", watch.alarm_month)
    yield _line(
        "observability", "composite alarms", Decimal(shape.composite_alarms), "months", watch.composite_alarm_month
    )
    yield _line("observability", "dashboards", Decimal(shape.dashboards), "months", watch.dashboard_month)
    traced = load.million_requests * _TRACED
    yield _line("observability", "traces", traced, "millions", watch.million_traces)
    if shape.canary:
        runs = Decimal(priced.table.hours_per_month * _MINUTES // _CANARY_MINUTES)
        yield _line("observability", "canary", runs, "runs", watch.canary_run)


def _kept(shape: Shape, priced: Priced) -> Decimal:
    """What is paid of a database's or a cache's price."""
    return 1 - priced.table.savings.reserved if shape.reserved else Decimal(1)


def _price(prices: dict[str, Decimal] | dict[str, int], wanted: str, kind: str) -> Decimal:
    if wanted not in prices:
        raise InvalidInput(
            f"the price table holds no {kind} {wanted}, only {', '.join(prices)}", code="prices_unusable"
        )
    return Decimal(prices[wanted])


def _line(group: str, item: str, quantity: Decimal, unit: str, price: Decimal) -> Line:
    return Line(group, item, quantity, unit, (quantity * price).quantize(Decimal("0.01")))
