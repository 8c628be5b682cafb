"""Every module's own tests (`terraform test`, a mocked provider, plans only) pass, and its example is valid.

The examples are validated together, called by one folder that gives each whatever it asks for: the provider is
started for all of them, which is what a validation costs.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.support.emulated_terraform import copy_of_sources
from tests.support.infra_tools import MODULES, TERRAFORM, Terraform, TerraformFailure
from tests.support.terraform_sources import Sources

pytestmark = pytest.mark.infra

WITH_TESTS = sorted({path.parent.parent for path in TERRAFORM.rglob("tests/*.tftest.hcl")})
SECONDS = 600


def outcome(printed: str) -> dict[str, str]:
    """The status of each run of `terraform test -json`, by its name."""
    lines = [json.loads(line) for line in printed.splitlines() if line.startswith("{")]
    runs = [line["test_run"] for line in lines if line.get("type") == "test_run"]
    return {f"{run['path']}: {run['run']}": run["status"] for run in runs if "status" in run}


@pytest.mark.parametrize("module", WITH_TESTS, ids=lambda folder: folder.relative_to(TERRAFORM).as_posix())
def test_a_modules_tests_pass(module, terraform: Terraform, tmp_path):
    folder = copy_of_sources(tmp_path) / module.relative_to(TERRAFORM)
    terraform.get(folder)
    runs = outcome(terraform.run(folder, "test", "-json", seconds=SECONDS))
    assert runs, "a test file without a run"
    assert {name: status for name, status in runs.items() if status != "pass"} == {}


def example_mistakes(terraform: Terraform, copy: Path) -> list[tuple[str, str]]:
    """What is wrong with the modules' examples in a copy of the sources; every module has one."""
    calls = ['variable "given" {\n  type = any\n}\n']
    for module in sorted((copy / "modules").glob("*/")):
        example = module / "examples" / "basic"
        asked = "".join(f"  {name} = var.given\n" for name in sorted(Sources.read(example).declared("variable")))
        calls.append(f'module "{module.name}" {{\n  source = "./modules/{module.name}/examples/basic"\n{asked}}}\n')
    (copy / "main.tf").write_text("\n".join(calls))
    terraform.get(copy)
    return terraform.diagnostics(copy, seconds=SECONDS)


def test_the_modules_examples_are_valid(terraform: Terraform, tmp_path):
    assert all((module / "examples" / "basic" / "main.tf").is_file() for module in MODULES.glob("*/"))
    assert example_mistakes(terraform, copy_of_sources(tmp_path)) == []


def test_an_example_out_of_step_with_its_module_is_noticed(terraform: Terraform, tmp_path):
    copy = copy_of_sources(tmp_path)
    for module in (copy / "modules").glob("*/"):
        if module.name not in {"sessions", "waf"}:
            shutil.rmtree(module)
    example = copy / "modules" / "sessions" / "examples" / "basic" / "main.tf"
    text = example.read_text()
    assert 'source = "../.."\n' in text
    example.write_text(text.replace('source = "../.."\n', 'source = "../.."\n  naem = "x"\n'))
    with pytest.raises(TerraformFailure, match="naem"):
        example_mistakes(terraform, copy)


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
    terraform.get(tmp_path)
    with pytest.raises(TerraformFailure, match="Too short"):
        terraform.run(tmp_path, "test", "-json")
