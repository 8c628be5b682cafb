"""What docs/how-to/receive-events.md tells receivers to do works on what is really sent."""

import os
import re
import time
from pathlib import Path
from typing import Any

from caio.events import signing
from caio.events.schedule import ATTEMPTS, PAUSES, SECOND

PAGE = (Path(__file__).parents[3] / "docs" / "how-to" / "receive-events.md").read_text()


def test_the_pages_own_verification() -> None:
    block = re.search(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert block is not None
    names: dict[str, Any] = {}
    exec(block[1], names)  # the page's own lines are what is tested
    genuine = names["genuine"]
    secret, now = signing.new_secret(os.urandom), time.time_ns() // 1000
    both = signing.rotated((secret,), signing.new_secret(os.urandom), now, 60 * SECOND)
    headers = signing.headers(both, "evt_1", b"{}", now)
    assert genuine(both[0].text, headers, b"{}")
    assert genuine(secret.text, headers, b"{}")
    assert not genuine(secret.text, headers, b"{ }")
    assert not genuine(signing.new_secret(os.urandom).text, headers, b"{}")
    late = signing.headers(both, "evt_1", b"{}", now - 301 * SECOND)
    assert not genuine(secret.text, late, b"{}")


def test_the_pages_own_schedule() -> None:
    told = "5 seconds, 1, 5 and 30 minutes, 2, 5, 10, 14, 20 and 24 hours"
    assert told in PAGE
    units = [1, 60, 60, 60] + [3600] * 6
    counts = [int(each) for each in re.findall(r"\d+", told)]
    assert [count * unit * SECOND for count, unit in zip(counts, units, strict=True)] == list(PAUSES)
    assert len(PAUSES) + 1 == ATTEMPTS
