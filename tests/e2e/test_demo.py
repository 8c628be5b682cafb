"""The demonstration as its first user runs it: every step holds, and nothing stays behind."""

import json
import os
import signal
import subprocess
import sys
import uuid
from decimal import Decimal

import psutil
import pytest

DEMO = [sys.executable, "-m", "caio", "demo", "--port", "0"]
STEPS = [
    "cost-optimal",
    "latency-bound",
    "sensitive",
    "fallback",
    "refusal",
    "violation",
    "openai-chat",
    "openai-embeddings",
    "receipts",
    "restart",
]


class Demo:
    """A demonstration whose processes can be told from all others by a mark in their environment."""

    def __init__(self, folder, *arguments):
        self.mark = uuid.uuid4().hex
        self.temporary = folder / "tmp"
        self.temporary.mkdir()
        # A user's own settings must neither reach the demonstration's server nor be touched by it.
        strange = {"CAIO_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none", "CAIO_DATA_DIR": str(folder / "own")}
        environment = os.environ | strange | {"DEMO_MARK": self.mark, "TMPDIR": str(self.temporary)}
        self.process = subprocess.Popen(
            [*DEMO, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            cwd=folder,
            text=True,
        )

    def children(self):
        """The processes of this run that live, without the demonstration itself."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.pid != self.process.pid and process.environ().get("DEMO_MARK") == self.mark:
                    found.append(process)
            except psutil.Error:
                continue
        return [each for each in found if each.status() != psutil.STATUS_ZOMBIE]

    def end(self):
        for process in [*self.children(), self.process]:
            process.kill()
        self.process.communicate()


@pytest.fixture
def start(tmp_path):
    running = []

    def start(*arguments):
        running.append(Demo(tmp_path, *arguments))
        return running[0]

    yield start
    for demo in running:
        demo.end()


def test_every_step_holds_and_nothing_stays_behind(start):
    """One run for everything that can be seen of it: it is the most expensive test there is."""
    demo = start("--once", "--json")
    out, errors = demo.process.communicate(timeout=240)
    document = json.loads(out)
    assert (document["failed"], errors, demo.process.returncode) == ([], "", 0)
    assert document["holds"] is True
    assert "api_key" not in document  # of a server that is gone
    steps = {step["name"]: step for step in document["steps"]}
    assert list(steps) == STEPS
    for step in steps.values():
        assert step["holds"] is True
        assert len(step["checks"]) >= 2
        assert all(check["holds"] for check in step["checks"])
    the_story_is_told(steps)
    the_totals_add_up(document)
    assert demo.children() == []
    assert list(demo.temporary.iterdir()) == []
    assert [each.name for each in demo.temporary.parent.iterdir()] == ["tmp"]


def the_story_is_told(steps):
    (fallback,) = steps["fallback"]["acts"]
    first, second = [one["service"] for one in fallback["ranked"]][:2]
    *repeated, last = fallback["attempts"]
    assert (set(repeated), last, fallback["service"]) == ({first}, second, second)
    (refusal,) = steps["refusal"]["acts"]
    assert (refusal["status"], refusal["service"], refusal["charged"]) == (422, None, "0")
    assert {reason["clause"] for reason in refusal["reasons"]} >= {"guarantee", "compliance", "residency"}
    assert any("Merkle log" in check["claim"] for check in steps["receipts"]["checks"])
    report, recovered = steps["violation"]["acts"]
    assert (report["violation"], len(report["attempts"])) == ("output_schema", 1)
    assert (recovered["violation"], len(recovered["attempts"])) == ("output_schema", 2)
    assert recovered["output"]["summary"]


def the_totals_add_up(document):
    acts = [act for step in document["steps"] for act in step["acts"]]
    totals = document["totals"]
    assert totals["decisions"] == totals["receipts_verified"] == len(acts)
    assert Decimal(totals["charged"]) == sum(Decimal(act["charged"]) for act in acts) > 0
    assert totals["services"] == 8


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGTERM, 128 + signal.SIGTERM), (signal.SIGKILL, -signal.SIGKILL)]
)
def test_children_die_with_the_demonstration(start, wait_for, number, status):
    demo = start("--json")
    wait_for(lambda: len(demo.children()) >= 3, seconds=60, every=0.1)
    demo.process.send_signal(number)
    demo.process.communicate(timeout=60)
    assert demo.process.returncode == status
    wait_for(lambda: not demo.children(), seconds=20, every=0.1)
    if number != signal.SIGKILL:  # nobody can tidy up after that
        assert list(demo.temporary.iterdir()) == []


def test_a_directory_in_use_is_refused_before_anything_starts(start, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    demo = start("--once", "--data-dir", str(tmp_path / "mine"))
    out, errors = demo.process.communicate(timeout=60)
    assert (demo.process.returncode, out) == (1, "")
    assert "not empty" in errors
    assert [each.name for each in (tmp_path / "mine").iterdir()] == ["letter.txt"]
