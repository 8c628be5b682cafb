"""How the demonstration looks: aligned, at most 100 columns, coloured only where colour says something.

Green and red are for ✓ and ✗, bold for what was chosen, dim for labels. What services said is shown
as text: it cannot steer the terminal.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from caio.cli.demonstration.examples import Promise
from caio.cli.demonstration.offers import Offer
from caio.cli.demonstration.story import Act, Check, Step
from caio.cli.demonstration.wishes import subject, wishes
from caio.cli.output import MARKS, plain
from caio.foundation.errors import Reason
from caio.routing.certificate import CLAUSES

WIDTH = 100
_LABEL = 10
_INDENT = 4
_LONGEST = 240
_ONE_LINE = 82
_QUESTION = "Who chooses the Speaker?"


class Starting:
    """What is being started, live on a terminal and silent elsewhere."""

    def __init__(self, console: Console) -> None:
        self._seconds: dict[str, float | None] = {}
        self._live = Live(console=console, transient=True, refresh_per_second=12, get_renderable=self._picture)

    def __enter__(self) -> Starting:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def __call__(self, name: str, seconds: float | None) -> None:
        self._seconds[name] = seconds

    def _picture(self) -> RenderableType:
        rows = Table.grid(padding=(0, 2, 0, 0))
        for name, seconds in self._seconds.items():
            done = seconds is not None
            mark: RenderableType = Text(*MARKS[True]) if done else Spinner("dots")
            rows.add_row(mark, name, Text(f"{seconds:.1f} s" if done else "starting", style="dim"))
        return Padding(rows, (0, 0, 0, _INDENT))


class Screen:
    """Prints the story. ``console`` may be any; lines are cut for ``WIDTH`` columns."""

    def __init__(self, console: Console) -> None:
        self._console = console

    @classmethod
    def standard(cls, *, quiet: bool) -> Screen:
        """Standard output; ``quiet`` prints nothing at all."""
        console = Console(markup=False, highlight=False, emoji=False, quiet=quiet)
        console.width = min(WIDTH, console.width) if console.is_terminal else WIDTH
        return cls(console)

    @property
    def interactive(self) -> bool:
        return self._console.is_terminal and not self._console.quiet

    def starting(self) -> Starting:
        return Starting(self._console)

    def title(self, text: str, beside: str) -> None:
        self._console.print()
        self._console.print(Text.assemble((text, "bold"), "  ", (beside, "dim")))

    def cast(self, promises: Sequence[Promise], told: Iterable[str]) -> None:
        """The services, by what their contracts promise."""
        rows = _table(
            "service", "does", "p95", "accuracy", "data stays", "a call from", right=("p95", "accuracy", "a call from")
        )
        for promise in promises:
            rows.add_row(
                promise.service,
                ", ".join(promise.capabilities),
                f"{promise.p95} ms" if promise.p95 is not None else "–",
                f"{promise.accuracy:.2f}" if promise.accuracy is not None else "–",
                promise.locality.replace("_", " "),
                f"{promise.per_request:f}",
            )
        self._console.print()
        self._indented(rows)
        self._console.print()
        for line in told:
            self._indented(Text(line, style="dim"))

    def step(self, number: int, step: Step) -> None:
        self._console.print()
        self._console.print(Text.assemble((f"{number:>2}  ", "dim"), (step.title, "bold")))
        for line in step.notes:
            self._indented(Text(line, style="dim"))
        before: Act | None = None
        for act in step.acts:
            self._act(act, before)
            before = act
        for check in step.checks:
            self._check(check)

    def totals(self, rows: Iterable[Sequence[str]], summary: str) -> None:
        drawn = _table(
            "service",
            "answered",
            "failed",
            "broke a promise",
            "charged",
            right=("answered", "failed", "broke a promise", "charged"),
        )
        for row in rows:
            drawn.add_row(*row)
        self._console.print()
        self._console.print(Text("    Totals", style="bold"))
        self._indented(drawn)
        self._console.print()
        self._indented(Text(summary))

    def verdict(self, failed: Sequence[Step], count: int) -> None:
        self._console.print()
        if failed:
            names = ", ".join(step.name for step in failed)
            self._console.print(Text.assemble(MARKS[False], f" {len(failed)} of {count} steps did not hold: {names}"))
        else:
            self._console.print(Text.assemble(MARKS[True], f" all {count} steps held"))

    def say(self, *lines: str, dim: bool = False) -> None:
        """Lines as they are: commands and snippets to copy are never wrapped."""
        for line in lines:
            self._console.print(Text(plain(line), style="dim" if dim else ""), soft_wrap=True)

    def ask(self, question: str) -> None:
        """A question whose answer is typed behind it."""
        self._console.print(Text(f"\n{question} [y/N] "), end="")

    def offer(self, offer: Offer) -> None:
        """A provider found here, and how to add it to an installation of one's own."""
        self.say("", f"{offer.found}. To let {offer.provider} take part in an installation of yours:")
        self.say(*(f"  {command}" for command in offer.commands()))

    def invitation(self, url: str, api_key: str, data: Path, receipt: str | None, *, keep: bool) -> None:
        """How to go on while everything runs."""
        self.say("", f"CAIO goes on serving at {url}, with the services behind it. Ctrl-C stops everything.", "")
        fate = "kept" if keep else "removed at the end"
        for label, value in (("docs", f"{url}/docs"), ("api key", api_key), ("data", f"{data} ({fate})")):
            self._labelled(label, value)
        self.say("", *_curl(url, api_key), "", *_python(url, api_key))
        if receipt is not None:
            self.say("", f"  cd {data}/receipts", f"  caio verify {receipt}.receipt.json \\")
            self.say(f"    --evidence {receipt}.evidence.json --keys keys.json")

    def farewell(self, data: Path, *, keep: bool) -> None:
        self.say(
            "", f"Everything is stopped. The data is in {data}." if keep else "Everything is stopped, the data removed."
        )

    def _act(self, act: Act, before: Act | None) -> None:
        """One request. Of one asked again, in other words, only what differs."""
        wanted = wishes(act.request)
        if before is not None and (before.ranked, subject(before.request)) == (act.ranked, subject(act.request)):
            known = wishes(before.request)
            self._labelled("asked", f"again, with {', '.join(wish for wish in wanted if wish not in known)}")
        else:
            self._labelled("asked", " · ".join(wanted))
            if about := subject(act.request):
                self._labelled("", Text(f"“{_short(about, _ONE_LINE)}”", style="dim"))
            self._columns("ranked", _ranking(act))
            rivals = _exclusions(act)
            self._columns("ruled out", rivals)
            if others := sum(each.clause == "capability" for each in act.reasons):
                text = Text(f"{others} others do not offer {act.request['request']['capability']}", style="dim")
                self._labelled("" if rivals else "ruled out", text)
        if act.outcome is None:
            self._labelled("refused", f"{act.status} {act.answer.get('code', '')}: {act.answer.get('detail', '')}")
        for number, line in enumerate(_attempts(act)):
            self._labelled("then" if number else "called", line)
        if act.output is not None:
            words, beside = said(act.output)
            self._labelled("answer", _short(words, _LONGEST))
            if beside:
                self._labelled("", Text(_short(beside, _ONE_LINE), style="dim"))
        self._labelled("receipt", Text(act.decision_id, style="dim"))

    def _check(self, check: Check) -> None:
        self._beside(Text(*MARKS[check.holds]), Text(plain(check.claim)), 2)
        if not check.holds and check.found:
            self._beside(Text(), Text(_short(check.found, 400), style="red"), 2)

    def _labelled(self, label: str, value: Text | str) -> None:
        text = value if isinstance(value, Text) else Text(plain(value))
        self._beside(Text(label, style="dim"), text, _LABEL)

    def _columns(self, label: str, rows: Sequence[tuple[Text, Text]]) -> None:
        """Aligned pairs; the label stands before the first."""
        width = max((len(left) for left, _ in rows), default=0)
        for left, right in rows:
            first = Text(label.ljust(_LABEL) + " ", style="dim") + left
            self._beside(first, right, _LABEL + 1 + width + 1)
            label = ""

    def _beside(self, left: Text, right: Text, width: int) -> None:
        """``left`` in ``width`` columns, then ``right``, wrapped beneath itself."""
        room = self._console.width - _INDENT - width - 1
        for line in right.wrap(self._console, room) or [Text()]:
            line.rstrip()
            self._indented(Text.assemble(left, " " * (width + 1 - len(left)), line))
            left = Text()

    def _indented(self, what: RenderableType) -> None:
        self._console.print(Padding(what, (0, 0, 0, _INDENT), expand=False))


def _curl(url: str, api_key: str) -> list[str]:
    body = {"model": "auto", "messages": [{"role": "user", "content": _QUESTION}]}
    return [
        f"  curl {url}/v1/chat/completions -H 'Content-Type: application/json' \\",
        f"    -H 'Authorization: Bearer {api_key}' \\",
        f"    -d '{json.dumps(body)}'",
    ]


def _python(url: str, api_key: str) -> list[str]:
    return [
        "  from openai import OpenAI  # pip install openai",
        f'  key = "{api_key}"',
        f'  client = OpenAI(base_url="{url}/v1", api_key=key)',
        f'  question = {{"role": "user", "content": "{_QUESTION}"}}',
        '  answer = client.chat.completions.create(model="auto", messages=[question])',
        "  print(answer.choices[0].message.content)",
    ]


def said(output: Any) -> tuple[str, str]:
    """A service's answer for people: its words, and what stands beside them; else its JSON."""
    if isinstance(output, str):
        return output, ""
    for name in ("answer", "summary", "label"):
        if isinstance(output, dict) and isinstance(output.get(name), str):
            beside = [f"{key} {_number(value)}" for key, value in output.items() if key != name and value is not None]
            return output[name], " · ".join(beside)
    return json.dumps(output, ensure_ascii=False), ""


def because(reason: Reason) -> str:
    """Why a service was excluded, in a line."""
    if reason.clause in ("policy", "policy_error"):
        return f"{reason.clause} {reason.subject}: {reason.message or reason.required}"
    wanted = f"{reason.subject} {reason.required}".replace("<=", "≤").replace(">=", "≥")
    return f"{reason.clause}: {wanted} wanted, {reason.offered} offered"


def _ranking(act: Act) -> list[tuple[Text, Text]]:
    return [
        (
            Text(one.service, style="bold" if position == 0 else ""),
            Text(f"score {one.score:.3f} · at most {one.worst_cost:f}", style="dim"),
        )
        for position, one in enumerate(act.ranked)
    ]


def _exclusions(act: Act) -> list[tuple[Text, Text]]:
    """The rivals that were ruled out and why, in the order of the clauses; a reason shared is told once."""
    rows: list[tuple[Text, Text]] = []
    told = ""
    for each in sorted(act.reasons, key=lambda one: (CLAUSES.index(one.clause), one.service_id)):
        if each.clause != "capability":
            why = because(each)
            rows.append((Text(each.service_id), Text("as above" if why == told else plain(why), style="dim")))
            told = why
    return rows


def _attempts(act: Act) -> list[Text]:
    """A line for each call: who, how long, what went wrong; the last one with what was charged."""
    lines: list[Text] = []
    for each in act.outcome.attempts if act.outcome else ():
        line = Text(f"{each.service} · {each.latency_ms} ms")
        if isinstance(each.fault, str):
            line.append(f" · {each.fault}", style="red")
        for one in each.violations:
            line.append(f" · broke its {one.clause}: {plain(one.observed)}", style="red")
        lines.append(line)
    if act.outcome and lines:
        lines[-1].append(f" · {act.charged:f} charged", style="dim")
    return lines


def _number(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _short(text: str, longest: int) -> str:
    """One paragraph of at most ``longest`` characters, with an ellipsis where it was cut."""
    joined = " ".join(plain(text).split())
    return joined if len(joined) <= longest else joined[: longest - 1].rsplit(" ", 1)[0] + " …"


def _table(*headings: str, right: Sequence[str]) -> Table:
    """Columns without lines."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for name in headings:
        table.add_column(name, justify="right" if name in right else "left", no_wrap=True)
    return table
