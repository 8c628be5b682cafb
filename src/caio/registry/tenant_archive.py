"""A tenant's export as a zip: written without being held in memory, verified without a server. Pure but for ``verify``.

Theory of operation
-------------------
The archive holds files of JSON Lines with fixed names, and ``manifest.json`` last, which says of each how many
rows and bytes it has and what they hash to. Parts of the archive leave as soon as they are compressed. Times of
files are fixed, names and order are those of this module, so the same rows and the same manifest give the same
bytes (with the same zlib). Sizes stand behind each file's content (zip's data descriptors) and in the directory
at the end: any reader of zip opens it, from a disk.

Laws (each has a test of the same name)
---------------------------------------
- the_same_rows_give_the_same_bytes.
- memory_is_bounded: what was written is given away, not kept.
- every_change_is_noticed: of a row, a name, a file more or less, or the manifest's form.

The manifest is not signed: it shows that the archive is whole, not who made it.

Sources: APPNOTE.TXT 6.3.10 (zip), sections 4.3.9 and 4.4.4.
"""

from __future__ import annotations

import hashlib
import io
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from caio.foundation.canonical import canonical_json
from caio.foundation.errors import InvalidInput

VERSION = 1
KIND = "caio-tenant-export"
MANIFEST = "manifest.json"

#: What there are files of, in their order.
KINDS = (
    "tenant",
    "members",
    "invitations",
    "keys",
    "services",
    "policies",
    "service_limits",
    "aliases",
    "decisions",
    "usage",
    "holds",
    "retention",
    "webhooks",
    "workflow_runs",
    "workflow_steps",
    "workflow_events",
)

FILES = tuple(f"{kind}.jsonl" for kind in KINDS)

_LEVEL = 6
_PART = 1 << 20
#: The earliest time that a zip knows.
_EPOCH = (1980, 1, 1, 0, 0, 0)
_LARGEST_MANIFEST = 1 << 20
#: What ``zipfile`` raises for archives that are damaged, encrypted, or of a kind that it does not know.
_UNREADABLE = (
    zipfile.BadZipFile,
    zipfile.LargeZipFile,
    zlib.error,
    struct.error,
    NotImplementedError,
    RuntimeError,
    EOFError,
    LookupError,
    ValueError,
    OverflowError,
    OSError,
)


@dataclass(frozen=True, slots=True)
class FileFacts:
    """What the manifest says of a file."""

    name: str
    rows: int
    bytes: int
    sha256: str


class _Sink(io.RawIOBase):
    """Takes what is written and gives it away; cannot seek, so that sizes are written behind."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, part: Any) -> int:
        self._parts.append(bytes(part))
        return len(part)

    def taken(self) -> bytes:
        given, self._parts = b"".join(self._parts), []
        return given


class ArchiveWriter:
    """Writes one archive: for each of ``KINDS`` ``begin`` and ``rows``, then ``end``. Each gives the bytes that are
    ready to leave, perhaps none."""

    def __init__(self) -> None:
        self._sink = _Sink()
        self._zip = zipfile.ZipFile(self._sink, "w", zipfile.ZIP_DEFLATED, compresslevel=_LEVEL)
        self._file: Any = None
        self._name = ""
        self._done: list[FileFacts] = []

    def begin(self, kind: str) -> bytes:
        self._close()
        if len(self._done) == len(KINDS) or kind != KINDS[len(self._done)]:
            raise ValueError(f"{kind!r} are not the next rows of an export")
        name = f"{kind}.jsonl"
        self._name, self._rows, self._bytes, self._sha256 = name, 0, 0, hashlib.sha256()
        self._file = self._zip.open(_info(name), "w", force_zip64=True)
        return self._sink.taken()

    def rows(self, *documents: Mapping[str, Any]) -> bytes:
        for document in documents:
            line = canonical_json(dict(document)) + b"\n"
            self._sha256.update(line)
            self._rows += 1
            self._bytes += len(line)
            self._file.write(line)
        return self._sink.taken()

    def end(self, manifest: Mapping[str, Any]) -> bytes:
        """The rest, with a manifest that adds to ``manifest`` what the files are."""
        self._close()
        if len(self._done) != len(FILES):
            raise ValueError("an export has every file")
        files = [
            {"name": each.name, "rows": each.rows, "bytes": each.bytes, "sha256": each.sha256} for each in self._done
        ]
        document = {**manifest, "kind": KIND, "v": VERSION, "files": files}
        self._zip.writestr(_info(MANIFEST), canonical_json(document) + b"\n")
        self._zip.close()
        return self._sink.taken()

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._done.append(FileFacts(self._name, self._rows, self._bytes, self._sha256.hexdigest()))
            self._file = None


def _info(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, _EPOCH)
    info.compress_type = zipfile.ZIP_DEFLATED
    info.create_system = 3
    info.external_attr = 0o600 << 16
    return info


def verify(path: Path, told: Any = lambda done: None) -> dict[str, Any]:
    """The manifest of the archive at ``path``, whose every file is what it says. Raises InvalidInput
    ``export_broken`` for anything else, and OSError for what cannot be read. ``told`` hears how many bytes are done."""
    with path.open("rb") as file:
        return _read(file, told)


def _read(file: BinaryIO, told: Any) -> dict[str, Any]:
    try:
        with zipfile.ZipFile(file) as archive:
            return _verified(archive, told)
    except _UNREADABLE as error:
        raise broken(f"it is no zip archive that can be read ({error})") from error


def _verified(archive: zipfile.ZipFile, told: Any) -> dict[str, Any]:
    names = [info.filename for info in archive.infolist()]
    if names != [*FILES, MANIFEST]:
        raise broken("it does not hold exactly the files of an export, each once and in order")
    if archive.getinfo(MANIFEST).file_size > _LARGEST_MANIFEST:
        raise broken("its manifest is too large")
    manifest = _read_manifest(archive.read(MANIFEST))
    done = 0
    for name, stated in zip(FILES, manifest["files"], strict=True):
        found = FileFacts(name, 0, 0, "")
        with archive.open(name) as file:
            found = _facts(name, file)
        if {"name": name, "rows": found.rows, "bytes": found.bytes, "sha256": found.sha256} != stated:
            raise broken(f"{name} is not what the manifest says")
        done += found.bytes
        told(done)
    return manifest


def _facts(name: str, file: Any) -> FileFacts:
    sha256, rows, size = hashlib.sha256(), 0, 0
    for part in _parts(file):
        sha256.update(part)
        rows += part.count(b"\n")
        size += len(part)
    return FileFacts(name, rows, size, sha256.hexdigest())


def _parts(file: BinaryIO) -> Iterator[bytes]:
    while part := file.read(_PART):
        yield part


def _read_manifest(raw: bytes) -> dict[str, Any]:
    try:
        manifest = msgspec.json.decode(raw)
        canonical = canonical_json(manifest) + b"\n" == raw
    except (msgspec.DecodeError, ValueError) as error:
        raise broken("its manifest is not JSON") from error
    known = isinstance(manifest, dict) and manifest.get("kind") == KIND and manifest.get("v") == VERSION
    files = manifest.get("files") if known else None
    if not canonical or not isinstance(files, list) or len(files) != len(FILES):
        raise broken(f"its manifest is none of a {KIND} of version {VERSION}")
    return dict(manifest)


def broken(message: str) -> InvalidInput:
    return InvalidInput(f"this is not a whole export of a tenant: {message}", code="export_broken")
