"""The estimate is of what Terraform's environments are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from caio.aws.cost.shape import INTERFACE_ENDPOINTS, Environment, Size, shape_of
from tests.support.infra_tools import ENVIRONMENTS, MODULES
from tests.support.terraform_sources import Sources


def defaults(folder: Path) -> dict[str, Any]:
    """The defaults of a folder's variables."""
    return {each.labels[0]: each.body.get("default") for each in Sources.read(folder).all("variable")}


@pytest.mark.parametrize("environment", Environment)
def test_the_estimate_is_of_what_is_deployed(environment: Environment) -> None:
    folder = ENVIRONMENTS / environment.value
    (composition,) = Sources.read(folder).all("module")
    composed, stated, shape = composition.body, defaults(folder), shape_of(environment, Size.MEDIUM)
    network, zones = composed["network"], len(stated["private_subnet_cidrs"])
    assert shape.zones == zones
    assert shape.nat_gateways == {"per_az": zones, "single": 1, "none": 0}[network["nat"]]
    assert (shape.endpoints > 0) is network["enable_endpoints"]
    assert shape.firewall is stated["enable_waf"]
    assert shape.canary is ("canary" in composed)
    assert shape.database_standby is stated["enable_multi_az"]
    assert shape.cache_nodes == (2 if stated["enable_multi_az"] else 1)
    assert shape.backup_days == composed["database"]["backup_retention_days"]
    assert shape.worker_tasks == composed["capacity"]["worker"]["min"]
    assert stated["min_capacity"] <= shape.api_tasks
    if environment is Environment.DEV:
        assert (shape.database_class, shape.cache_class) == (stated["db_instance_class"], stated["cache_node_type"])
        assert shape.load.database_gb == stated["db_allocated_storage"]


def test_endpoints_are_as_many_as_are_made() -> None:
    assert len(defaults(MODULES / "network")["interface_endpoints"]) == INTERFACE_ENDPOINTS
