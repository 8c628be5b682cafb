"""Terraform's own judgement of the sources: its format, and the environments, which reach every module, are valid.

Both need terraform; `validate` needs the real provider as well. Where they are not, the tests are skipped and say so.
One environment is validated in every run of the tests, since all compose the same module; the others and bootstrap by
`make test-infra`.
"""

from __future__ import annotations

import pytest

from tests.support.emulated_terraform import copy_of_sources
from tests.support.infra_tools import ENVIRONMENTS, TERRAFORM, Terraform, TerraformFailure

SECONDS = 240


def test_sources_are_formatted(terraform: Terraform):
    terraform.run(TERRAFORM, "fmt", "-check", "-recursive", "-diff", "-no-color")


def validate(terraform: Terraform, folder):
    terraform.run(folder, "init", "-backend=false", "-input=false", "-no-color", seconds=SECONDS)
    return terraform.document(folder, "validate", "-json", seconds=SECONDS)


FIRST = "production"
FURTHER = [path.name for path in sorted(ENVIRONMENTS.glob("*/")) if path.name != FIRST] + ["bootstrap"]


@pytest.mark.parametrize("name", [FIRST, *(pytest.param(name, marks=pytest.mark.infra) for name in FURTHER)])
def test_environments_are_valid(name, terraform: Terraform, tmp_path):
    copy = copy_of_sources(tmp_path)
    folder = copy / name if name == "bootstrap" else copy / "environments" / name
    answer = validate(terraform, folder)
    assert [(each["severity"], each["summary"]) for each in answer["diagnostics"]] == []
    assert answer["valid"]


@pytest.mark.infra
def test_an_invalid_environment_is_noticed(terraform: Terraform, tmp_path):
    folder = copy_of_sources(tmp_path) / "environments" / "dev"
    (folder / "mistake.tf").write_text('resource "aws_sns_topic" "x" {\n  topic_name = "x"\n}\n')
    with pytest.raises(TerraformFailure, match="topic_name"):
        validate(terraform, folder)
