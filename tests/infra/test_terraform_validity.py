"""Terraform's own judgement of the sources: its format, and the environments, which reach every module, are valid.

Both need terraform; `validate` needs the real provider as well. Where they are not, the tests are skipped and say so,
or fail where CI has them (`CAIO_INFRA_REQUIRED`). `make test` reads the same sources without terraform, by the
provider's schema.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.emulated_terraform import copy_of_sources
from tests.support.infra_tools import ENVIRONMENTS, TERRAFORM, Terraform, TerraformFailure
from tests.support.infra_tools import terraform as installing_terraform

SECONDS = 600


@pytest.mark.infra
def test_sources_are_formatted(terraform: Terraform):
    terraform.run(TERRAFORM, "fmt", "-check", "-recursive", "-diff", "-no-color")


NAMES = [*(path.name for path in sorted(ENVIRONMENTS.glob("*/"))), "bootstrap"]


def place_of(name: str, copy: Path) -> Path:
    return copy / name if name == "bootstrap" else copy / "environments" / name


@pytest.mark.infra
@pytest.mark.parametrize("name", NAMES)
def test_environments_are_valid(name, terraform: Terraform, tmp_path):
    folder = place_of(name, copy_of_sources(tmp_path))
    terraform.get(folder)
    assert terraform.diagnostics(folder, seconds=SECONDS) == []


@pytest.mark.infra
@pytest.mark.parametrize("name", NAMES)
def test_environments_are_initialised_as_an_operator_does(name, tmp_path):
    """Backends and what every module asks of the provider's version are read by `init` alone."""
    folder = place_of(name, copy_of_sources(tmp_path))
    said = installing_terraform().run(folder, "init", "-backend=false", "-input=false", "-no-color", seconds=SECONDS)
    assert "Terraform has been successfully initialized!" in said


@pytest.mark.infra
def test_a_provider_that_does_not_suit_is_noticed(tmp_path):
    folder = copy_of_sources(tmp_path) / "environments" / "dev"
    versions = (folder / "versions.tf").read_text()
    assert ">= 5.100, < 7.0" in versions
    (folder / "versions.tf").write_text(versions.replace(">= 5.100, < 7.0", ">= 7.0"))
    with pytest.raises(TerraformFailure, match="no available releases match"):
        installing_terraform().run(folder, "init", "-backend=false", "-input=false", "-no-color", seconds=SECONDS)


@pytest.mark.infra
def test_an_invalid_environment_is_noticed(terraform: Terraform, tmp_path):
    folder = copy_of_sources(tmp_path) / "environments" / "dev"
    (folder / "mistake.tf").write_text('resource "aws_sns_topic" "x" {\n  topic_name = "x"\n}\n')
    terraform.get(folder)
    with pytest.raises(TerraformFailure, match="topic_name"):
        terraform.diagnostics(folder, seconds=SECONDS)
