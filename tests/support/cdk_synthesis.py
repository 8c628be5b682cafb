"""The CDK application synthesised as an operator does it, in its own environment, once for all processes of a test run.

Nothing of AWS is in its environment: a synthesis that looked something up would fail.
"""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.support.infra_tools import CACHE, CDK, environment

SECONDS = 400
FULL = ("CaioNetworkStack", "CaioAuthStack", "CaioInfrastructureStack")
QUICK_START = "CaioQuickStart"
PUBLISHED = CDK.parent / "quickstart" / "caio-quickstart.template.json"

Template = dict[str, Any]


def run_cdk(folder: Path, *command: str, context: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """`python COMMAND` in the CDK's environment and folder, writing its assembly into `folder`."""
    own = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "CDK_OUTDIR": str(folder),
        "CDK_CONTEXT_JSON": json.dumps(dict(context or {})),
        "JSII_RUNTIME_PACKAGE_CACHE_ROOT": str(CACHE / "jsii"),  # unpacked once, not at every synthesis
        "JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    python = str(environment("cdk") / "python")
    return subprocess.run(
        [python, *command], cwd=CDK, env=own, capture_output=True, text=True, timeout=SECONDS, check=False
    )


def synthesised(
    shared: Path, name: str, context: Mapping[str, str] | None = None, command: Sequence[str] = ("app.py",)
) -> tuple[Path, str]:
    """The assembly that `command` makes with `context`, and what it printed; made once in a test run, under `name`.

    Raises AssertionError with what CDK said, in every process that asks for it, when it fails.
    """
    folder, said, failed = (shared / f"cdk-{name}{suffix}" for suffix in ("", ".said", ".failed"))
    with (shared / f"cdk-{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not said.exists():
            folder.mkdir()
            done = run_cdk(folder, *command, context=context)
            if done.returncode:
                failed.write_text(done.stdout + done.stderr)
            said.write_text(done.stdout)
    assert not failed.exists(), failed.read_text()
    return folder, said.read_text()


def template(assembly: Path, stack: str) -> Template:
    return json.loads((assembly / f"{stack}.template.json").read_text())  # type: ignore[no-any-return]


def of_type(template: Template, kind: str) -> dict[str, Any]:
    """The properties of every resource of a type, by logical id."""
    return {name: each.get("Properties", {}) for name, each in template["Resources"].items() if each["Type"] == kind}


def containers(template: Template) -> dict[str, dict[str, Any]]:
    """Every container of every task definition, by its name: no two have the same but the collectors."""
    tasks = of_type(template, "AWS::ECS::TaskDefinition").values()
    return {each["Name"]: each for task in tasks for each in task["ContainerDefinitions"]}


def names_given(container: Mapping[str, Any]) -> tuple[set[str], set[str]]:
    """The names of a container's plain values, and of its secrets."""
    plain, secret = ({each["Name"] for each in container.get(kind, ())} for kind in ("Environment", "Secrets"))
    return plain, secret
