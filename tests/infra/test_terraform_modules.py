"""Every module's own tests (`terraform test`, a mocked provider, plans only) pass, and its example is valid."""

from __future__ import annotations

import json

import pytest

from tests.support.emulated_terraform import copy_of_sources
from tests.support.infra_tools import MODULES, TERRAFORM, Terraform, TerraformFailure

pytestmark = pytest.mark.infra

WITH_TESTS = sorted({path.parent.parent for path in TERRAFORM.rglob("tests/*.tftest.hcl")})
SECONDS = 200


def outcome(printed: str) -> dict[str, str]:
    """The status of each run of `terraform test -json`, by its name."""
    lines = [json.loads(line) for line in printed.splitlines() if line.startswith("{")]
    runs = [line["test_run"] for line in lines if line.get("type") == "test_run"]
    return {f"{run['path']}: {run['run']}": run["status"] for run in runs if "status" in run}


@pytest.mark.parametrize("module", WITH_TESTS, ids=lambda folder: folder.relative_to(TERRAFORM).as_posix())
def test_a_modules_tests_pass(module, terraform: Terraform, tmp_path):
    folder = copy_of_sources(tmp_path) / module.relative_to(TERRAFORM)
    terraform.run(folder, "init", "-backend=false", "-input=false", "-no-color", seconds=SECONDS)
    runs = outcome(terraform.run(folder, "test", "-json", seconds=SECONDS))
    assert runs, "a test file without a run"
    assert {name: status for name, status in runs.items() if status != "pass"} == {}


@pytest.mark.parametrize("module", sorted(path.parents[2] for path in MODULES.glob("*/examples/basic/main.tf")),
                         ids=lambda folder: folder.name)  # fmt: skip
def test_a_modules_example_is_valid(module, terraform: Terraform, tmp_path):
    folder = copy_of_sources(tmp_path) / (module / "examples" / "basic").relative_to(TERRAFORM)
    terraform.run(folder, "init", "-backend=false", "-input=false", "-no-color", seconds=SECONDS)
    assert terraform.document(folder, "validate", "-json", seconds=SECONDS)["valid"]


FAILING = """
run "short" {
  command = plan
  variables {
    name = "x"
  }
  assert {
    condition     = length(var.name) > 1
    error_message = "Too short."
  }
}
"""


def test_a_failing_run_is_noticed(terraform: Terraform, tmp_path):
    (tmp_path / "main.tf").write_text('variable "name" {\n  type = string\n}\n')
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "name.tftest.hcl").write_text(FAILING)
    terraform.run(tmp_path, "init", "-no-color")
    with pytest.raises(TerraformFailure, match="Too short"):
        terraform.run(tmp_path, "test", "-json")
