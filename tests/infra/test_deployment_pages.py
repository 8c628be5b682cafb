"""What the pages on deployment and the runbooks tell people to type exists, and every alarm has its page."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest
from typer.main import get_command

from caio.cli.main import app
from tests.support.caio_command import CAIO
from tests.support.infra_tools import INFRASTRUCTURE

ROOT = Path(__file__).parents[2]
PAGES = sorted([*(ROOT / "docs" / "deployment").glob("*.md"), *(ROOT / "docs" / "runbooks").glob("*.md")])
MAKEFILE = ROOT / "infrastructure" / "aws" / "Makefile"
MONITORING = ROOT / "infrastructure" / "aws" / "terraform" / "modules" / "monitoring"

_FENCE = re.compile(r"```sh[^\n]*\n(?P<text>.*?)```", re.DOTALL)
_CODE = re.compile(r"`([^`\n]+)`")


def typed(page: str) -> list[list[str]]:
    """The commands of a page, in words: of its blocks of shell, and of its code within sentences."""
    lines = [line for fence in _FENCE.finditer(page) for line in fence["text"].replace("\\\n", " ").splitlines()]
    lines += _CODE.findall(_FENCE.sub("", page))
    found = []
    for line in lines:
        for part in re.split(r"&&|;|\||\$\(", re.sub(r"^export \S+;", "", line)):
            try:
                words = shlex.split(part, comments=True)
            except ValueError:
                continue
            if words and words[0] in ("make", "caio"):
                found.append(words)
    return found


def targets_asked(words: list[str]) -> list[str]:
    """What ``make`` is asked for: neither its options nor variables."""
    rest = words[1:]
    if rest[:1] == ["-C"]:
        rest = rest[2:]
    return [each for each in rest if "=" not in each and not each.startswith("-")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_targets_that_pages_name_exist(page: Path) -> None:
    ours = set(re.findall(r"^([a-z][a-z0-9-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    operations = set(re.findall(r"^([a-z][a-z0-9-]*):", MAKEFILE.read_text(), re.MULTILINE))
    asked = {name for words in typed(page.read_text()) if words[0] == "make" for name in targets_asked(words)}
    assert asked <= ours | operations


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_commands_that_pages_name_exist(page: Path) -> None:
    for words in typed(page.read_text()):
        if words[0] == "caio":
            assert unknown(words[1:]) == [], " ".join(words)


def unknown(words: list[str]) -> list[str]:
    """The commands and options in ``words`` that ``caio`` does not have."""
    command = get_command(app)
    wrong, rest = [], iter(words)
    for word in rest:
        if word.startswith("--"):
            option = next((each for each in command.params if word in each.opts), None)
            if option is None:
                wrong.append(word)
            elif not getattr(option, "is_flag", False):
                next(rest, None)  # its value
        elif hasattr(command, "get_command") and re.fullmatch(r"[a-z][a-z-]*", word):
            further = command.get_command(None, word)
            if further is None:
                wrong.append(word)
            else:
                command = further
    return wrong


def test_what_is_not_there_is_noticed() -> None:
    page = "```sh\ncaio nosuch --all\nmake -C infrastructure/aws no-target ENV=x\n```\n`caio ops smoke URL --loud`"
    first, second, third = typed(page)
    assert (unknown(first[1:]), targets_asked(second), unknown(third[1:])) == (
        ["nosuch", "--all"],
        ["no-target"],
        ["--loud"],
    )


def test_every_runbook_is_on_their_page() -> None:
    index = (ROOT / "docs" / "runbooks" / "README.md").read_text()
    for page in (ROOT / "docs" / "runbooks").glob("*.md"):
        assert page.name == "README.md" or f"({page.name})" in index


def test_no_page_says_that_something_was_drilled() -> None:
    """Each runbook says what was tried where; nothing was on AWS."""
    for page in (ROOT / "docs" / "runbooks").glob("*.md"):
        assert re.search(r"[Nn]ot drilled|drilled on AWS", page.read_text()), page.name


def test_what_pages_say_to_set_is_a_variable_of_every_environment() -> None:
    environments = sorted((INFRASTRUCTURE / "aws" / "terraform" / "environments").glob("*/variables.tf"))
    said = {name for page in PAGES for name in re.findall(r"[Ss]et `([a-z_]+)`", page.read_text())}
    assert "retired_signing_keys" in said
    for each in environments:
        assert said <= set(re.findall(r'^variable "(\w+)"', each.read_text(), re.MULTILINE)), each


@pytest.mark.infra
def test_what_is_typed_into_a_task_works_there(tmp_path: Path) -> None:
    """ECS Exec is root without capabilities: it may write below /tmp, and not into the server's own directory."""
    cdk = INFRASTRUCTURE / "aws" / "cdk"
    places = [*PAGES, cdk / "README.md", cdk / "caio_cdk" / "quickstart.py"]
    said = "\n".join(place.read_text() for place in places)
    keys = re.findall(r"""(?:--command ['"]|FIRST_KEY = ")(env \S+ |)(caio [^'"]+)""", said)
    assert len(keys) >= 3
    for number, (given, command) in enumerate(keys):
        assert given == "env CAIO_DATA_DIR=/tmp/operator ", command
        environment = {"PATH": os.defpath, "CAIO_DATA_DIR": str(tmp_path / str(number))}
        words = [str(CAIO), *shlex.split(command)[1:]]
        done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
