"""``caio audit verify``: what an export of a log proves, offline, to someone who pinned keys beforehand."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from caio.cli import exits, output
from caio.cli.anchors import Anchors, anchored
from caio.cli.files import InvalidFile, read_file
from caio.cli.parameters import Json
from caio.cli.trust import pinned, read_keys, store_path

if TYPE_CHECKING:
    from caio.audit.log_tree import TileFiles
    from caio.audit.verify import Verification

Directory = Annotated[Path, typer.Argument(metavar="DIR", help="What `caio audit export` wrote.")]
Keys = Annotated[
    str | None, typer.Option("--keys", metavar="FILE", help="The key set to trust, in place of the pinned keys.")
]

#: No tile and no bundle of this log is larger: 256 entries of 32 bytes, each behind its length.
_MAX_TILE_BYTES = 256 * 34
_TOLD_EVERY = 4096


def verify(
    directory: Directory,
    keys: Keys = None,
    anchors: Anchors = None,
    archived: Annotated[
        bool, typer.Option("--archived", help="The export is older: anchored checkpoints may go beyond it.")
    ] = False,
    checkpoint: Annotated[
        str | None,
        typer.Option("--checkpoint", metavar="FILE", help="A checkpoint that you kept; the log must begin with it."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Verify an export of the audit log, offline, and say which of its claims are proved."""
    from caio.audit.log_verify import Elsewhere, Export, verify_log

    trusted = pinned() if keys is None else read_keys(keys)
    manifest, signed = read_file(str(directory / "manifest.json")), read_file(str(directory / "checkpoint"))
    elsewhere = Elsewhere(
        trusted,
        anchors=None if anchors is None else _anchored(anchors, manifest),
        newest=not archived,
        earlier=None if checkpoint is None else read_file(checkpoint),
    )
    with output.counting(f"Verifying {directory}") as told:
        lines = _told(_lines(directory / "entries.jsonl"), told)
        verification = verify_log(Export(manifest, signed, lines, _tiles(directory)), elsewhere)
    # Who names checkpoints asks for a comparison: a log under another origin has none to fail.
    asked = {"anchors"} if anchors is not None else set()
    missing = _uncompared(verification, asked | ({"earlier"} if checkpoint is not None else set()))
    verified, verdict = verification.ok and not missing, _verdict(verification, missing)
    if as_json:
        found = [asdict(claim) for claim in verification.claims]
        output.print_json({"ok": verified, "verdict": verdict, "claims": found})
    else:
        output.claims((claim.proved, claim.name, claim.detail) for claim in verification.claims)
        output.say()
        output.say(verdict)
        if not trusted:
            output.say(f"Pinned keys are read from {store_path()}; pin the operator's, once, from where you trust it.")
            output.next_step("caio trust add URL")
    if not verified:
        raise typer.Exit(exits.ExitCode.NOT_VERIFIED)


def _uncompared(verification: Verification, asked: set[str]) -> list[str]:
    """Those of the claims ``asked`` for that nothing was found to check with."""
    return [claim.name for claim in verification.claims if claim.name in asked and claim.proved is None]


def _verdict(verification: Verification, missing: list[str]) -> str:
    """One sentence on what was proved, and what was not; ``missing`` claims were asked for and not checked."""
    refuted = [claim.name for claim in verification.claims if claim.proved is False]
    if refuted:
        return f"Not verified: {', '.join(refuted)} {'does' if len(refuted) == 1 else 'do'} not hold."
    if missing:
        return f"Not verified: of {' and '.join(missing)}, nothing could be compared with this log."
    proved = {claim.name for claim in verification.claims if claim.proved}
    if proved & {"anchors", "earlier"}:
        return "Verified: a trusted key signed this log, and it holds what was known of it before."
    return (
        "Verified: a trusted key signed this log, and its hashes hold. Not proved: that it was not rewritten and "
        "signed again; that takes a checkpoint from before, anchored or kept."
    )


def _anchored(place: str, raw: bytes) -> Iterator[str]:
    """The notes anchored for the log that the export says it is of; none for what is no export."""
    from caio.audit.export import read_manifest
    from caio.foundation.errors import InvalidInput

    try:
        origin = read_manifest(raw).origin
    except InvalidInput:
        return
    yield from anchored(place, origin)


def _lines(path: Path) -> Iterator[bytes]:
    """The lines of a file with their ends; one that is longer than any entry's comes in parts."""
    from caio.audit.export import MAX_LINE_BYTES

    try:
        with path.open("rb") as file:
            while line := file.readline(MAX_LINE_BYTES):
                yield line
    except OSError as error:
        raise _unreadable(path, error) from error


def _told(lines: Iterable[bytes], told: Callable[[int], None]) -> Iterator[bytes]:
    for number, line in enumerate(lines):
        if number % _TOLD_EVERY == 0:
            told(number)
        yield line


def _tiles(directory: Path) -> TileFiles | None:
    """The tile files below ``directory``, None when there is no such folder. Links are not followed."""
    from caio.audit.log_tree import TileFiles

    def names() -> Iterator[str]:
        for folder, folders, files in os.walk(directory / "tile", onerror=_raise):
            links = [name for name in folders if Path(folder, name).is_symlink()]
            yield from (Path(folder, name).relative_to(directory).as_posix() for name in (*files, *links))

    def read(name: str) -> bytes | None:
        try:
            with (directory / name).open("rb") as file:
                return file.read(_MAX_TILE_BYTES + 1)
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None
        except OSError as error:
            raise _unreadable(directory / name, error) from error

    return TileFiles(names, read) if os.path.lexists(directory / "tile") else None


def _raise(error: OSError) -> None:
    raise _unreadable(Path(str(error.filename)), error) from error


def _unreadable(path: Path, error: OSError) -> InvalidFile:
    return InvalidFile(str(path), f"{path} cannot be read: {error.strerror}", code="unreadable_file")
