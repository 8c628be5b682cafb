"""The estimate is of what Terraform's environments are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import hcl2
import pytest

from caio.aws.cost.shape import INTERFACE_ENDPOINTS, Environment, Size, shape_of

TERRAFORM = Path(__file__).parents[2] / "infrastructure" / "aws" / "terraform"


def read(path: Path) -> Any:
    with path.open() as file:
        return hcl2.load(file)


def plain(value: Any) -> Any:
    """A value without the quotes that the parser keeps."""
    return value.strip('"') if isinstance(value, str) else value


def defaults(folder: Path) -> dict[str, Any]:
    """The defaults of a folder's variables."""
    found = {}
    for file in folder.glob("variables*.tf"):
        for block in read(file)["variable"]:
            for name, body in block.items():
                found[plain(name)] = plain(body.get("default"))
    return found


@pytest.mark.parametrize("environment", Environment)
def test_the_estimate_is_of_what_is_deployed(environment: Environment) -> None:
    folder = TERRAFORM / "environments" / environment.value
    (composed,) = [body for block in read(folder / "main.tf")["module"] for body in block.values()]
    stated, shape = defaults(folder), shape_of(environment, Size.MEDIUM)
    network = {plain(name): plain(value) for name, value in composed["network"].items()}
    capacity = {plain(name): value for name, value in composed["capacity"].items()}
    zones = len(stated["private_subnet_cidrs"])
    assert shape.zones == zones
    assert shape.nat_gateways == {"per_az": zones, "single": 1, "none": 0}[network["nat"]]
    assert (shape.endpoints > 0) is network["enable_endpoints"]
    assert shape.firewall is stated["enable_waf"]
    assert shape.canary is ("canary" in composed)
    assert shape.database_standby is stated["enable_multi_az"]
    assert shape.cache_nodes == (2 if stated["enable_multi_az"] else 1)
    assert (
        shape.backup_days
        == {plain(name): value for name, value in composed["database"].items()}["backup_retention_days"]
    )
    assert shape.worker_tasks == {plain(name): value for name, value in capacity["worker"].items()}["min"]
    assert stated["min_capacity"] <= shape.api_tasks
    if environment is Environment.DEV:
        assert (shape.database_class, shape.cache_class) == (stated["db_instance_class"], stated["cache_node_type"])
        assert shape.load.database_gb == stated["db_allocated_storage"]


def test_endpoints_are_as_many_as_are_made() -> None:
    assert len(defaults(TERRAFORM / "modules" / "network")["interface_endpoints"]) == INTERFACE_ENDPOINTS


@pytest.mark.parametrize("environment", Environment)
def test_an_example_can_be_applied_as_it_stands(environment: Environment) -> None:
    example = read(TERRAFORM / "environments" / environment.value / "terraform.tfvars.example")
    assert plain(example.get("canary_code_key")) in (None, "null"), (
        "there is no code before `make canary` has put it there"
    )
