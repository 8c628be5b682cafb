"""Terraform's environments planned and applied against an emulated AWS, on a copy of the sources.

Theory of operation
-------------------
`infrastructure/aws/terraform` is copied; an environment's state stays in a file beside it instead of the bucket, and
one override file names the emulator's manners. Nothing else is changed. The values are those of the
environment's own terraform.tfvars.example: what a reader is told to start from is what is planned. The provider is
the real one. The emulator is a process of its own (`emulated_terraform_gaps`) on a free port of 127.0.0.1, discarded
afterwards.

What is *not* shown by it: that AWS accepts what moto accepts, and everything INFRASTRUCTURE's documents list as not
tested without an account.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tests.support.emulators import emulator, port_for_an_emulator
from tests.support.infra_tools import ROOT, TERRAFORM, Terraform
from tests.support.terraform_sources import Sources

SECONDS_TO_START = 300
SECONDS_TO_PLAN = 900
SECONDS_TO_APPLY = 1200

BOOTSTRAP = "bootstrap"  # made once for an account, before any environment

PROVIDER = """
provider "aws" {%s
  max_retries                 = 1
  s3_use_path_style           = true
  skip_credentials_validation = true
  skip_metadata_api_check     = true
}
"""
MOTO = {"MOTO_IAM_LOAD_MANAGED_POLICIES": "true", "MOTO_ACM_VALIDATION_WAIT": "1"}
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_REGION": "us-east-1"}


@contextmanager
def emulated_account(emulators: Path, folder: Path) -> Iterator[str]:
    """The address of a fresh emulated account, there while the block runs; `emulators` holds its interpreter."""
    port = port_for_an_emulator()
    command: list[str | Path] = [
        emulators / "python",
        "-W",
        "ignore",
        "-m",
        "tests.support.emulated_terraform_gaps",
        str(port),
    ]
    surroundings = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")} | MOTO
    with emulator(command, port, folder, environment=surroundings, at=ROOT, seconds=SECONDS_TO_START) as address:
        yield address


@dataclass(frozen=True)
class Planned:
    """What an environment's plan would make; `state` too where it was applied."""

    environment: str
    plan: dict[str, Any]
    state: dict[str, Any] | None = None


def copy_of_sources(folder: Path) -> Path:
    """The Terraform sources, without what earlier runs left in them."""
    copy = folder / "terraform"
    shutil.copytree(TERRAFORM, copy, ignore=shutil.ignore_patterns(".terraform", "*.tfstate*", "*.tfplan"))
    return copy


def override(folder: Path) -> str:
    """What leads an environment's providers to the emulator, the aliased ones too."""
    aliases = [block.body.get("alias") for block in Sources.read(folder).all("provider")]
    lines = [f'\n  alias = "{alias}"' if alias else "" for alias in aliases]
    return "".join(PROVIDER % line for line in lines)


def plan_environment(terraform: Terraform, emulators: Path, environment: str, folder: Path, *, apply: bool) -> Planned:
    """Plan an environment by its own example values, where it may have a canary with one; with `apply`, also make it.

    Raises TerraformFailure with what terraform said when a step fails.
    """
    copy = copy_of_sources(folder)
    place = copy / environment if environment == BOOTSTRAP else copy / "environments" / environment
    (place / "backend.tf").unlink(missing_ok=True)
    (place / "emulator_override.tf").write_text(override(place))
    values = ["-var-file=terraform.tfvars.example"]
    if "canary_code_key" in (place / "variables.tf").read_text():
        values.append("-var=canary_code_key=canary/code.zip")  # as it is from the second apply on
    with emulated_account(emulators, folder) as address:
        # Given by the environment, credentials reach the providers of other regions too, which no override can name.
        account = {"AWS_ENDPOINT_URL": address, "AWS_REGION": "us-east-1", "AWS_ACCESS_KEY_ID": "testing"}
        account |= {"AWS_SECRET_ACCESS_KEY": "testing", "AWS_MAX_ATTEMPTS": "1", "AWS_EC2_METADATA_DISABLED": "true"}
        here = replace(terraform, surroundings=account)
        here.get(place)
        started = time.monotonic()
        here.run(place, "plan", "-input=false", "-no-color", "-out=plan", *values, seconds=SECONDS_TO_PLAN)
        plan = here.document(place, "show", "-json", "plan")
        print(f"{environment}: planned in {time.monotonic() - started:.0f} s", file=sys.stderr)
        if not apply:
            return Planned(environment, plan)
        started = time.monotonic()
        here.run(place, "apply", "-input=false", "-no-color", "plan", seconds=SECONDS_TO_APPLY)
        state = here.document(place, "show", "-json")
        print(f"{environment}: applied in {time.monotonic() - started:.0f} s", file=sys.stderr)
    return Planned(environment, plan, state)


def read_planned(file: Path) -> Planned:
    """What `write_planned` kept."""
    kept = json.loads(file.read_text())
    return Planned(kept["environment"], kept["plan"], kept["state"])


def write_planned(planned: Planned, file: Path) -> None:
    """Keep a plan for the other processes of a test run."""
    draft = file.with_suffix(".draft")
    draft.write_text(json.dumps({"environment": planned.environment, "plan": planned.plan, "state": planned.state}))
    draft.replace(file)
