"""Write the table of ``docs/reference/events.md`` from the page of acts: each act but a read is an event.

    python -m scripts.events_table

A test compares the page with what this would write.
"""

from __future__ import annotations

import re
from pathlib import Path

from caio.audit.ports import LeafKind
from caio.events.envelope import event_type_of

_REFERENCE = Path(__file__).parents[1] / "docs" / "reference"
PAGE, ACTS = _REFERENCE / "events.md", _REFERENCE / "acts.md"

_ACT = re.compile(
    r"^\| `(?P<action>[a-z._]+)` \| `(?P<kind>[a-z]+)` \| (?P<subject>[^|]+) \| [^|]*\| (?P<when>[^|]+) \|$",
    re.MULTILINE,
)
_HEAD = "| type | subject | when |\n|---|---|---|\n"


def page() -> str:
    """The page as it should stand."""
    before, head, _ = PAGE.read_text().partition(_HEAD)
    rows = (
        f"| `{event_type_of(act['action'])}` | {act['subject']} | {act['when']} |\n"
        for act in _ACT.finditer(ACTS.read_text())
        if act["kind"] != LeafKind.ACCESS
    )
    return before + head + "".join(rows)


if __name__ == "__main__":
    PAGE.write_text(page())
