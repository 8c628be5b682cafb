"""The container's contract, read from infrastructure/container.yaml: what a deployment gives the image, to the letter.

Synthesis fails when a container would get a variable or a secret that the contract does not name, or lacks one that it
does: the difference is found before anything is deployed, by name.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import yaml

Role = Literal["api", "worker", "migration"]

_FILE = Path(__file__).resolve().parents[3] / "container.yaml"
_CONTRACT: dict[str, Any] = yaml.safe_load(_FILE.read_text())

API_PORT: int = _CONTRACT["ports"]["api"]
OPERATIONS_PORT: int = _CONTRACT["ports"]["operations"]
USER = str(_CONTRACT["user"])
DATA_DIRECTORY: str = _CONTRACT["data_directory"]
STOP_SECONDS: int = _CONTRACT["stop_seconds"]


def command(role: Role) -> list[str]:
    """What the image is told to do."""
    return [str(part) for part in _CONTRACT["commands"][role]]


def _names(kind: str, role: Role, *, trial: bool) -> set[str]:
    groups: dict[str, list[str]] = _CONTRACT[kind]
    named = {*groups["all"], *groups.get("migration" if role == "migration" else "serving", [])}
    return named - set(_CONTRACT["without_in_trial"]) if trial else named


def hold(role: Role, environment: Iterable[str], secrets: Iterable[str], *, trial: bool) -> None:
    """Raise ValueError unless the container gets what the contract names for its role, and its options at most."""
    for kind, given in (("environment", set(environment)), ("secrets", set(secrets))):
        due = _names(kind, role, trial=trial)
        options = set(_CONTRACT[kind].get("optional", [])) if role != "migration" else set()
        if not due <= given <= due | options:
            raise ValueError(
                f"The container `{role}` must get the {kind} that {_FILE.name} names: "
                f"missing {sorted(due - given)}, unknown {sorted(given - due - options)}."
            )
