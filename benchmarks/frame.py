"""The frame of a benchmark: measures with their bars, printed, written and drawn in one way.

A benchmark is a package ``benchmarks/NAME`` with a ``__main__``, run by ``make bench-NAME``. It measures,
states rows, and ends with ``raise SystemExit(report.finish())``: 0 when every bar held, otherwise 1.

    report = Report("start-up")
    report.at_most("serve to ready, median of 9", 0.41, "s", bar=1.0)
    report.note("modules imported", 812, "modules")

A figure measured against another on a busy machine is measured in pairs (`measure_pairs`): both sides take
turns, in an order that alternates, so that whatever slows the machine slows both, and their ratio stands.
"""

from __future__ import annotations

import json
import math
import os
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Literal

from rich.console import Console
from rich.table import Table

RESULTS = Path(__file__).parent / "results"
Side = Literal["<=", ">="]
SIGNS: dict[Side, str] = {"<=": "≤", ">=": "≥"}


@dataclass(frozen=True, slots=True)
class Row:
    """One figure; ``bar`` is what it is held to and ``holds`` whether it does, both None for a mere note."""

    measure: str
    value: float
    unit: str
    bar: float | None = None
    holds: bool | None = None


@dataclass(slots=True)
class Report:
    """The rows of one run of the benchmark ``name``."""

    name: str
    rows: list[Row] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    _sides: dict[str, Side] = field(default_factory=dict)

    def at_most(self, measure: str, value: float, unit: str, bar: float) -> None:
        """State a figure that must not exceed ``bar``."""
        self._add(Row(measure, value, unit, bar, value <= bar), "<=")

    def at_least(self, measure: str, value: float, unit: str, bar: float) -> None:
        """State a figure that must reach ``bar``."""
        self._add(Row(measure, value, unit, bar, value >= bar), ">=")

    def note(self, measure: str, value: float, unit: str) -> None:
        """State a figure that nothing is held to, for instance a floor or a peer."""
        self._add(Row(measure, value, unit), None)

    def leave_out(self, measure: str, why: str) -> None:
        """State what could not be measured in this run, and why."""
        self.left_out[measure] = why

    def holds(self) -> bool:
        """Whether every bar held."""
        return all(row.holds is not False for row in self.rows)

    def finish(self, folder: Path = RESULTS, console: Console | None = None) -> int:
        """Print the table, write it into ``folder`` as ``<name>.json``, ``.md`` and ``.png``, return the exit code."""
        folder.mkdir(parents=True, exist_ok=True)
        written = folder / f"{self.name}.json"
        written.write_text(json.dumps(self.document(), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        (folder / f"{self.name}.md").write_text(self.markdown(), encoding="utf-8")
        draw(self, folder / f"{self.name}.png")
        console = console or Console()
        console.print(self._table())
        for measure, why in self.left_out.items():
            console.print(f"not measured: {measure}: {why}", highlight=False, markup=False)
        console.print(f"written: {os.path.relpath(written)}, the same as .md, and its plot, .png", highlight=False)
        return 0 if self.holds() else 1

    def document(self) -> dict[str, object]:
        """What is written: the run, the machine it ran on and the rows."""
        when = datetime.now(UTC).isoformat(timespec="seconds")
        return {
            "name": self.name,
            "when": when,
            "machine": machine(),
            "rows": [asdict(row) for row in self.rows],
            "left_out": self.left_out,
        }

    def markdown(self) -> str:
        """The table as a page of the documentation shows it, after the day and the machine."""
        lines = [
            f"{datetime.now(UTC).date()}, {machine()}.",
            "",
            "| measure | value | bar | holds |",
            "|---|---|---|---|",
        ]
        words = {True: "yes", False: "**no**", None: "–"}
        for row in self.rows:
            bar = "–" if row.bar is None else f"{SIGNS[self._sides[row.measure]]} {figure(row.bar)}"
            lines.append(f"| {row.measure} | {figure(row.value)} {row.unit} | {bar} | {words[row.holds]} |")
        lines += ["", *(f"- Not measured: {measure}: {why}" for measure, why in self.left_out.items())]
        return "\n".join(lines).rstrip() + "\n"

    def _add(self, row: Row, side: Side | None) -> None:
        if not math.isfinite(row.value):
            raise ValueError(f"{row.measure!r} was measured as {row.value}, which is no figure")
        if any(row.measure == known.measure for known in self.rows):
            raise ValueError(f"{row.measure!r} is stated twice")
        if side is not None:
            self._sides[row.measure] = side
        self.rows.append(row)

    def _table(self) -> Table:
        table = Table("measure", title=f"{self.name} · {machine()}", title_justify="left")
        for heading in ("value", "bar"):
            table.add_column(heading, justify="right")
        table.add_column("unit")
        table.add_column("holds")
        words = {True: "[green]yes", False: "[red]no", None: ""}
        for row in self.rows:
            bar = "" if row.bar is None else f"{self._sides[row.measure]} {figure(row.bar)}"
            table.add_row(row.measure, figure(row.value), bar, row.unit, words[row.holds])
        return table


def figure(value: float) -> str:
    """A number as a reader wants it: about four significant digits, thousands apart, no exponent."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    decimals = max(0, 3 - math.floor(math.log10(abs(value))))
    text = f"{value:,.{decimals}f}"
    return text.rstrip("0").rstrip(".") if decimals else text


def machine() -> str:
    """The machine in a line: processor, cores this process may use, memory, system, Python."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    system = f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"
    return f"{_processor()}, {cores} cores, {memory:.0f} GiB, {system}"


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    for line in cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.exists() else ():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def draw(report: Report, path: Path) -> None:
    """Draw the rows: one panel a unit, bars coloured by whether they hold, each bar's limit as a dashed line."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    units = list(dict.fromkeys(row.unit for row in report.rows))
    groups = [[row for row in report.rows if row.unit == unit] for unit in units]
    heights = [len(rows) + 1 for rows in groups]
    shape, grid = (10, 1 + 0.5 * sum(heights)), {"height_ratios": heights}
    canvas, panels = pyplot.subplots(
        len(groups), 1, figsize=shape, gridspec_kw=grid, layout="constrained", squeeze=False
    )
    colours = {True: "#2a7f62", False: "#c0392b", None: "#7f8c8d"}
    for panel, unit, rows in zip(panels[:, 0], units, groups, strict=True):
        drawn = panel.barh([row.measure for row in rows], [row.value for row in rows], height=0.6)
        for place, (patch, row) in enumerate(zip(drawn, rows, strict=True)):
            patch.set_color(colours[row.holds])
            if row.bar is not None:
                panel.plot([row.bar, row.bar], [place - 0.4, place + 0.4], color="black", linestyle="--")
        panel.bar_label(drawn, labels=[figure(row.value) for row in rows], padding=4)
        sizes = [size for row in rows for size in (row.value, row.bar) if size]
        if sizes and min(sizes) > 0 and max(sizes) / min(sizes) > 100:
            panel.set_xscale("log")
        panel.set_xlabel(unit)
        panel.margins(x=0.15)
        panel.invert_yaxis()
    canvas.suptitle(report.name)
    canvas.savefig(path, dpi=110)
    pyplot.close(canvas)


@dataclass(frozen=True, slots=True)
class Pairs:
    """The same number of figures of two sides, taken in turns; entry i of both belongs to one round."""

    first: Sequence[float]
    second: Sequence[float]

    def __post_init__(self) -> None:
        if not self.first or len(self.first) != len(self.second):
            raise ValueError(f"pairs need as many of one as of the other, got {len(self.first)} and {len(self.second)}")

    def medians(self) -> tuple[float, float]:
        """The median of each side."""
        return median(self.first), median(self.second)

    def ratio(self) -> float:
        """The median over the rounds of first / second: what one costs in units of the other."""
        return median(one / other for one, other in zip(self.first, self.second, strict=True))

    def difference(self) -> float:
        """The median over the rounds of first - second: what one costs beyond the other."""
        return median(one - other for one, other in zip(self.first, self.second, strict=True))


def seconds(work: Callable[[], object]) -> float:
    """How long one call of ``work`` takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def measure_pairs(first: Callable[[], float], second: Callable[[], float], rounds: int, warm_up: int = 1) -> Pairs:
    """Call two measurements, each answering a figure, in turns; every other round the second one goes first."""
    pairs = []
    for turn in range(-warm_up, rounds):
        if turn % 2:
            other, one = second(), first()
        else:
            one, other = first(), second()
        if turn >= 0:
            pairs.append((one, other))
    return Pairs([one for one, _ in pairs], [other for _, other in pairs])
