"""The zip of a tenant's export: the same bytes, in bounded memory, and every change noticed."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from caio.foundation.errors import InvalidInput
from caio.registry.tenant_archive import FILES, KINDS, MANIFEST, ArchiveWriter, verify

MANIFEST_OF = {"tenant": "acme", "made_at": 7, "made_by": "key_1", "content": True, "audit": None}


def parts(rows: int = 3) -> Iterator[bytes]:
    writer = ArchiveWriter()
    for name in KINDS:
        yield writer.begin(name)
        for number in range(rows):
            yield writer.rows({"file": name, "number": number, "text": "Nový ☃"})
    yield writer.end(MANIFEST_OF)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = tmp_path / "tenant.zip"
    path.write_bytes(b"".join(parts()))
    return path


def test_the_same_rows_give_the_same_bytes() -> None:
    assert b"".join(parts()) == b"".join(parts())


def test_memory_is_bounded() -> None:
    writer, most = ArchiveWriter(), 0
    for name in KINDS[:8]:
        writer.begin(name)
    for number in range(20_000):
        most = max(most, len(writer.rows({"decision": number, "text": f"{number * 7919:x}" * 20})))
    assert most < 300_000  # what zlib holds back, not the file


def test_whoever_reads_zip_opens_it(archive: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(archive) as opened:
        assert opened.testzip() is None
        assert opened.namelist() == [*FILES, MANIFEST]
        assert [json.loads(line)["number"] for line in opened.read("usage.jsonl").splitlines()] == [0, 1, 2]
        assert {info.date_time for info in opened.infolist()} == {(1980, 1, 1, 0, 0, 0)}
    if (unzip := shutil.which("unzip")) is not None:
        subprocess.run([unzip, "-tq", archive], check=True, stdout=subprocess.DEVNULL, cwd=tmp_path)


def test_a_whole_archive_verifies(archive: Path) -> None:
    told: list[int] = []
    manifest = verify(archive, told.append)
    assert {name: manifest[name] for name in MANIFEST_OF} == MANIFEST_OF
    assert [each["rows"] for each in manifest["files"]] == [3] * len(FILES)
    assert told == sorted(told)
    assert len(told) == len(FILES)


def rewritten(source: Path, change: Callable[[dict[str, bytes]], dict[str, bytes]]) -> bytes:
    """The archive with other contents, which its checksums fit."""
    with zipfile.ZipFile(source) as opened:
        contents = change({name: opened.read(name) for name in opened.namelist()})
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as target:
        for name, content in contents.items():
            target.writestr(name, content)
    return written.getvalue()


CHANGES: dict[str, Callable[[dict[str, bytes]], dict[str, bytes]]] = {
    "a row": lambda files: files | {"keys.jsonl": files["keys.jsonl"].replace(b"Nov", b"Now")},
    "a row less": lambda files: files | {"usage.jsonl": files["usage.jsonl"].split(b"\n", 1)[1]},
    "a file less": lambda files: {name: files[name] for name in files if name != "holds.jsonl"},
    "a file more": lambda files: {"../evil": b"", **files},
    "another order": lambda files: dict(sorted(files.items())),
    "no manifest": lambda files: {name: files[name] for name in FILES},
    "a manifest of something else": lambda files: files | {MANIFEST: files[MANIFEST].replace(b"tenant-export", b"t")},
    "a manifest in another form": lambda files: files | {MANIFEST: files[MANIFEST].replace(b":", b": ")},
    "a manifest that is a list": lambda files: files | {MANIFEST: b"[]\n"},
    "a manifest that is no text": lambda files: files | {MANIFEST: b"\xff\n"},
    "files that are none": lambda files: files | {MANIFEST: b'{"files":[],"kind":"caio-tenant-export","v":1}\n'},
}


@pytest.mark.parametrize("name", CHANGES)
def test_every_change_is_noticed(archive: Path, name: str) -> None:
    archive.write_bytes(rewritten(archive, CHANGES[name]))
    with pytest.raises(InvalidInput) as refused:
        verify(archive)
    assert refused.value.code == "export_broken"


def test_every_cut_and_flip_is_noticed(archive: Path) -> None:
    whole = archive.read_bytes()
    for length in range(0, len(whole), 97):
        archive.write_bytes(whole[:length])
        with pytest.raises(InvalidInput):
            verify(archive)
    archive.write_bytes(whole)
    manifest, noticed = verify(archive), 0
    for place in range(0, len(whole), 13):
        flipped = bytearray(whole)
        flipped[place] ^= 0xFF
        archive.write_bytes(flipped)
        try:
            assert verify(archive) == manifest  # a byte that says nothing, such as the time of a file
        except InvalidInput:
            noticed += 1
    assert noticed > len(whole) // 13 // 2


def test_files_come_in_their_order_and_all_of_them() -> None:
    writer = ArchiveWriter()
    with pytest.raises(ValueError, match="not the next"):
        writer.begin(KINDS[1])
    writer.begin(KINDS[0])
    with pytest.raises(ValueError, match="every file"):
        writer.end(MANIFEST_OF)
