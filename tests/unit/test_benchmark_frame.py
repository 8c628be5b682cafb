"""The benchmarks' frame: what it writes, what it draws, and how it pairs."""

import json
from datetime import datetime
from io import StringIO

import pytest
from rich.console import Console

from benchmarks.frame import Pairs, Report, figure, measure_pairs


def finish(report, folder):
    out = StringIO()
    return report.finish(folder, Console(file=out, width=200)), out.getvalue()


def test_a_run_is_written_printed_and_drawn(tmp_path):
    report = Report("sample")
    report.at_most("ready", 0.4, "s", bar=1.0)
    report.at_least("calls", 12_345, "calls/s", bar=20_000)
    report.note("floor", 0.1, "s")
    code, printed = finish(report, tmp_path / "results")

    document = json.loads((tmp_path / "results" / "sample.json").read_text())
    assert list(document) == ["name", "when", "machine", "rows", "left_out"]
    assert document["name"] == "sample"
    assert datetime.fromisoformat(document["when"]).tzinfo
    assert document["rows"] == [
        {"measure": "ready", "value": 0.4, "unit": "s", "bar": 1.0, "holds": True},
        {"measure": "calls", "value": 12_345, "unit": "calls/s", "bar": 20_000, "holds": False},
        {"measure": "floor", "value": 0.1, "unit": "s", "bar": None, "holds": None},
    ]
    told = (tmp_path / "results" / "sample.md").read_text()
    assert "| calls | 12,345 calls/s | ≥ 20,000 | **no** |" in told
    assert "| floor | 0.1 s | – | – |" in told
    assert (tmp_path / "results" / "sample.png").read_bytes().startswith(b"\x89PNG")
    assert code == 1
    assert "<= 1 " in printed
    assert ">= 20,000" in printed


@pytest.mark.parametrize(("value", "held"), [(0.9, True), (1.0, True), (1.1, False)])
def test_a_bar_itself_still_holds(value, held):
    most, least = Report("most"), Report("least")
    most.at_most("m", value, "s", bar=1.0)
    least.at_least("m", -value, "s", bar=-1.0)
    assert most.holds() is least.holds() is held


def test_what_is_no_figure_is_refused():
    report = Report("sample")
    report.note("floor", 1, "s")
    with pytest.raises(ValueError, match="no figure"):
        report.at_most("ready", float("nan"), "s", bar=1.0)
    with pytest.raises(ValueError, match="twice"):
        report.note("floor", 2, "s")


def test_pairs_take_turns_and_the_warm_up_is_left_out():
    order = []

    def side(name):
        def measure():
            order.append(name)
            return float(len(order))

        return measure

    pairs = measure_pairs(side("a"), side("b"), rounds=3)
    assert "".join(order) == "baabbaab"
    assert pairs == Pairs([3.0, 6.0, 7.0], [4.0, 5.0, 8.0])


def test_a_ratio_is_of_rounds_and_not_of_medians():
    pairs = Pairs([2.0, 40.0, 6.0], [1.0, 10.0, 2.0])  # ratios 2, 4, 3
    assert pairs.ratio() == 3.0
    assert pairs.difference() == 4.0
    assert pairs.medians() == (6.0, 2.0)
    with pytest.raises(ValueError, match="as many"):
        Pairs([1.0], [])


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.000123456, "0.0001235"), (1.5, "1.5"), (12_345.6, "12,346"), (1.0, "1"), (400, "400")],
)
def test_a_figure_reads_well(value, text):
    assert figure(value) == text
