"""``--anchors PLACE``: what is anchored in a directory or in a bucket, read note by note outside of any event loop."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from caio.audit.anchor_directory import DirectoryAnchor
from caio.audit.checkpoint import Checkpoint, sign_checkpoint
from caio.audit.signing import SigningKey
from caio.aws.clients import aws_client
from caio.aws.object_lock import S3Anchor
from caio.cli.anchors import anchored
from caio.foundation.errors import InvalidInput, Misconfigured
from tests.support.emulated_aws import emulated_aws

ORIGIN = "caio.localhost/acme"
NOTES = [
    sign_checkpoint(Checkpoint(ORIGIN, size, bytes([size]) * 32), SigningKey.generate(b"1" * 32)) for size in (3, 5, 9)
]


async def fill(anchor):
    for size, note in zip((3, 5, 9), NOTES, strict=True):
        await anchor.put(ORIGIN, size, note)


def assert_read(place):
    assert list(anchored(place, ORIGIN)) == NOTES
    assert list(anchored(place, ORIGIN, 3)) == NOTES[1:]
    assert list(anchored(place, "caio.localhost/other")) == []
    some: Any = anchored(place, ORIGIN)
    assert next(some) == NOTES[0]
    some.close()


def test_a_directory_of_anchored_checkpoints(tmp_path):
    asyncio.run(fill(DirectoryAnchor(tmp_path)))
    assert_read(str(tmp_path))
    with pytest.raises(InvalidInput, match="is not a directory"):
        list(anchored(str(tmp_path / "nowhere"), ORIGIN))


def test_a_bucket_of_anchored_checkpoints(tmp_path, monkeypatch):
    async def prepare():
        async with aws_client("s3") as client:
            place = {"LocationConstraint": "eu-central-1"}
            await client.create_bucket(
                Bucket="locked", ObjectLockEnabledForBucket=True, CreateBucketConfiguration=place
            )
            await client.create_bucket(Bucket="open", CreateBucketConfiguration=place)
            await fill(await S3Anchor.open(client, "locked", "caio", 30, lambda: 1_800_000_000_000_000))

    with emulated_aws(tmp_path) as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        asyncio.run(prepare())
        assert_read("s3://locked/caio")
        with pytest.raises(Misconfigured, match="no Object Lock"):
            list(anchored("s3://open", ORIGIN))
        with pytest.raises(InvalidInput, match="--anchors must be"):
            list(anchored("s3://", ORIGIN))
