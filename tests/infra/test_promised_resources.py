"""The table of what is built: every row names a file that holds the resource, and a check that exists."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "deployment" / "AWS_ARCHITECTURE.md"
_ROW = re.compile(
    r"^\| (?P<layer>[a-z]+) \| (?P<promised>[^|]+) \| `(?P<resource>aws_\w+)` \| \[[^]]+\]\((?P<file>[^)]+)\) "
    r"\| \[`(?P<check>\w+)`\]\((?P<tests>[^)]+)\) \|$",
    re.MULTILINE,
)
#: The layers of the table of requirements, and what comes before them.
_LAYERS = {
    "network",
    "entry",
    "compute",
    "database",
    "cache",
    "sessions",
    "objects",
    "secrets",
    "identity",
    "events",
    "observability",
    "money",
    "recovery",
    "audit",
    "bootstrap",
}


class Row(NamedTuple):
    layer: str
    promised: str
    resource: str
    file: Path
    check: str
    tests: Path

    def mistakes(self) -> list[str]:
        source = self.file.read_text() if self.file.is_file() else ""
        checks = self.tests.read_text() if self.tests.is_file() else ""
        found = []
        if f'resource "{self.resource}"' not in source:
            found.append(f"{self.promised}: {self.file.name} holds no {self.resource}")
        if not re.search(rf"^(async )?def {self.check}\b", checks, re.MULTILINE):
            found.append(f"{self.promised}: {self.tests.name} has no {self.check}")
        return found


def rows(page: str) -> list[Row]:
    return [
        Row(
            match["layer"],
            match["promised"],
            match["resource"],
            (PAGE.parent / match["file"]).resolve(),
            match["check"],
            (PAGE.parent / match["tests"]).resolve(),
        )
        for match in _ROW.finditer(page)
    ]


def test_every_promise_is_kept_by_a_file_and_proved_by_a_check() -> None:
    found = rows(PAGE.read_text())
    assert [mistake for row in found for mistake in row.mistakes()] == []


def test_no_row_is_overlooked() -> None:
    page = PAGE.read_text()
    table = page[page.index("| layer | promised |") :].split("\n\n")[0].splitlines()[2:]
    assert len(rows(page)) == len(table) > 40
    assert {row.layer for row in rows(page)} == _LAYERS


def test_every_module_is_in_the_table() -> None:
    modules = {each.name for each in (ROOT / "infrastructure" / "aws" / "terraform" / "modules").iterdir()} - {"caio"}
    assert modules <= {row.file.parent.name for row in rows(PAGE.read_text())}


def test_a_row_that_promises_too_much_is_noticed() -> None:
    (row,) = rows(
        "| network | a moon | `aws_moon` | [`x`](../../infrastructure/aws/terraform/modules/network/main.tf) "
        "| [`test_no_such`](../../tests/infra/test_promised_resources.py) |"
    )
    assert len(row.mistakes()) == 2
