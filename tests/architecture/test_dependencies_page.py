"""docs/reference/dependencies.md gives a reason for each runtime dependency, and for no other."""

import re
import tomllib
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
ROW = re.compile(r"^\| `(?P<name>[\w.-]+)` \| (?P<purpose>[^|]+) \| (?P<reason>[^|]+) \|$", re.MULTILINE)


def test_every_dependency_has_its_reason():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [
        *project["dependencies"],
        *(each for extra in project["optional-dependencies"].values() for each in extra),
    ]
    rows = {row["name"]: row for row in ROW.finditer((ROOT / "docs/reference/dependencies.md").read_text())}
    assert set(rows) == {Requirement(each).name for each in wanted}
    assert all(row["purpose"].strip() and row["reason"].strip() for row in rows.values())
