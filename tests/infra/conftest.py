"""What the checks of the infrastructure share: terraform, and each environment planned once for all processes."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.emulated_terraform import Planned, plan_environment, read_planned, write_planned
from tests.support.infra_tools import Terraform, TerraformFailure, environment, terraform_with_provider
from tests.support.recorded_operations import Operations, operations_in

APPLIED = "staging"  # planned like the others, and made as well


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whatever asks for a plan is slow: it belongs to `make test-infra`, and need not say so itself."""
    for item in items:
        if {"planned", "each_plan"} & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.infra)


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """One process of the run at a time."""
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@pytest.fixture
def operations(tmp_path: Path) -> Operations:
    """The operations of infrastructure/aws, with programs that only write down."""
    return operations_in(tmp_path)


@pytest.fixture(scope="session")
def terraform() -> Terraform:
    return terraform_with_provider()


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """A folder that all processes of this run see; CAIO_KEPT_PLANS names one that outlives the run."""
    if kept := os.environ.get("CAIO_KEPT_PLANS"):
        Path(kept).mkdir(parents=True, exist_ok=True)
        return Path(kept)
    base = tmp_path_factory.getbasetemp()
    return base if worker_id == "master" else base.parent


@pytest.fixture(scope="session")
def planned(terraform: Terraform, shared_folder: Path) -> Callable[[str], Planned]:
    """`planned(environment)`: its plan, and its state where it is the applied one; made once in a test run.

    A plan that failed fails every test that asks for it, with what terraform said, and is not tried again.
    """
    emulators = environment("emulators")

    def plan(name: str) -> Planned:
        kept, failed = shared_folder / f"planned-{name}.json", shared_folder / f"planned-{name}.failed"
        with _alone(shared_folder / f"planned-{name}.lock"):
            if failed.exists():
                pytest.fail(failed.read_text(), pytrace=False)
            if not kept.exists():
                folder = shared_folder / f"terraform-{name}"
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir()
                try:
                    write_planned(plan_environment(terraform, emulators, name, folder, apply=name == APPLIED), kept)
                except (TerraformFailure, RuntimeError, subprocess.SubprocessError) as error:
                    failed.write_text(f"{name} could not be planned: {error}")
                    pytest.fail(failed.read_text(), pytrace=False)
        return read_planned(kept)

    return plan


@pytest.fixture(scope="session", params=["dev", "staging", "production"])
def each_plan(request: pytest.FixtureRequest, planned: Callable[[str], Planned]) -> Planned:
    """The plan of each environment in turn."""
    return planned(request.param)
