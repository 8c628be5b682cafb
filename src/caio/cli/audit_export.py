"""``caio audit export``: the log into a directory, which is there whole or not at all."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from caio.cli import output
from caio.cli.moments import moment_of
from caio.cli.parameters import DEFAULT_URL, ApiKey, Json, Url
from caio.cli.server import asked_with
from caio.foundation.errors import Conflict, InvalidInput, Misconfigured, NotReady

if TYPE_CHECKING:
    from caio.audit.export import Manifest

PATH = "/api/v1/audit/export"

#: Lines between two steps of tiles, and of what is told.
_STEP = 1024


def export(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="A directory that does not exist yet.")],
    start: Annotated[int, typer.Option("--from", min=0, metavar="SEQ", help="The first entry.")] = 0,
    kind: Annotated[
        list[str] | None, typer.Option(help="Disclose this kind of entries; may be repeated [all].")
    ] = None,
    since: Annotated[
        str | None, typer.Option(help="Disclose what was recorded since: 12h, 7d, or a time in RFC 3339.")
    ] = None,
    until: Annotated[str | None, typer.Option(help="Disclose what was recorded before, as for --since.")] = None,
    service: Annotated[str | None, typer.Option(help="Disclose decisions that chose it, or that it answered.")] = None,
    principal: Annotated[str | None, typer.Option(help="Disclose what this principal asked for or did.")] = None,
    outcome: Annotated[
        str | None, typer.Option(help="Disclose decisions that ended so: ok, failed, refused, …")
    ] = None,
    capability: Annotated[str | None, typer.Option(help="Disclose decisions on this capability.")] = None,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """Export the audit log, for anybody to verify offline. What is not disclosed shows its commitment alone."""
    query = {
        "from": start,
        "kind": kind,
        "since": moment_of("--since", since),
        "until": moment_of("--until", until),
        "service": service,
        "principal": principal,
        "outcome": outcome,
        "capability": capability,
    }
    server = asked_with(url, api_key)
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise Conflict(f"{directory} exists already; name a directory that does not", code="already_exists")
    fresh = directory.absolute().with_name(f".{directory.absolute().name}.{os.getpid()}")
    with output.counting("Exporting") as told, server.stream(PATH, "application/x-ndjson", **query) as parts:
        try:
            fresh.mkdir(mode=0o700)
            manifest = _Download(fresh, start).take(parts, told)
            fresh.replace(directory)
        except OSError as error:
            raise Misconfigured(f"{directory} cannot be written: {error.strerror}", code="unwritable_file") from error
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
    _tell(manifest, directory, as_json)


def lines_of(parts: Iterable[bytes]) -> Iterator[bytes]:
    """The lines, with their ends, of a body that comes in parts; the last may lack its end."""
    from caio.audit.export import MAX_LINE_BYTES

    rest = b""
    for part in parts:
        *whole, rest = (rest + part).split(b"\n")
        yield from (line + b"\n" for line in whole)
        if len(rest) > MAX_LINE_BYTES:
            raise InvalidInput("what the server sends is no export: a line does not end")
    if rest:
        yield rest


class _Download:
    """An export on its way into ``folder``."""

    def __init__(self, folder: Path, start: int) -> None:
        from caio.audit.export import Tally
        from caio.audit.log_tree import Tiling

        self._folder = folder
        self._start = start
        self._tally = Tally()
        self._tiling = Tiling() if start == 0 else None
        self._pending: list[bytes] = []
        self._sha256 = hashlib.sha256()

    def take(self, parts: Iterable[bytes], told: Callable[[int], None]) -> Manifest:
        """Write the files; raises InvalidInput for what is no export, and NotReady for one that was cut short."""
        from caio.audit.export import is_closing, read_closing, read_line

        closing: bytes | None = None
        with (self._folder / "entries.jsonl").open("xb") as file:
            for raw in lines_of(parts):
                if closing is not None:
                    raise InvalidInput("what the server sends is no export: it goes on after its last line")
                if is_closing(raw):
                    closing = raw
                    continue
                line = read_line(raw)
                self._tally = self._tally.with_line(line)
                self._pending.append(bytes.fromhex(line.commitment))
                self._sha256.update(raw)
                file.write(raw)
                if len(self._pending) == _STEP:
                    self._write_tiles()
                    told(self._tally.count)
        if closing is None:
            raise NotReady(f"the export was cut short after {self._tally.count} entries; nothing is kept, run it again")
        manifest, checkpoint = read_closing(closing)
        self._check(manifest)
        self._write_tiles()
        if self._tiling is not None:
            self._write(self._tiling.partial())
        self._write([("checkpoint", checkpoint.encode()), ("manifest.json", manifest.written())])
        return manifest

    def _check(self, manifest: Manifest) -> None:
        """That nothing was lost on the way; that it is true is for ``caio audit verify`` to say."""
        stated = (manifest.start, manifest.count, manifest.entries_sha256)
        if stated != (self._start, self._tally.count, self._sha256.hexdigest()):
            raise InvalidInput(
                "what the server sends is no export: its manifest is that of other entries; run it again"
            )

    def _write_tiles(self) -> None:
        if self._tiling is not None:
            self._write(self._tiling.grow(self._pending))
        self._pending = []

    def _write(self, files: Iterable[tuple[str, bytes]]) -> None:
        for name, content in files:
            path = self._folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)


def _tell(manifest: Manifest, directory: Path, as_json: bool) -> None:
    if as_json:
        named = ("origin", "from", "size", "count", "erased", "withheld", "unreadable")
        document = manifest.document()
        output.print_json({"directory": str(directory), **{name: document[name] for name in named}})
        return
    parts = {"erased": manifest.erased, "withheld": manifest.withheld, "unreadable": manifest.unreadable}
    others = "".join(f", {number} {name}" for name, number in parts.items() if number)
    output.say(f"{manifest.count} entries of {manifest.origin}{others} written to {directory}")
    output.next_step(f"caio audit verify {directory}")
