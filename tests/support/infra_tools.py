"""The tools that check the infrastructure: environments apart from .venv, and terraform with the providers found here.

Theory of operation
-------------------
Checkers of Terraform, CloudFormation and charts pin what CAIO pins otherwise, so each lives in an environment of its
own, `.cache/infra/NAME`, which `scripts/setup-infra` makes from hash-pinned files. Terraform is looked for on PATH; its
providers come from a filesystem mirror that is *discovered* (the folders Terraform itself knows, then the machine's
usual places), or from the registry where CAIO_TERRAFORM_REGISTRY=1 says that there is a network.

Terraform hashes a provider's 700 MB whenever it installs it and again at every command, which is most of what a check
costs. So it is installed once, and the checks name that package as Terraform's own `dev_overrides` let one: the same
program, asked without a hash. An environment of an operator's, installed the long way, is a check of its own.

A tool that is not here skips the test with the reason: a check that did not run is seen, and never counts as passed.
With CAIO_INFRA_REQUIRED=1 (CI) the same is a failure.
"""

from __future__ import annotations

import fcntl
import functools
import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Never

import pytest

ROOT = Path(__file__).parents[2]
INFRASTRUCTURE = ROOT / "infrastructure"
TERRAFORM = INFRASTRUCTURE / "aws" / "terraform"
MODULES = TERRAFORM / "modules"
ENVIRONMENTS = TERRAFORM / "environments"
CDK = INFRASTRUCTURE / "aws" / "cdk"
CACHE = ROOT / ".cache" / "infra"
CONTAINER = INFRASTRUCTURE / "container.yaml"

#: Of the time between SIGTERM and SIGKILL what drain and grace must leave a server, in seconds: to settle what it cut
#: off, to write, and to close.
LAST_SECONDS = 15

INSTALL_SECONDS = 400
PROVIDER = Path("registry.terraform.io", "hashicorp", "aws")
IN_PLACE = "Provider development overrides are in effect"


def missing(reason: str) -> Never:
    """Skip the test for want of a tool, saying which; where CAIO_INFRA_REQUIRED is set, fail it."""
    if os.environ.get("CAIO_INFRA_REQUIRED"):
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


@functools.cache
def _installed(name: str) -> str | None:
    """Why there is no environment `name`; None when it is there."""
    command = [str(ROOT / "scripts" / "setup-infra"), name]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return f"not installed within {INSTALL_SECONDS} s"
    return None if done.returncode == 0 else (done.stderr.strip().splitlines() or ["no reason given"])[-1]


def environment(name: str) -> Path:
    """The folder of the programs of environment `name`, installed when it was not; skips where that cannot be done."""
    if (reason := _installed(name)) is not None:
        missing(f"the environment `{name}` is not here: {reason} (scripts/setup-infra {name})")
    return CACHE / name / ("node_modules" if name == "npm" else "bin")


# --- terraform ----------------------------------------------------------------------------------


def _mirrors() -> list[Path]:
    """Where a filesystem mirror of providers may be: what Terraform itself looks at, then usual places of a machine."""
    home = Path.home()
    known = [Path(value) for value in [os.environ.get("CAIO_TERRAFORM_MIRROR")] if value]
    known += [home / ".terraform.d" / "plugins", home / ".local" / "share" / "terraform" / "plugins"]
    known += [Path("/usr/local/share/terraform/plugins"), Path("/usr/share/terraform/plugins")]
    for place in (Path("/opt"), Path("/srv"), Path("/usr/local/lib")):
        known += sorted(place.glob("*")) + sorted(place.glob("*/*")) if place.is_dir() else []
    return [each for each in known if (each / PROVIDER).is_dir()]


class TerraformFailure(Exception):
    """A command of terraform ended with a failure: what it said about it."""

    def __init__(self, command: Sequence[str], said: str) -> None:
        super().__init__(f"terraform {' '.join(command)}\n{said}")
        self.said = said


@dataclass(frozen=True)
class Terraform:
    """The terraform of this machine. It reads no configuration but ours, and no credentials but an emulator's."""

    binary: str
    settings: Path
    surroundings: Mapping[str, str] = field(default_factory=dict)

    def run(self, folder: Path, *arguments: str, seconds: float = 120, data: Path | None = None) -> str:
        """What `terraform ARGUMENTS` printed in `folder`; `data` keeps providers and modules out of the sources.

        Raises TerraformFailure when it fails, and subprocess.TimeoutExpired when it takes longer than `seconds`.
        """
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "TF_"))}
        own = {"TF_CLI_CONFIG_FILE": str(self.settings), "TF_IN_AUTOMATION": "1", "CHECKPOINT_DISABLE": "1"}
        own |= {"TF_DATA_DIR": str(data)} if data else {}
        done = subprocess.run(
            [self.binary, *arguments],
            cwd=folder,
            env=inherited | own | dict(self.surroundings),
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
        if done.returncode:
            said = done.stdout + done.stderr
            raise TerraformFailure(arguments, said[max(0, said.find("Error:")) :])  # not the plan before it
        return done.stdout

    def get(self, folder: Path, *, seconds: float = 120) -> None:
        """Fetch the modules that a folder calls: all of `init` that is left where the provider is in place."""
        self.run(folder, "get", "-no-color", seconds=seconds)

    def diagnostics(self, folder: Path, *, seconds: float = 120) -> list[tuple[str, str]]:
        """(severity, summary) of what `validate` finds; that the provider is in place is no finding."""
        found = self.document(folder, "validate", "-json", seconds=seconds)["diagnostics"]
        return [(each["severity"], each["summary"]) for each in found if each["summary"] != IN_PLACE]

    def document(self, folder: Path, *arguments: str, seconds: float = 120, data: Path | None = None) -> Any:
        """The JSON that a command printed."""
        return json.loads(self.run(folder, *arguments, seconds=seconds, data=data))


@functools.cache
def _settings() -> Path | str:
    """Terraform's own configuration file, or why there is none."""
    mirrors = _mirrors()
    if not mirrors and not os.environ.get("CAIO_TERRAFORM_REGISTRY"):
        return (
            "no filesystem mirror of terraform's providers was found; name one in CAIO_TERRAFORM_MIRROR, "
            "or set CAIO_TERRAFORM_REGISTRY=1 where there is a network"
        )
    return _written(
        "terraform.rc", f'filesystem_mirror {{\n    path = "{mirrors[0]}"\n  }}' if mirrors else "direct {}"
    )


def _written(name: str, installation: str) -> Path:
    """A configuration file of Terraform's in the cache, which says where providers come from."""
    text = f"disable_checkpoint = true\nprovider_installation {{\n  {installation}\n}}\n"
    CACHE.mkdir(parents=True, exist_ok=True)
    settings = CACHE / name
    if not settings.is_file() or settings.read_text() != text:
        draft = CACHE / f"{name}.{os.getpid()}"
        draft.write_text(text)
        draft.replace(settings)  # at once: another test process may be reading it
    return settings


@functools.cache
def terraform() -> Terraform:
    """The terraform of this machine, which installs providers by `init`; skips where it or its provider is not here."""
    binary = shutil.which("terraform")
    if binary is None:
        missing("terraform was not found on PATH")
    settings = _settings()
    if isinstance(settings, str):
        missing(settings)
    return Terraform(binary, settings)


@functools.cache
def terraform_with_provider() -> Terraform:
    """The same with the provider in place: `get` is all that a folder needs before it is validated, planned, tested."""
    here = terraform()
    folder = CACHE / "provider"
    folder.mkdir(parents=True, exist_ok=True)
    wanted = (MODULES / "network" / "versions.tf").read_text()  # every module asks for the same
    held = folder / "versions.tf"
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not held.is_file() or held.read_text() != wanted or not _package(folder):
            shutil.rmtree(folder / ".terraform", ignore_errors=True)
            held.write_text(wanted)
            here.run(folder, "init", "-upgrade", "-input=false", "-no-color", seconds=INSTALL_SECONDS)
    overrides = f'dev_overrides {{\n    "hashicorp/aws" = "{_package(folder)}"\n  }}\n  direct {{}}'
    return replace(here, settings=_written("terraform-with-provider.rc", overrides))


def _package(folder: Path) -> Path | None:
    """Where the provider's program is that a folder was initialised with; None where it is not, or no more."""
    found = [each.resolve() for each in (folder / ".terraform" / "providers" / PROVIDER).glob("*/*") if each.is_dir()]
    return found[0] if found else None
