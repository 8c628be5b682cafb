"""What commands print: JSON for programs; tables, sentences and the next command for people.

Colour means something (✓, ✗, what failed) or is absent; rich leaves it out where standard output is
no terminal or NO_COLOR is set. Text from outside cannot steer the terminal, nor turn the order of what
stands there, nor end its line where a line says one thing: such characters are shown as escapes.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from threading import Timer
from typing import TYPE_CHECKING, Any

from caio.cli.files import InvalidFile
from caio.foundation.errors import CaioError, InvalidInput, NoServiceSatisfies, Reason, Violation

if TYPE_CHECKING:
    from rich.console import Console

#: Columns of a table that nobody looks at in a terminal.
_PIPED_WIDTH = 200
_PATIENCE_SECONDS = 1.0
_CHECK_WIDTH = 20
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
_LINE_ENDS = str.maketrans({"\n": r"\x0a", "\t": r"\x09"})

MARKS = {True: ("✓", "green"), False: ("✗", "red"), None: ("–", "dim")}


def print_json(document: Any) -> None:
    """One document, one line."""
    print(json.dumps(document, ensure_ascii=False), flush=True)  # noqa: T201


def say(text: str = "") -> None:
    print(plain(text), flush=True)  # noqa: T201


def note(text: str) -> None:
    """A remark beside the result: on standard error, so that it never mixes with output."""
    print(plain(text), file=sys.stderr, flush=True)  # noqa: T201


def next_step(*commands: str) -> None:
    say()
    say("Next:")
    for command in commands:
        say(f"  {command}")


def plain(text: str) -> str:
    """``text`` with control characters spelt out; line ends and tabs stay."""
    return _CONTROL.sub(_spelt, text)


def on_one_line(text: str) -> str:
    """``text`` as ``plain`` gives it, with line ends and tabs spelt out too."""
    return plain(text.translate(_LINE_ENDS))


def _spelt(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def table(headings: Sequence[str], rows: Iterable[Sequence[object]], *, right: Iterable[str] = ()) -> None:
    """An aligned table on standard output; columns named in ``right`` are right-aligned."""
    _table(_console(), headings, rows, right)


def facts(pairs: Mapping[str, object]) -> None:
    """Names and values, one a line, aligned; None is left out."""
    shown = {name: str(value) for name, value in pairs.items() if value is not None}
    width = max(map(len, shown), default=0)
    for name, value in shown.items():
        say(f"  {name:<{width}}  {on_one_line(value)}")


def check(holds: bool | None, name: str, detail: str) -> None:
    """One line of a list that is shown as it grows: it holds, does not, or could not be looked at."""
    from rich.text import Text

    mark, colour = MARKS[holds]
    line = Text.assemble((mark, colour), f" {name:<{_CHECK_WIDTH}}  {on_one_line(detail)}")
    _console().print(line, soft_wrap=True)


def claims(rows: Iterable[tuple[bool | None, str, str]]) -> None:
    """A table of claims: proved, refuted or not checked; name; detail."""
    from rich.text import Text

    marked = [(Text(*MARKS[proved]), name, detail) for proved, name, detail in rows]
    _table(_console(), ("", "claim", "detail"), marked, ())


def warnings(path: str, violations: Iterable[Violation]) -> None:
    for violation in violations:
        note(f"warning: {place(path, violation)} {violation.message}")


def place(path: str | None, violation: Violation) -> str:
    """``file:line pointer`` as far as it is known."""
    where = path or ""
    if violation.line is not None:
        where = f"{where}:{violation.line}" if where else f"line {violation.line}"
    return " ".join(part for part in (where, violation.pointer) if part)


def reasons(found: Sequence[Reason], *, to_stderr: bool) -> None:
    """Why each service was excluded."""
    rows = [
        (f"{each.service_id}@{each.version}", each.clause, each.subject, each.required, each.offered, each.message)
        for each in found
    ]
    headings = ["service", "clause", "about", "required", "offered", "message"]
    if not any(row[-1] for row in rows):
        headings, rows = headings[:-1], [row[:-1] for row in rows]  # type: ignore[misc]
    _table(_console(to_stderr=to_stderr), headings, rows, ())


def failure(error: CaioError) -> None:
    """An error for people, on standard error: a sentence, and everything that belongs to it."""
    path = error.path if isinstance(error, InvalidFile) else None
    violations = error.violations if isinstance(error, InvalidInput) else ()
    if path and violations:
        note(f"caio: {path}: {len(violations)} thing{'s' * (len(violations) > 1)} to put right")
    else:
        note(f"caio: {error.message}")
    for violation in violations:
        note(f"  {place(path, violation)} {violation.message}".rstrip())
    if isinstance(error, NoServiceSatisfies) and error.reasons:
        reasons(error.reasons, to_stderr=True)
    if error.decision_id is not None:
        telling = "explain" if isinstance(error, NoServiceSatisfies) else "get"
        note(f"The decision is recorded: caio decisions {telling} {error.decision_id}")


@contextmanager
def counting(text: str, total: int | None = None) -> Iterator[Callable[[int], None]]:
    """A function to tell how far the block has come; shown behind ``text``, only on a terminal."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    of = "" if total is None else f" of {total:,}"
    with _console(to_stderr=True).status(text) as status:
        yield lambda done: status.update(f"{text}: {done:,}{of}")


@contextmanager
def waiting(text: str) -> Iterator[None]:
    """Show a spinner with ``text`` once the block has taken a second; only on a terminal."""
    if not sys.stderr.isatty():
        yield
        return
    status = _console(to_stderr=True).status(text)
    timer = Timer(_PATIENCE_SECONDS, status.start)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
        status.stop()


def moment(microseconds: int | None) -> str:
    """A time since the epoch, for people, in UTC."""
    return "" if microseconds is None else f"{datetime.fromtimestamp(microseconds / 1e6, UTC):%Y-%m-%d %H:%M:%SZ}"


def home_relative(path: Path) -> str:
    """A path as people write it."""
    absolute = path.expanduser().absolute()
    return f"~/{absolute.relative_to(Path.home())}" if absolute.is_relative_to(Path.home()) else str(absolute)


def _console(*, to_stderr: bool = False) -> Console:
    from rich.console import Console

    stream = sys.stderr if to_stderr else sys.stdout
    width = None if stream.isatty() else _PIPED_WIDTH
    return Console(file=stream, width=width, markup=False, highlight=False, emoji=False)


def _table(console: Console, headings: Sequence[str], rows: Iterable[Sequence[object]], right: Iterable[str]) -> None:
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for heading in headings:
        drawn.add_column(heading, justify="right" if heading in right else "left", overflow="fold")
    for row in rows:
        drawn.add_row(*(cell if isinstance(cell, Text) else on_one_line(str(cell)) for cell in row))
    with console.capture() as capture:
        console.print(drawn)
    for line in capture.get().splitlines():
        print(line.rstrip(), file=console.file, flush=True)
