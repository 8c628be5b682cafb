"""checkov finds nothing that is not explained, over the sources and over what would be made.

A finding that is right about the letter and wrong about the case is suppressed in place: `#checkov:skip=ID:reason`, the
reason a sentence. A suppression that suppresses nothing is a mistake too: it hides the next real finding.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.emulated_terraform import Planned
from tests.support.infra_tools import TERRAFORM, environment

SECONDS = 600
SUPPRESSION = re.compile(r"#\s*checkov:skip=(?P<check>CKV\w+)(?::(?P<reason>.*))?$")

# checkov joins a bucket to its settings by name and loses those made with for_each; what it asks is asserted on the
# state itself by test_terraform_security. By (check, file): the reason.
MISREAD: Mapping[tuple[str, str], str] = {
    (check, "modules/storage/main.tf"): "the settings of every bucket are made with for_each over all of them"
    for check in ("CKV_AWS_18", "CKV_AWS_19", "CKV_AWS_21", "CKV2_AWS_6", "CKV2_AWS_61")
}

# What a plan cannot show, because the value is known only after the apply, or because the switch is an environment's.
_KEY = "the key's ARN is known only after the apply; test_every_store_is_encrypted asks the state"
_BUCKET = "a bucket and its settings meet by an id known only after the apply; test_terraform_security asks the state"
IN_PLANS: Mapping[str, str] = {
    **dict.fromkeys(("CKV_AWS_26", "CKV_AWS_27", "CKV_AWS_35", "CKV_AWS_119", "CKV_AWS_166"), _KEY),
    **dict.fromkeys(("CKV_AWS_191", "CKV_AWS_224", "CKV_AWS_354"), _KEY),
    **dict.fromkeys(("CKV_AWS_18", "CKV_AWS_19", "CKV_AWS_21", "CKV2_AWS_6", "CKV2_AWS_61"), _BUCKET),
}


@dataclass(frozen=True)
class Suppression:
    """One `checkov:skip` in a file."""

    file: str
    check: str
    reason: str


def suppressions(folder: Path) -> list[Suppression]:
    """Every suppression of a tree of sources."""
    found = []
    for path in sorted(folder.rglob("*.tf")):
        if ".terraform" not in path.parts:
            for line in path.read_text().splitlines():
                if match := SUPPRESSION.search(line.strip()):
                    name = path.relative_to(folder).as_posix()
                    found.append(Suppression(name, match["check"], (match["reason"] or "").strip()))
    return found


def checkov(*arguments: str, cwd: Path) -> dict[str, Any]:
    """checkov's verdict; its exit code says only that it found something."""
    done = subprocess.run(
        [environment("checkov") / "checkov", *arguments, "--skip-download", "--output", "json", "--compact"],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode in {0, 1}, done.stderr
    verdict: dict[str, Any] = json.loads(done.stdout)
    assert verdict["summary"]["parsing_errors"] == 0, verdict["results"].get("parsing_errors")
    return verdict


def findings(verdict: Mapping[str, Any], kind: str) -> set[tuple[str, str, str]]:
    """(check, file, resource) of what failed or was skipped."""
    checks = verdict["results"][f"{kind}_checks"]
    return {(each["check_id"], each["file_path"].lstrip("/"), each["resource"]) for each in checks}


@pytest.fixture(scope="module")
def sources_verdict() -> dict[str, Any]:
    return checkov("--directory", ".", "--framework", "terraform", cwd=TERRAFORM)


@pytest.mark.infra
def test_sources_have_no_unexplained_finding(sources_verdict: dict[str, Any]):
    found = findings(sources_verdict, "failed")
    assert sorted(each for each in found if each[:2] not in MISREAD) == []
    assert sources_verdict["summary"]["passed"] > 300


@pytest.mark.infra
def test_every_suppression_suppresses(sources_verdict: dict[str, Any]):
    skipped = {(check, file) for check, file, _ in findings(sources_verdict, "skipped")}
    idle = [each for each in suppressions(TERRAFORM) if (each.check, each.file) not in skipped]
    assert idle == [], "a suppression that suppresses nothing"


def test_every_suppression_has_a_reason():
    found = suppressions(TERRAFORM)
    assert found
    assert [each for each in found if len(each.reason.split()) < 5] == []


def test_plans_have_no_unexplained_finding(each_plan: Planned, tmp_path):
    (tmp_path / "plan.json").write_text(json.dumps(each_plan.plan))
    verdict = checkov("--file", "plan.json", "--framework", "terraform_plan", cwd=tmp_path)
    explained = {each.check for each in suppressions(TERRAFORM)}
    unexplained = {each for each in findings(verdict, "failed") if each[0] not in explained | IN_PLANS.keys()}
    assert sorted(unexplained) == []
    assert verdict["summary"]["passed"] > 100


@pytest.mark.infra
def test_a_finding_and_an_idle_suppression_are_noticed(tmp_path):
    text = (
        'resource "aws_sqs_queue" "q" {\n  #checkov:skip=CKV_AWS_18:no bucket, and so no log of it\n  name = "q"\n}\n'
    )
    (tmp_path / "main.tf").write_text(text)
    verdict = checkov("--directory", ".", "--framework", "terraform", cwd=tmp_path)
    assert ("CKV_AWS_27", "main.tf", "aws_sqs_queue.q") in findings(verdict, "failed")
    assert findings(verdict, "skipped") == set()
    assert suppressions(tmp_path) == [Suppression("main.tf", "CKV_AWS_18", "no bucket, and so no log of it")]
