"""The worked example of docs/explanation/guarantees.md is what the rules give."""

import re
from pathlib import Path

from caio.foundation.quantity import decimal_text, nanos
from caio.routing.plans.composition import Composition

PAGE = (Path(__file__).parents[3] / "docs/explanation/guarantees.md").read_text()
BOUNDS = (
    *("latency_ms.p50", "latency_ms.p95", "latency_ms.p99", "latency_ms.max"),
    *("availability.min", "accuracy.min", "error_rate.max", "throughput.min", "cost.max"),
)
#: `find` and `read` begin at once, `write` after both.
STAGES = ((), (), (0, 1))


def row(name: str) -> list[str]:
    found = re.search(rf"^\| {re.escape(name)} \| (.+) \|$", PAGE, re.MULTILINE)
    assert found is not None, name
    return found[1].split(" | ")


def test_the_worked_example_composes_to_what_the_page_says():
    offers = [dict(zip(BOUNDS, map(nanos, row(f"`{name}`")), strict=True)) for name in ("find", "read", "write")]
    composed = [Composition(STAGES).compose(bound, offers) for bound in BOUNDS]
    assert [decimal_text(value) for value in composed if value is not None] == row("**together**")


def test_the_sums_in_its_text_are_right():
    sums = re.findall(r"(\d[\d. +·−()]*[\d)]) = (\d+(?:\.\d+)?)", PAGE)
    assert len(sums) >= 8
    for left, right in sums:
        plain = left.replace("·", "*").replace("−", "-")
        assert re.fullmatch(r"[\d. +*()-]+", plain)
        assert abs(eval(plain) - float(right)) < 1e-9, (left, right)
