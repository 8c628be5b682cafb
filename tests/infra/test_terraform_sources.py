"""Terraform's sources, read without terraform: every folder of them follows the rules, and every rule can fail."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support import terraform_rules as rules
from tests.support.infra_tools import CONTAINER, ENVIRONMENTS, MODULES, ROOT, TERRAFORM
from tests.support.terraform_sources import Sources, wiring_mistakes

NAMES = ("dev", "staging", "production")
# What the deployment promises to have, each as a module of its own (docs/deployment).
PROMISED_MODULES = {
    "network", "registry", "alb", "ecs_service", "database", "cache", "sessions", "storage", "secrets", "identity",
    "events", "functions", "monitoring", "canary", "waf", "cdn", "budgets", "backup",
}  # fmt: skip


def folders() -> list[Path]:
    """Every folder that holds Terraform sources."""
    found = {path.parent for path in TERRAFORM.rglob("*.tf") if ".terraform" not in path.parts}
    return sorted(found)


def modules() -> list[Path]:
    """The modules that others call; a folder inside one is a part of it."""
    return sorted(path for path in MODULES.iterdir() if any(path.glob("*.tf"))) if MODULES.is_dir() else []


def name_of(folder: Path) -> str:
    return folder.relative_to(TERRAFORM).as_posix()


@pytest.mark.parametrize("folder", folders(), ids=name_of)
def test_sources_follow_every_rule(folder):
    sources = Sources.read(folder)
    # An example shows a call with its values; it is no interface, and its module holds the versions.
    spared = {rules.untyped_variables, rules.undescribed_outputs, rules.unpinned_versions}
    wanted = [rule for rule in rules.EVERYWHERE if not ("examples" in folder.parts and rule in spared)]
    assert [mistake for rule in wanted for mistake in rule(sources)] == []


@pytest.mark.parametrize("module", modules(), ids=name_of)
def test_a_module_is_whole(module):
    assert Sources.read(module).all("resource") + Sources.read(module).all("module") != []
    for name in ("variables.tf", "outputs.tf", "versions.tf", "README.md", "examples/basic/main.tf"):
        assert (module / name).is_file(), f"{name_of(module)} has no {name}"
    assert list((module / "tests").glob("*.tftest.hcl")), f"{name_of(module)} has no tests"
    readme = (module / "README.md").read_text()
    assert 5 <= len(readme.splitlines()) <= 150, "a README is a page"
    assert Sources.read(module).all("provider") == [], "a module configures no provider"


@pytest.mark.parametrize("module", modules(), ids=name_of)
def test_variables_stand_in_variables_and_outputs_in_outputs(module):
    sources = Sources.read(module)
    assert all(block.file.startswith("variables") for block in sources.all("variable"))
    assert {block.file for block in sources.all("output")} <= {"outputs.tf"}


@pytest.mark.parametrize("module", modules(), ids=name_of)
def test_a_modules_example_calls_it_as_it_is(module):
    example = Sources.read(module / "examples" / "basic")
    assert any((example.folder / str(call.body["source"])).resolve() == module for call in example.all("module"))
    assert wiring_mistakes(example) == []


def test_every_promised_module_exists_and_is_used():
    present = {path.name for path in modules()}
    assert present >= PROMISED_MODULES
    sources = [Sources.read(folder) for folder in folders() if "examples" not in folder.parts]
    called = {Path(str(call.body["source"])).name for each in sources for call in each.all("module")}
    assert present <= called, f"no environment reaches {sorted(present - called)}"


def test_environments_are_thin_and_cannot_drift():
    for name in NAMES:
        sources = Sources.read(ENVIRONMENTS / name)
        assert sources.all("resource") == [], f"{name} makes something that the other environments do not"
        assert [Path(str(call.body["source"])).name for call in sources.all("module")] == ["caio"]


def test_each_environment_keeps_its_own_state():
    assert rules.state_keys({name: Sources.read(ENVIRONMENTS / name) for name in NAMES}) == []


@pytest.mark.parametrize("name", NAMES)
def test_example_values_are_complete(name):
    sources = Sources.read(ENVIRONMENTS / name)
    assert rules.example_values(sources, (ENVIRONMENTS / name / "terraform.tfvars.example").read_text()) == []


@pytest.mark.parametrize("name", NAMES)
def test_environments_tell_what_the_container_contract_promises(name):
    outputs = yaml.safe_load(CONTAINER.read_text())["outputs"]
    sources = Sources.read(ENVIRONMENTS / name)
    assert sources.declared("output") == set(outputs)
    (endpoint,) = (block for block in sources.all("output") if block.labels == ("db_endpoint",))
    assert endpoint.body["sensitive"] is True


def test_no_lock_file_nor_state_nor_values_are_kept():
    kept = [path for path in TERRAFORM.rglob("*") if re.search(r"\.tfstate|\.tfplan$|\.tfvars$", path.name)]
    ignored = (ROOT / ".gitignore").read_text().splitlines()
    assert kept == [] or {"*.tfstate*", "*.tfvars", "*.tfplan"} <= set(ignored)


# --- every rule can fail --------------------------------------------------------------------------

GOOD = """
terraform {
  required_version = ">= 1.9, < 2.0"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.100, < 7.0"
    }
  }
}
variable "name" {
  description = "Prefix of every name."
  type        = string
  validation {
    condition     = length(var.name) > 3
    error_message = "A name needs more than three letters."
  }
}
locals {
  bucket = "${var.name}-artifacts" # not latest
}
resource "aws_s3_bucket" "artifacts" {
  bucket = local.bucket
}
output "bucket" {
  description = "Name of the bucket."
  value       = aws_s3_bucket.artifacts.bucket
}
"""

MISTAKES: list[tuple[Callable[[Sources], Any], str, str]] = [
    (rules.untyped_variables, "  type        = string\n", ""),
    (rules.untyped_variables, '"Prefix of every name."', '"TBD"'),
    (rules.undescribed_outputs, '"Name of the bucket."', '""'),
    (rules.unpinned_versions, '">= 1.9, < 2.0"', '">= 1.0"'),
    (rules.unpinned_versions, '">= 5.100, < 7.0"', '">= 5.0"'),
    (rules.unpinned_versions, "locals {", 'module "m" {\n  source = "terraform-aws-modules/vpc/aws"\n}\nlocals {'),
    (rules.foreign_providers, "aws_s3_bucket", "random_password"),
    (rules.long_files, "locals {", "\n" * 300 + "locals {"),
    (rules.credentials, "-artifacts", "-AKIAABCDEFGHIJKLMNOP"),
    (rules.credentials, "locals {", 'variable "db_password" {\n  type = string\n}\nlocals {'),
    (rules.credentials, "locals {", 'variable "token" {\n  sensitive = true\n  default = "x"\n}\nlocals {'),
    (rules.credentials, 'output "bucket"', 'output "auth_token"'),
    (rules.credentials, "locals {", 'provider "aws" {\n  access_key = "x"\n}\nlocals {'),
    (rules.mutable_images, "-artifacts", ":latest"),
    (rules.unread_validations, "length(var.name) > 3", "length(local.bucket) > 3"),
    (rules.unread_validations, '"A name needs more than three letters."', '"Invalid."'),
    (wiring_mistakes, "bucket = local.bucket", "bucket = var.bucket_name"),
    (wiring_mistakes, "bucket = local.bucket", "bucket = local.buckets"),
    (wiring_mistakes, "locals {", 'variable "unused" {\n  type = string\n}\nlocals {'),
    (wiring_mistakes, "aws_s3_bucket.artifacts.bucket", "module.storage.bucket"),
]


@pytest.mark.parametrize(
    ("rule", "right", "wrong"), MISTAKES, ids=[f"{rule.__name__}-{n}" for n, (rule, _, _) in enumerate(MISTAKES)]
)
def test_every_rule_notices_its_mistake(rule, right, wrong):
    assert right in GOOD
    assert rule(Sources.of({"main.tf": GOOD})) == []
    assert rule(Sources.of({"main.tf": GOOD.replace(right, wrong)})), "the rule did not notice"


def backend(key: str, lock: str = "use_lockfile = true", encrypt: str = "true") -> Sources:
    text = f'terraform {{\n  backend "s3" {{\n    key = "{key}"\n    {lock}\n    encrypt = {encrypt}\n  }}\n}}'
    return Sources.of({"backend.tf": text})


def test_a_shared_or_unlocked_state_is_noticed():
    dev, staging = "caio-saas/dev/terraform.tfstate", "caio-saas/staging/terraform.tfstate"
    assert rules.state_keys({"dev": backend(dev), "staging": backend(staging)}) == []
    assert "staging shares its state with dev" in rules.state_keys({"dev": backend(dev), "staging": backend(dev)})
    assert rules.state_keys({"dev": backend(dev, lock="")}) == ["dev does not lock its state"]
    assert rules.state_keys({"dev": backend(dev, encrypt="false")}) == ["dev does not encrypt its state"]
    assert rules.state_keys({"dev": Sources.of({"main.tf": ""})}) == ["dev has no backend s3"]


def test_an_example_that_lacks_a_value_or_has_one_too_many_is_noticed():
    sources = Sources.of({"variables.tf": 'variable "a" {\n}\nvariable "b" {\n  default = 1\n}'})
    assert rules.example_values(sources, "a = 1\n# b = 2") == []
    assert rules.example_values(sources, "b = 1") == ["a is required and not given"]
    assert rules.example_values(sources, "a = 1\nc = 1") == ["c is given and not declared"]
