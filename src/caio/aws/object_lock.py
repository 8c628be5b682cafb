"""Checkpoints anchored in a bucket of S3 under Object Lock in compliance mode: nobody can take them back.

Theory of operation
-------------------
    s3://BUCKET/PREFIX/<origin>/<size, 20 digits>.note     the signed note, retained for a number of days

In compliance mode no principal, not the account's root either, can delete a version of an object or shorten
its retention before it ends. What whoever holds the writing credentials can still do is *add*: a delete
marker that hides a note, or another version that stands before it. So nothing here trusts the newest
version: the **first version of each key** is the note, delete markers are passed over, and a key whose
versions differ is reported as tampered with.

The laws are the port's, held by tests/conformance/test_anchors.py, with these beside them:

- a_bucket_that_forgets_is_refused: without Object Lock or without versioning nothing is opened.
- what_is_added_later_changes_nothing: neither delete markers nor versions move ``latest`` and ``notes``.
- differing_versions_are_reported: Conflict ``anchor_tampered``.

Not protected: notes after their retention, and sizes that somebody with the credentials takes before the
log gets there, which shows as Conflict ``anchor_conflict`` when it does. Sources: Amazon S3 user guide,
"Locking objects with Object Lock", "Conditional writes"; API reference, ListObjectVersions (versions of a
key are listed newest first).
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Self

from botocore.exceptions import ClientError

from caio.audit.anchoring import checkpoint_of, folder_of, held, must_agree, name_of, size_of, tampered
from caio.audit.checkpoint import Checkpoint
from caio.aws.outage import answers_of, code_of
from caio.foundation.errors import Misconfigured, NotReady

#: The largest size that a note's name can have, and in how many parts what is below it is searched at once.
LAST_SIZE = 10**20 - 1
PARTS = 8

_TAKEN = frozenset({"PreconditionFailed", "ConditionalRequestConflict"})
_NO_SUCH_BUCKET = frozenset({"NoSuchBucket", "404"})


class S3Anchor:
    """The ``Anchor`` port over one bucket. Make one with ``open``."""

    def __init__(self, client: Any, bucket: str, prefix: str, retention_days: int, now: Callable[[], int]) -> None:
        self._client = client
        self._bucket = bucket
        self._prefix = f"{prefix}/" if prefix else ""
        self._retention = timedelta(days=retention_days)
        self._now = now

    @classmethod
    async def open(cls, client: Any, bucket: str, prefix: str, retention_days: int, now: Callable[[], int]) -> Self:
        """The anchor, once S3 has confirmed that the bucket keeps what it is given. ``now`` is a clock of
        microseconds. Raises Misconfigured for a bucket that is not there or forgets, NotReady as the port says."""
        with answers_of("S3"):
            if not await _locks(client, bucket):
                raise Misconfigured(
                    f"The bucket {bucket} has no Object Lock: what is anchored there could be deleted. "
                    "Make a bucket with Object Lock enabled and name it in CAIO_ANCHOR."
                )
            versioning = await client.get_bucket_versioning(Bucket=bucket)
            if versioning.get("Status") != "Enabled":
                raise Misconfigured(f"The bucket {bucket} keeps no versions: enable its versioning.")
        return cls(client, bucket, prefix, retention_days, now)

    async def put(self, origin: str, size: int, note: str) -> None:
        checkpoint = checkpoint_of(note, origin, size)
        with answers_of("S3"):
            # A delete marker would let the conditional write pass; only the versions tell.
            if await self._agreed(checkpoint) or await self._written(checkpoint, note.encode()):
                return
            if not await self._agreed(checkpoint):
                raise NotReady("AWS S3 neither took a checkpoint nor has one of its size; try again shortly.")

    async def latest(self, origin: str) -> str | None:
        with answers_of("S3"):
            size = await self._largest(origin)
            return None if size is None else await self._held(origin, size)

    async def notes(self, origin: str, after: int = -1) -> AsyncIterator[str]:
        with answers_of("S3"):
            async for size, versions in self._sizes(origin, after):
                yield await self._first(origin, size, versions)

    def _folder(self, origin: str) -> str:
        return f"{self._prefix}{folder_of(origin)}/"

    async def _agreed(self, checkpoint: Checkpoint) -> bool:
        """Whether the bucket holds this checkpoint; False when none of its size. Raises Conflict for another."""
        note = await self._held(checkpoint.origin, checkpoint.size)
        if note is not None:
            must_agree(note, checkpoint)
        return note is not None

    async def _held(self, origin: str, size: int) -> str | None:
        async for found, versions in self._sizes(origin, only=size):
            return await self._first(origin, found, versions)
        return None

    async def _largest(self, origin: str) -> int | None:
        """The largest size, by asking at several places at once between the largest that is known and the
        least that nothing lies beyond: some ten answers after one another, however many notes there are."""
        low = await self._next(origin, -1)
        if low is None:
            return None
        high, asked = LAST_SIZE, [low + 10**digits - 1 for digits in range(20)]
        while low < high:
            places = [place for place in asked if place < high]
            found = await asyncio.gather(*(self._next(origin, place) for place in places))
            high = min([high, *(place for place, size in zip(places, found, strict=True) if size is None)])
            low = max([low, *(size for size in found if size is not None)])
            asked = [low + (high - low) * part // PARTS for part in range(PARTS)]
        return low

    async def _next(self, origin: str, after: int) -> int | None:
        async for size, _ in self._sizes(origin, after, page=2):
            return size
        return None

    async def _written(self, checkpoint: Checkpoint, body: bytes) -> bool:
        """Write a new object; False when another writer was first."""
        until = datetime.fromtimestamp(self._now() // 1_000_000, UTC) + self._retention
        try:
            await self._client.put_object(
                Bucket=self._bucket,
                Key=self._folder(checkpoint.origin) + name_of(checkpoint.size),
                Body=body,
                ContentType="text/plain; charset=utf-8",
                ChecksumAlgorithm="SHA256",  # S3 demands that a locked object's upload states one
                ChecksumSHA256=base64.b64encode(hashlib.sha256(body).digest()).decode(),
                IfNoneMatch="*",
                ObjectLockMode="COMPLIANCE",
                ObjectLockRetainUntilDate=until,
            )
        except ClientError as error:
            if code_of(error) not in _TAKEN:
                raise
            return False
        return True

    async def _sizes(
        self, origin: str, after: int = -1, only: int | None = None, page: int = 1000
    ) -> AsyncIterator[tuple[int, list[str]]]:
        """Each size beyond ``after`` (``only`` that one) with the ids of its versions, the first one first."""
        folder = self._folder(origin)
        where = {"Prefix": folder if only is None else folder + name_of(only)}
        if after >= 0:
            where["KeyMarker"] = folder + name_of(after)
        pages = self._client.get_paginator("list_object_versions").paginate(
            Bucket=self._bucket, PaginationConfig={"PageSize": page}, **where
        )
        current, versions = -1, list[str]()
        async for listed in pages:
            for each in listed.get("Versions", ()):
                size = size_of(each["Key"].removeprefix(folder))
                if size is None or size <= after:
                    continue
                if size != current and versions:
                    yield current, versions[::-1]
                    versions = []
                current = size
                versions.append(each["VersionId"])
        if versions:
            yield current, versions[::-1]

    async def _first(self, origin: str, size: int, versions: list[str]) -> str:
        """The note that was there first. Raises Conflict when a later version is of another checkpoint."""
        key = self._folder(origin) + name_of(size)
        notes = [await self._note(key, version) for version in versions]
        if len({held(note, origin, size) for note in notes}) > 1:
            raise tampered(origin, size, "it has versions that differ; the first is what was anchored")
        return notes[0]

    async def _note(self, key: str, version: str) -> str:
        answer = await self._client.get_object(Bucket=self._bucket, Key=key, VersionId=version)
        async with answer["Body"] as body:
            return bytes(await body.read()).decode(errors="replace")


async def _locks(client: Any, bucket: str) -> bool:
    try:
        answer = await client.get_object_lock_configuration(Bucket=bucket)
    except ClientError as error:
        if code_of(error) in _NO_SUCH_BUCKET:
            raise Misconfigured(f"There is no bucket {bucket}; make one with Object Lock enabled.") from error
        if code_of(error) == "ObjectLockConfigurationNotFoundError":
            return False
        raise
    return bool(answer["ObjectLockConfiguration"].get("ObjectLockEnabled") == "Enabled")
