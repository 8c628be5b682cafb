"""The port ``caio.audit.ports.Anchor``, held by both adapters: a directory, and a locked bucket in an emulated S3.

What each adds to the port, what an attacker can do to it, and what it refuses, is tested below the port's laws.
"""

from __future__ import annotations

import asyncio
import bisect
import itertools
import os
import stat
import threading
import uuid
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import pytest_asyncio
from botocore.exceptions import ClientError

from caio.audit.anchor_directory import AT_ONCE, DirectoryAnchor
from caio.audit.anchoring import name_of
from caio.audit.checkpoint import Checkpoint, log_key, sign_checkpoint
from caio.audit.notes import NoteSignature, read_note, write_note
from caio.audit.signing import SigningKey
from caio.aws.clients import aws_client
from caio.aws.object_lock import S3Anchor
from caio.bootstrap import anchor_of
from caio.config import read_settings
from caio.foundation.errors import Conflict, Misconfigured, NotReady
from tests.support.emulated_aws import emulated_aws

pytestmark = pytest.mark.asyncio(loop_scope="module")

KEY, NEXT_KEY = SigningKey.generate(b"1" * 32), SigningKey.generate(b"2" * 32)
ORIGIN = "caio.localhost/acme"
NOW = 1_800_000_000_000_000
_buckets = itertools.count(1)


def note_of(size, origin=ORIGIN, root=b"r", key=KEY):
    return sign_checkpoint(Checkpoint(origin, size, root * 32), key)


@pytest.fixture(scope="module")
def aws_environment(tmp_path_factory):
    with emulated_aws(tmp_path_factory.mktemp("aws")) as environment, pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        yield environment


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def s3(aws_environment):
    """One for all tests, since each client reads megabytes of descriptions; every test has its own bucket."""
    async with aws_client("s3") as client:
        yield client


async def make_bucket(client, *, locked=True):
    name = f"anchors-{next(_buckets)}-{uuid.uuid4().hex[:8]}"
    place = {"LocationConstraint": "eu-central-1"}
    await client.create_bucket(Bucket=name, ObjectLockEnabledForBucket=locked, CreateBucketConfiguration=place)
    return name


@pytest_asyncio.fixture(loop_scope="module")
async def bucket(s3):
    return await make_bucket(s3)


@pytest_asyncio.fixture(loop_scope="module")
async def locked(s3, bucket):
    return await S3Anchor.open(s3, bucket, "caio", 30, lambda: NOW)


@pytest.fixture
def directory(tmp_path):
    return DirectoryAnchor(tmp_path / "anchors")


@pytest.fixture(params=["directory", "s3"])
def anchor(request):
    return request.getfixturevalue("directory" if request.param == "directory" else "locked")


async def all_notes(anchor, origin=ORIGIN, after=-1):
    return [note async for note in anchor.notes(origin, after)]


# --- the port -----------------------------------------------------------------------------------


async def test_nothing_is_there_before_the_first_note(anchor):
    assert await anchor.latest(ORIGIN) is None
    assert await all_notes(anchor) == []


async def test_notes_come_back_by_size(anchor):
    for size in (10, 9, 0, 2**63 - 1, 100):
        await anchor.put(ORIGIN, size, note_of(size))
    assert await all_notes(anchor) == [note_of(size) for size in (0, 9, 10, 100, 2**63 - 1)]
    assert await all_notes(anchor, after=9) == [note_of(size) for size in (10, 100, 2**63 - 1)]
    assert await all_notes(anchor, after=11) == [note_of(100), note_of(2**63 - 1)]
    assert await all_notes(anchor, after=2**63 - 1) == []
    assert await anchor.latest(ORIGIN) == note_of(2**63 - 1)


async def test_the_same_note_again_changes_nothing(anchor):
    for _ in range(2):
        await anchor.put(ORIGIN, 5, note_of(5))
    assert await all_notes(anchor) == [note_of(5)]


async def test_another_checkpoint_of_the_same_size_is_a_conflict(anchor):
    await anchor.put(ORIGIN, 5, note_of(5))
    with pytest.raises(Conflict) as refused:
        await anchor.put(ORIGIN, 5, note_of(5, root=b"x"))
    assert refused.value.code == "anchor_conflict"
    assert await all_notes(anchor) == [note_of(5)]


async def test_another_signature_is_the_same_checkpoint(anchor):
    """After a rotation of the log's key, or with a witness's line below it; what was there first stays."""
    await anchor.put(ORIGIN, 5, note_of(5))
    await anchor.put(ORIGIN, 5, note_of(5, key=NEXT_KEY))
    noted = read_note(note_of(5))
    witness = log_key("witness.example", NEXT_KEY.public_key)
    cosigned = write_note(noted.text, [*noted.signatures, NoteSignature(witness.name, witness.hash, b"s" * 72)])
    await anchor.put(ORIGIN, 5, cosigned)
    assert await all_notes(anchor) == [note_of(5)]


async def test_writers_at_once_agree_on_one_note(anchor):
    roots = [b"a", b"b", b"a", b"b"]
    answers = await asyncio.gather(
        *(anchor.put(ORIGIN, 7, note_of(7, root=root)) for root in roots), return_exceptions=True
    )
    won = [root for root, answer in zip(roots, answers, strict=True) if answer is None]
    assert won in ([b"a"] * 2, [b"b"] * 2)
    assert {type(answer) for answer in answers} == {type(None), Conflict}
    assert await all_notes(anchor) == [note_of(7, root=won[0])]


async def test_logs_are_kept_apart(anchor):
    origins = ["a", "a/b", "a/b/c", "A", "a.note", "a/" + "0" * 20 + ".note", "..", "a/../b", "/a", "a//b", "a%2Eb"]
    for origin in origins:
        await anchor.put(origin, 1, note_of(1, origin))
    for origin in origins:
        assert await all_notes(anchor, origin) == [note_of(1, origin)]
        assert await anchor.latest(origin) == note_of(1, origin)


@pytest.mark.parametrize(
    ("origin", "size", "note"),
    [
        (ORIGIN, 6, note_of(5)),
        ("caio.localhost/rival", 5, note_of(5)),
        (ORIGIN, 5, "no note"),
        (ORIGIN, 5, note_of(5).replace("\n", "\r\n")),
        (ORIGIN, 5, note_of(5).partition("\n\n")[0] + "\n"),
    ],
)
async def test_only_a_checkpoint_of_its_place_is_taken(anchor, origin, size, note):
    with pytest.raises(ValueError, match="must be"):
        await anchor.put(origin, size, note)
    assert await all_notes(anchor, origin) == []


# --- a directory --------------------------------------------------------------------------------


async def test_a_note_is_a_read_only_file_and_leaves_nothing_beside_it(directory, tmp_path):
    await directory.put(ORIGIN, 42, note_of(42))
    files = [path for path in (tmp_path / "anchors").rglob("*") if path.is_file()]
    assert files == [tmp_path / "anchors/caio.localhost/acme/00000000000000000042.note"]
    assert stat.S_IMODE(files[0].stat().st_mode) == 0o444
    assert files[0].read_bytes() == note_of(42).encode()


@pytest.mark.parametrize("content", [b"", note_of(5)[:-9].encode(), note_of(6).encode(), b"\xff\x00"])
async def test_a_file_that_was_changed_is_reported(directory, tmp_path, content):
    folder = tmp_path / "anchors/caio.localhost/acme"
    folder.mkdir(parents=True)
    (folder / name_of(5)).write_bytes(content)
    (folder / "README").write_text("no note, and passed over")
    for look in (directory.put(ORIGIN, 5, note_of(5)), directory.latest(ORIGIN), all_notes(directory)):
        with pytest.raises(Conflict) as refused:
            await look
        assert refused.value.code == "anchor_tampered"
    assert (folder / name_of(5)).read_bytes() == content


async def test_a_directory_that_cannot_be_used_is_not_ready(tmp_path):
    (tmp_path / "anchors").write_text("a file stands here")
    anchor = DirectoryAnchor(tmp_path / "anchors")
    with pytest.raises(NotReady, match="cannot be written to"):
        await anchor.put(ORIGIN, 5, note_of(5))
    with pytest.raises(NotReady, match="cannot be read"):
        await anchor.latest(ORIGIN)


async def test_a_note_is_synced_before_it_has_its_name_and_its_folders_after(directory, tmp_path, monkeypatch):
    steps = []

    def record(name):
        plain = getattr(os, name)

        def recorded(target, *rest):
            where = target if name == "link" else Path(f"/proc/self/fd/{target}").readlink()
            steps.append((name, str(where).removeprefix(str(tmp_path))))
            return plain(target, *rest)

        monkeypatch.setattr(os, name, recorded)

    record("fsync")
    record("link")
    await directory.put("log", 1, note_of(1, "log"))
    (_, first), (_, second), (synced, file), (linked, same), (_, last) = steps
    assert (first, second, last) == ("", "/anchors", "/anchors/log")
    assert (synced, linked) == ("fsync", "link")
    assert file == same


async def test_a_directory_that_hangs_holds_up_nothing_else(directory, tmp_path):
    """As a mount that is gone does: reading a pipe that nobody writes into never ends."""
    folder = tmp_path / "anchors/caio.localhost/acme"
    folder.mkdir(parents=True)
    os.mkfifo(folder / name_of(5))
    hanging = [asyncio.create_task(directory.put(ORIGIN, 5, note_of(5))) for _ in range(AT_ONCE)]
    await asyncio.wait(hanging, timeout=0.05)
    with pytest.raises(NotReady, match="does not answer"):
        await directory.put("another", 5, note_of(5, "another"))
    async with asyncio.timeout(10):
        assert await asyncio.to_thread(os.getpid) == os.getpid()  # names are looked up on these threads
    for task in hanging:
        task.cancel()
    await asyncio.gather(*hanging, return_exceptions=True)
    # Let the threads go: each reads what a writer leaves, which is no note.
    while any(thread.name == "caio-anchor" for thread in threading.enumerate()):
        with suppress(OSError):
            os.close(os.open(folder / name_of(5), os.O_WRONLY | os.O_NONBLOCK))
        await asyncio.sleep(0.001)
    await directory.put("another", 5, note_of(5, "another"))


# --- a locked bucket ----------------------------------------------------------------------------


async def versions_of(s3, bucket):
    listed = await s3.list_object_versions(Bucket=bucket)
    return [(each["Key"], each["VersionId"]) for each in listed.get("Versions", ())]


async def test_a_note_is_locked_for_its_retention(s3, bucket, locked):
    await locked.put(ORIGIN, 42, note_of(42))
    ((key, _),) = await versions_of(s3, bucket)
    assert key == "caio/caio.localhost/acme/00000000000000000042.note"
    head = await s3.head_object(Bucket=bucket, Key=key, ChecksumMode="ENABLED")
    assert head["ObjectLockMode"] == "COMPLIANCE"
    assert head["ObjectLockRetainUntilDate"] == datetime.fromtimestamp(NOW / 1e6, UTC) + timedelta(days=30)
    assert head["ContentType"] == "text/plain; charset=utf-8"


async def test_a_locked_version_cannot_be_deleted(s3, bucket):
    anchor = await S3Anchor.open(s3, bucket, "", 30, lambda: int(datetime.now(UTC).timestamp()) * 1_000_000)
    await anchor.put(ORIGIN, 42, note_of(42))
    ((key, version),) = await versions_of(s3, bucket)
    for bypass in (False, True):
        with pytest.raises(ClientError, match="AccessDenied"):
            await s3.delete_object(Bucket=bucket, Key=key, VersionId=version, BypassGovernanceRetention=bypass)
    assert await anchor.latest(ORIGIN) == note_of(42)


async def test_a_bucket_that_forgets_is_refused(s3, bucket):
    plain = await make_bucket(s3, locked=False)
    with pytest.raises(Misconfigured, match="has no Object Lock"):
        await S3Anchor.open(s3, plain, "", 30, lambda: NOW)
    with pytest.raises(Misconfigured, match="There is no bucket"):
        await S3Anchor.open(s3, f"{plain}-absent", "", 30, lambda: NOW)
    # S3 itself refuses to suspend the versioning of such a bucket; the emulation does not.
    await s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Suspended"})
    with pytest.raises(Misconfigured, match="keeps no versions"):
        await S3Anchor.open(s3, bucket, "", 30, lambda: NOW)


async def test_what_is_added_later_changes_nothing(s3, bucket, locked):
    """Delete markers, on notes and on places without one, the same note again, and things that are no notes."""
    for size in (1, 2):
        await locked.put(ORIGIN, size, note_of(size))
    folder = "caio/caio.localhost/acme/"
    for size in (1, 2):
        await s3.put_object(Bucket=bucket, Key=folder + name_of(size), Body=note_of(size, key=NEXT_KEY).encode())
    await s3.delete_object(Bucket=bucket, Key=folder + name_of(2))
    await s3.delete_object(Bucket=bucket, Key=folder + name_of(9))
    for stray in ("README", name_of(3) + ".txt", "deeper/" + name_of(3), "7.note"):
        await s3.put_object(Bucket=bucket, Key=folder + stray, Body=b"stray")
    assert await all_notes(locked) == [note_of(1), note_of(2)]
    assert await locked.latest(ORIGIN) == note_of(2)
    await locked.put(ORIGIN, 2, note_of(2))
    with pytest.raises(Conflict) as refused:
        await locked.put(ORIGIN, 2, note_of(2, root=b"x"))
    assert refused.value.code == "anchor_conflict"
    assert len([key for key, _ in await versions_of(s3, bucket) if key.endswith(name_of(2))]) == 2


@pytest.mark.parametrize("written", [note_of(2, root=b"x").encode(), b"", note_of(3).encode()])
async def test_differing_versions_are_reported(s3, bucket, locked, written):
    for size in (1, 2):
        await locked.put(ORIGIN, size, note_of(size))
    key = "caio/caio.localhost/acme/" + name_of(2)
    await s3.put_object(Bucket=bucket, Key=key, Body=written)
    await s3.delete_object(Bucket=bucket, Key=key)
    for look in (locked.put(ORIGIN, 2, note_of(2)), locked.latest(ORIGIN), all_notes(locked)):
        with pytest.raises(Conflict) as refused:
            await look
        assert refused.value.code == "anchor_tampered"


async def test_more_notes_than_fit_a_page_are_all_found(s3, bucket, locked, monkeypatch):
    """Also where the versions of one note lie on two pages."""
    for size in range(7):
        await locked.put(ORIGIN, size, note_of(size))
    await s3.put_object(Bucket=bucket, Key="caio/caio.localhost/acme/" + name_of(1), Body=note_of(1).encode())
    plain = s3.get_paginator("list_object_versions")

    class Narrow:
        def paginate(self, **wanted):
            return plain.paginate(**wanted | {"PaginationConfig": {"PageSize": 2}})

    monkeypatch.setattr(s3, "get_paginator", lambda _: Narrow())
    assert await all_notes(locked) == [note_of(size) for size in range(7)]
    assert await all_notes(locked, after=3) == [note_of(size) for size in (4, 5, 6)]
    assert await locked.latest(ORIGIN) == note_of(6)


@pytest.mark.parametrize("sizes", [[0], [7], [0, 1], [5, 6, 7, 8, 9], [1, 1000, 1001, 2**40], [2**62, 2**63 - 1]])
async def test_the_largest_is_found_among_gaps(s3, bucket, locked, sizes):
    for size in sizes:
        await locked.put(ORIGIN, size, note_of(size))
    await s3.delete_object(Bucket=bucket, Key="caio/caio.localhost/acme/" + name_of(sizes[-1]))
    for stray in (3, 2**41, 2**61):
        await s3.delete_object(Bucket=bucket, Key="caio/caio.localhost/acme/" + name_of(stray))
    assert await locked.latest(ORIGIN) == note_of(sizes[-1])


@pytest.mark.parametrize("gap", [1, 60_000])
async def test_the_largest_of_many_is_found_in_few_answers_after_one_another(locked, monkeypatch, gap):
    """What an answer of S3 takes, many times after one another, would be too long for those who wait."""
    sizes, waves, asking = range(7, 10_000_000, gap), 0, 0

    async def following(origin, after):
        nonlocal waves, asking
        waves, asking = waves + (asking == 0), asking + 1
        await asyncio.sleep(0)
        asking -= 1
        place = bisect.bisect_right(sizes, after)
        return sizes[place] if place < len(sizes) else None

    monkeypatch.setattr(locked, "_next", following)
    assert await locked._largest(ORIGIN) == sizes[-1]
    assert waves <= 12


async def test_a_note_at_the_end_of_all_sizes_ends_the_search(s3, bucket, locked):
    await locked.put(ORIGIN, 1, note_of(1))
    await s3.put_object(Bucket=bucket, Key="caio/caio.localhost/acme/" + name_of(10**20 - 1), Body=b"beyond")
    async with asyncio.timeout(30):
        with pytest.raises(Conflict) as refused:
            await locked.latest(ORIGIN)
    assert refused.value.code == "anchor_tampered"


async def test_a_service_that_does_not_answer_is_not_ready(s3, bucket, locked, monkeypatch, free_port):
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    async with aws_client("s3") as nobody:
        with pytest.raises(NotReady, match="does not answer"):
            await S3Anchor.open(nobody, bucket, "", 30, lambda: NOW)


# --- what the settings choose -------------------------------------------------------------------


async def put_as_set(data_dir, size, **settings):
    async with anchor_of(read_settings(data_dir=data_dir, **settings)) as anchor:
        assert anchor is not None
        await anchor.put(ORIGIN, size, note_of(size))


async def test_the_settings_choose_the_anchor(s3, bucket, tmp_path):
    await put_as_set(tmp_path, 1)
    assert (tmp_path / "anchors/caio.localhost/acme" / name_of(1)).exists()
    await put_as_set(tmp_path, 2, anchor=str(tmp_path / "mounted"))
    assert (tmp_path / "mounted/caio.localhost/acme" / name_of(2)).exists()
    await put_as_set(tmp_path, 3, anchor=f"s3://{bucket}/some/where/")
    assert [key for key, _ in await versions_of(s3, bucket)] == [f"some/where/{ORIGIN}/{name_of(3)}"]
    async with anchor_of(read_settings(data_dir=tmp_path, anchor="none")) as anchor:
        assert anchor is None
