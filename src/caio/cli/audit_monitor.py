"""``caio audit monitor`` and ``checkpoint``: that the log only ever grows, seen from outside.

The monitor remembers the last checkpoint that it verified of each log, and accepts a newer one only with
a proof that the log grew from the one to the other. What it remembers is the operator's own signature:
two that contradict each other are evidence to everybody, and are written to a file.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from caio.cli import exits, output
from caio.cli.anchors import Anchors, anchored
from caio.cli.files import InvalidFile, read_file, read_json, replace_json, write_file, write_json
from caio.cli.parameters import DEFAULT_URL, ApiKey, Json, Url
from caio.cli.server import Server, asked_with
from caio.cli.trust import pinned, read_keys, store_path
from caio.foundation.errors import DeadlineExceeded, InvalidInput, NotReady, UpstreamFailed

if TYPE_CHECKING:
    from caio.audit.checkpoint import Checkpoint
    from caio.audit.log_monitor import Growth

CHECKPOINT, CONSISTENCY = "/api/v1/audit/checkpoint", "/api/v1/audit/proofs/consistency"

Keys = Annotated[
    str | None, typer.Option("--keys", metavar="FILE", help="The key set to trust, in place of the pinned keys.")
]

_SAID: Mapping[str, str] = {
    "first": "is seen for the first time, with {new} entries; it is remembered, and nothing was compared",
    "same": "still has {new} entries, and the same ones",
    "grown": "grew from {old} to {new} entries, and begins with the same ones",
    "forked": "WAS FORKED: what was signed with {old} entries is not the beginning of what is signed with {new}",
    "restarted": "TOOK THE PLACE of {before}, which had {old} entries; once you know why, accept it with --origin",
    "set_back": "WAS SET BACK: it had {old} entries, and is signed with {new} now",
}


def checkpoint(
    into: Annotated[Path | None, typer.Option("-o", "--output", metavar="FILE", help="Write it to this file.")] = None,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """Fetch a checkpoint of the audit log, signed now: keep it, and nothing before it can be rewritten unnoticed."""
    seen = _fetched(asked_with(url, api_key))
    if into is not None:
        write_file(into, seen.note.encode())
    if as_json:
        document = {"origin": seen.checkpoint.origin, "size": seen.checkpoint.size, "root": seen.checkpoint.root.hex()}
        output.print_json({**document, "checkpoint": seen.note, **({"file": str(into)} if into else {})})
    elif into is not None:
        output.say(f"{seen.checkpoint.origin} with {seen.checkpoint.size} entries written to {into}")
        output.next_step(f"caio audit verify DIR --checkpoint {into}")
    else:
        output.say(seen.note.removesuffix("\n"))


def monitor(
    state: Annotated[
        Path | None,
        typer.Option(envvar="CAIO_MONITOR_STATE", metavar="FILE", help="Where what was seen is remembered."),
    ] = None,
    origin: Annotated[str | None, typer.Option(help="The log that it must be, as its checkpoints name it.")] = None,
    anchors: Anchors = None,
    watch: Annotated[int | None, typer.Option(min=1, metavar="SECONDS", help="Look again and again.")] = None,
    evidence: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Where contradicting checkpoints are written to.")
    ] = None,
    old: Annotated[
        str | None, typer.Option(metavar="FILE", help="Compare this checkpoint, offline, with --new.")
    ] = None,
    new: Annotated[str | None, typer.Option(metavar="FILE", help="The later checkpoint.")] = None,
    proof: Annotated[
        str | None, typer.Option(metavar="FILE", help="The consistency proof between them, as the API answers it.")
    ] = None,
    keys: Keys = None,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """Check that the audit log only grew since it was last looked at. Exits 12 when it did not."""
    trusted = pinned() if keys is None else read_keys(keys)
    if not trusted:
        output.note(f"no key is trusted yet; pinned keys are read from {store_path()}: caio trust add URL")
    report = _Report(evidence, as_json)
    with report.signed():
        if old is not None or new is not None:
            report.tell(_compared(old, new, proof, trusted))
            return
        watching = _Watching(asked_with(url, api_key), _State(state or _default_state()), trusted, origin, anchors)
        if watch is None:
            report.tell(watching.look())
        while watch is not None:
            try:
                report.tell(watching.look())
            except (NotReady, DeadlineExceeded, UpstreamFailed) as error:
                output.note(f"caio: {error.message}; looking again in {watch} s")
            time.sleep(watch)


@dataclass(frozen=True, slots=True)
class _Seen:
    """A checkpoint and the note it came in."""

    checkpoint: Checkpoint
    note: str


@dataclass(frozen=True, slots=True)
class _Finding:
    """What one look found: ``old`` is None for a log that was not known. ``where`` says whose ``old`` was."""

    growth: Growth | None
    old: _Seen | None
    new: _Seen
    proof: tuple[bytes, ...] = ()
    anchors: int = 0
    where: str = "remembered"


class _Unsigned(Exception):
    """A checkpoint that no trusted key signed: whatever it says, it proves nothing."""

    def __init__(self, seen: _Seen, what: str) -> None:
        super().__init__(f"{what} of {seen.checkpoint.origin} is signed by no trusted key")
        self.origin = seen.checkpoint.origin


class _Report:
    """Tells findings; a log that did not only grow ends the command."""

    def __init__(self, evidence: Path | None, as_json: bool) -> None:
        self._evidence = evidence
        self._as_json = as_json

    @contextmanager
    def signed(self) -> Iterator[None]:
        """Tells of a checkpoint that nobody trusted signed, and ends the command."""
        try:
            yield
        except _Unsigned as error:
            if self._as_json:
                output.print_json({"ok": False, "origin": error.origin, "verdict": "unsigned", "detail": str(error)})
            else:
                output.say(f"Not verified: {error}.")
            raise typer.Exit(exits.ExitCode.NOT_VERIFIED) from None

    def tell(self, found: _Finding) -> None:
        new, old = found.new.checkpoint, found.old.checkpoint if found.old else None
        verdict = found.growth.value if found.growth else "first"
        honest = found.growth is None or found.growth.honest
        written = None if honest else self._write(found, verdict)
        if self._as_json:
            sizes = {"old": old.size if old else None, "new": new.size}
            document = {"ok": honest, "origin": new.origin, "verdict": verdict, **sizes, "anchors": found.anchors}
            output.print_json({**document, "evidence": str(written) if written else None})
        else:
            sizes = {"old": old.size if old else 0, "new": new.size}
            output.say(f"{new.origin} {_SAID[verdict].format(**sizes, before=old.origin if old else '')}")
            if found.anchors:
                output.say(f"{found.anchors} anchored checkpoints agree with it")
            if written:
                output.say(f"The {found.where} checkpoint and the server's are in {written}: keep that file.")
        if not honest:
            raise typer.Exit(exits.ExitCode.FORKED)

    def _write(self, found: _Finding, verdict: str) -> Path:
        new, old = found.new, found.old
        assert old is not None  # noqa: S101 - nothing is dishonest alone
        sizes = f"{old.checkpoint.size}-{new.checkpoint.size}"
        path = self._evidence or Path(f"caio-{verdict.replace('_', '-')}-{sizes}.json")
        hashes = [each.hex() for each in found.proof]
        write_json(path, {"verdict": verdict, "from": found.where, "old": old.note, "new": new.note, "proof": hashes})
        return path


class _State:
    """The last verified checkpoint of each log, by origin."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def last(self, origin: str) -> str | None:
        return self._logs().get(origin)

    def replaced_by(self, origin: str) -> str | None:
        """The note of a log that the log ``origin`` stands in the place of."""
        from caio.audit.log_monitor import begun_anew

        return next((note for known, note in self._logs().items() if begun_anew(known, origin)), None)

    def remember(self, seen: _Seen) -> None:
        replace_json(self._path, {"logs": {**self._logs(), seen.checkpoint.origin: seen.note}})

    def _logs(self) -> dict[str, str]:
        if not self._path.exists():
            return {}
        document = read_json(str(self._path))
        logs = document.get("logs") if isinstance(document, dict) else None
        if not isinstance(logs, dict) or not all(isinstance(note, str) for note in logs.values()):
            raise InvalidFile(str(self._path), f"{self._path} is not what a monitor remembers", code="invalid_json")
        return logs


@dataclass(slots=True)
class _Watching:
    """One log, looked at again and again."""

    server: Server
    state: _State
    trusted: Mapping[str, bytes]
    origin: str | None
    place: str | None
    _compared: int = field(default=-1)

    def look(self) -> _Finding:
        """Compare the server's newest checkpoint with the last one, and with those anchored; remember it if the
        log only grew. Raises what the server answers, and InvalidInput for a checkpoint nobody trusted signed."""
        from caio.audit.log_monitor import Growth

        unasked = self.origin is None
        if self.origin is None:
            self.origin = _verified(_fetched(self.server), self.trusted, "the server's checkpoint").checkpoint.origin
        # Anchors first: what is anchored is in the log by then, so that none can be ahead of an honest one.
        anchors = [] if self.place is None else list(self._anchored(self.place, self.origin))
        new = _verified(_fetched(self.server), self.trusted, "the server's checkpoint")
        if new.checkpoint.origin != self.origin:
            raise InvalidInput(f"the server shows the log {new.checkpoint.origin}, and not {self.origin}")
        known = self.state.last(self.origin)
        before = self.state.replaced_by(self.origin) if known is None and unasked else None
        if before is not None:
            return _Finding(Growth.RESTARTED, _read(before), new)
        old = None if known is None else _verified(_read(known), self.trusted, "the remembered checkpoint")
        found = _Finding(None, None, new) if old is None else self._step(old, new)
        if found.growth is not None and not found.growth.honest:
            return found
        for each in anchors:
            against = self._step(each, new, where="anchored")
            if against.growth is not None and not against.growth.honest:
                return against
        self._compared = max([self._compared, *(each.checkpoint.size for each in anchors)])
        self.state.remember(new)
        return _Finding(found.growth, found.old, new, found.proof, len(anchors))

    def _anchored(self, place: str, origin: str) -> Iterator[_Seen]:
        """Those not compared before that a trusted key signed; anybody may have written the others."""
        for note in anchored(place, origin, self._compared):
            seen = _read(note)
            if _signed(seen.note, self.trusted):
                yield seen
            else:
                output.note(f"the anchored checkpoint of {seen.checkpoint.size} entries is signed by no trusted key")

    def _step(self, old: _Seen, new: _Seen, where: str = "remembered") -> _Finding:
        from caio.audit.log_monitor import growth, needs_proof

        proof: tuple[bytes, ...] = ()
        if needs_proof(old.checkpoint, new.checkpoint):
            sizes = {"old": old.checkpoint.size, "new": new.checkpoint.size}
            proof = _proof(self.server.get(CONSISTENCY, **sizes).document)
        return _Finding(growth(old.checkpoint, new.checkpoint, proof), old, new, proof, where=where)


def _compared(old: str | None, new: str | None, proof: str | None, trusted: Mapping[str, bytes]) -> _Finding:
    """Two checkpoints from files."""
    from caio.audit.log_monitor import growth, needs_proof

    if old is None or new is None:
        raise InvalidInput("--old and --new belong together")
    first, second = (_verified(_read(read_file(path)), trusted, path) for path in (old, new))
    if first.checkpoint.origin != second.checkpoint.origin:
        raise InvalidInput("these are checkpoints of two logs")
    if needs_proof(first.checkpoint, second.checkpoint) and proof is None:
        raise InvalidInput(
            "the sizes differ: give the proof as --proof FILE, as GET /api/v1/audit/proofs/consistency answers it"
        )
    hashes = _proof(read_json(proof)) if proof is not None else ()
    return _Finding(growth(first.checkpoint, second.checkpoint, hashes), first, second, hashes, where="older")


def _fetched(server: Server) -> _Seen:
    with server.stream(CHECKPOINT, "text/plain", fresh="true") as parts:
        return _read(b"".join(parts))


def _read(note: str | bytes) -> _Seen:
    from caio.audit.checkpoint import read_checkpoint

    signed = read_checkpoint(note)
    return _Seen(signed.checkpoint, str(signed.note))


def _verified(seen: _Seen, trusted: Mapping[str, bytes], what: str) -> _Seen:
    if not _signed(seen.note, trusted):
        raise _Unsigned(seen, what)
    return seen


def _signed(note: str, trusted: Mapping[str, bytes]) -> bool:
    from caio.audit.checkpoint import read_checkpoint

    return read_checkpoint(note).signed_by(trusted) is not None


def _proof(document: Any) -> tuple[bytes, ...]:
    """The hashes of a proof; what is none proves nothing."""
    try:
        return tuple(bytes.fromhex(each) for each in document["proof"])
    except (TypeError, KeyError, ValueError):
        return ()


def _default_state() -> Path:
    return Path.home() / ".config" / "caio" / "monitored-logs.json"
