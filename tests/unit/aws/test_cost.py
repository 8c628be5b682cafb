"""The estimate against figures worked out by hand, its laws, and the price table's form."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from importlib.resources import files

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caio.aws.cost.estimate import estimate
from caio.aws.cost.prices import priced, read_prices
from caio.aws.cost.shape import Environment, Shape, Size, shape_of
from caio.foundation.errors import InvalidInput

RATES = priced(read_prices(), "us-east-1")
SHAPES = [shape_of(environment, size) for environment in Environment for size in Size]
shapes = st.sampled_from(SHAPES)


def cost_of(shape: Shape, group: str | None = None) -> Decimal:
    found = estimate(shape, RATES)
    return found.total if group is None else found.groups()[group]


def test_two_tasks_of_one_processor_cost_what_the_list_says():
    """2 × 730 h × (0.04048 + 2 × 0.004445): the 72 dollars of AWS's list."""
    shape = replace(
        SHAPES[0],
        api_tasks=2,
        worker_tasks=0,
        task_vcpu=Decimal(1),
        task_gb=Decimal(2),
        on=Decimal(1),
        architecture="x86",
    )
    (tasks, _) = [line for line in estimate(shape, RATES).lines if line.group == "compute"]
    assert tasks.cost == Decimal("72.08")


def test_a_gateway_and_a_standby_cost_what_the_list_says():
    shape = replace(shape_of(Environment.PRODUCTION, Size.SMALL), nat_gateways=1)
    costs = {line.item: line.cost for line in estimate(shape, RATES).lines}
    assert costs["1 × NAT gateway"] == Decimal("32.85")
    assert costs["db.t3.medium with a standby"] == Decimal("105.12")
    assert costs["load balancer"] == Decimal("16.42")


@given(shapes)
def test_the_total_is_the_sum_of_the_lines(shape):
    found = estimate(shape, RATES)
    assert found.total == sum(line.cost for line in found.lines) == sum(found.groups().values())
    assert all(line.cost >= 0 and line.cost == line.cost.quantize(Decimal("0.01")) for line in found.lines)


@given(
    shapes,
    st.sampled_from(["api_tasks", "worker_tasks", "nat_gateways", "zones", "cache_nodes", "alarms", "backup_days"]),
    st.integers(1, 20),
)
def test_more_costs_more(shape, counted, more):
    larger = replace(shape, **{counted: getattr(shape, counted) + more})
    assert cost_of(larger) >= cost_of(shape)
    if counted in ("api_tasks", "worker_tasks", "nat_gateways", "cache_nodes"):
        assert cost_of(larger) > cost_of(shape)


@given(shapes)
def test_a_saving_is_a_share_of_its_lines(shape):
    def line(changed: Shape, word: str) -> Decimal:
        return sum((each.cost for each in estimate(changed, RATES).lines if word in each.item), Decimal(0))

    spot = replace(shape, spot_workers=True)
    assert abs(line(spot, "worker task") - line(shape, "worker task") * Decimal("0.30")) <= Decimal("0.01")
    assert line(spot, "API task") == line(shape, "API task")
    reserved = replace(shape, reserved=True)
    assert abs(line(reserved, "db.") - line(shape, "db.") * Decimal("0.70")) <= Decimal("0.01")
    assert abs(line(reserved, "cache.") - line(shape, "cache.") * Decimal("0.70")) <= Decimal("0.01")


def test_production_costs_more_than_staging_and_staging_more_than_dev():
    for size in Size:
        dev, staging, production = (cost_of(shape_of(environment, size)) for environment in Environment)
        assert dev < staging < production


def test_a_deployment_that_cannot_be_is_not_made():
    for wrong in ({"api_tasks": 0}, {"on": Decimal(0)}, {"nat_gateways": 0, "endpoints": 0}):
        with pytest.raises(ValueError, match=r"."):
            replace(SHAPES[0], **wrong)


def test_what_the_table_does_not_hold_is_told():
    with pytest.raises(InvalidInput, match=r"no mars-1, only us-east-1"):
        priced(read_prices(), "mars-1")
    with pytest.raises(InvalidInput, match=r"no database class db\.huge"):
        estimate(replace(SHAPES[0], database_class="db.huge"), RATES)


def test_prices_are_read_as_they_are_written(tmp_path):
    """0.1 is a tenth, not the float beside it."""
    assert RATES.prices.fargate_x86.vcpu_hour == Decimal("0.04048")
    ours = (files("caio.aws.cost") / "prices.yaml").read_text()
    path = tmp_path / "prices.yaml"
    path.write_text(ours.replace("secret_month: 0.40", "secret_month: -1").replace("as_of: 2026", "as_of: two"))
    with pytest.raises(InvalidInput) as caught:
        read_prices(path)
    assert {each.pointer for each in caught.value.violations} >= {"/as_of", "/regions/us-east-1/secret_month"}
    path.write_text("{")
    with pytest.raises(InvalidInput, match="cannot be read"):
        read_prices(path)
    with pytest.raises(InvalidInput, match="cannot be read"):
        read_prices(tmp_path / "none")


def test_every_class_of_a_profile_has_its_price():
    for region in RATES.table.regions:
        for shape in SHAPES:
            assert estimate(shape, priced(RATES.table, region)).total > 0
    assert set(RATES.prices.database_hour) == set(RATES.prices.database_vcpus)
