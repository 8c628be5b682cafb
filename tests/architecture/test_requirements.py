"""The pinned files say what pyproject.toml asks for, hold hashes and no addresses, and hide no other `caio`."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from importlib.metadata import Distribution, distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
EXTRAS = PROJECT["project"]["optional-dependencies"].values()
RUNTIME = PROJECT["project"]["dependencies"] + [requirement for extra in EXTRAS for requirement in extra]
GROUPS = PROJECT["dependency-groups"]
WANTED = {
    "requirements.txt": RUNTIME,
    "requirements-build.txt": GROUPS["build"],
    "requirements-dev.txt": RUNTIME + GROUPS["dev"] + GROUPS["build"],
}
PIN = re.compile(r"^(?P<pin>\S+==[^\s;]+)(?P<marker> ; [^\\]+)? \\$")
HASH = re.compile(r"^    --hash=sha256:[0-9a-f]{64}( \\)?$")
ADVICE = "run `make requirements`"


@dataclass(frozen=True)
class Pin:
    name: str
    version: str
    hashes: int


def read_pins(text: str) -> list[Pin]:
    """The pins of a file; raises ValueError at a line that is neither a pin nor a hash."""
    pins: list[Pin] = []
    for line in text.splitlines():
        if match := PIN.match(line):
            name, _, version = match["pin"].partition("==")
            pins.append(Pin(canonicalize_name(name), version, 0))
        elif HASH.match(line) and pins:
            pins[-1] = Pin(pins[-1].name, pins[-1].version, pins[-1].hashes + 1)
        else:
            raise ValueError(f"neither a pin nor a hash: {line!r}")
    return pins


def out_of_step(wanted: list[str], pins: list[Pin]) -> list[str]:
    """The requirements that no pin, or only a pin of another release, answers to."""
    by_name: dict[str, list[str]] = {}
    for pin in pins:
        by_name.setdefault(pin.name, []).append(pin.version)
    missing = []
    for text in wanted:
        requirement = Requirement(text)
        versions = by_name.get(canonicalize_name(requirement.name), [])
        if not versions or not all(requirement.specifier.contains(version, prereleases=True) for version in versions):
            missing.append(f"{text} (pinned: {', '.join(versions) or 'not at all'})")
    return missing


@pytest.mark.parametrize("file", WANTED)
def test_pins_answer_every_requirement(file):
    assert out_of_step(WANTED[file], read_pins((ROOT / file).read_text())) == [], ADVICE


@pytest.mark.parametrize("file", WANTED)
def test_every_pin_has_a_hash_and_no_line_an_address(file):
    text = (ROOT / file).read_text()
    assert all(pin.hashes for pin in read_pins(text))  # read_pins refuses options, comments and addresses
    assert "://" not in text


@pytest.mark.parametrize("file", ["requirements.txt", "requirements-build.txt"])
def test_the_dev_set_holds_the_other_sets(file):
    dev = {(pin.name, pin.version) for pin in read_pins((ROOT / "requirements-dev.txt").read_text())}
    assert {(pin.name, pin.version) for pin in read_pins((ROOT / file).read_text())} <= dev


def test_a_file_out_of_step_is_noticed():
    pins = read_pins("rich==15.0.0 \\\n    --hash=sha256:" + "0" * 64)
    assert out_of_step(["rich>=14,<16"], pins) == []
    assert out_of_step(["rich<15"], pins) == ["rich<15 (pinned: 15.0.0)"]
    assert out_of_step(["Typer"], pins) == ["Typer (pinned: not at all)"]
    for line in ("--index-url https://example.org/simple", "rich", "rich @ file:///tmp/rich.whl", "# via rich"):
        with pytest.raises(ValueError, match="neither"):
            read_pins(line)


def owns_top_level(distribution: Distribution, name: str) -> bool:
    """Whether a distribution installs a package or module of this name at the top."""
    tops = {path.parts[0] for path in distribution.files or () if path.parts}
    return bool(tops & {name, f"{name}.py", f"{name}.pth"})


def test_no_dependency_brings_a_package_named_caio():
    installed = list(distributions())
    assert len(installed) > 30  # the environment is really looked at
    owners = {found.metadata["Name"] for found in installed if owns_top_level(found, "caio")}
    assert owners <= {PROJECT["project"]["name"]}
    assert any(owns_top_level(found, "pydantic") for found in installed)
