"""Anchored checkpoints that a person names on the command line: a directory, or a bucket of S3."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from caio.cli.files import InvalidFile
from caio.foundation.errors import InvalidInput

if TYPE_CHECKING:
    from caio.audit.ports import Anchor

_S3 = "s3://"

Anchors = Annotated[
    str | None,
    typer.Option(
        "--anchors", metavar="PLACE", help="Where checkpoints are anchored: a directory, or s3://BUCKET/PREFIX."
    ),
]


def anchored(place: str, origin: str, after: int = -1) -> Iterator[str]:
    """The notes anchored there for the log ``origin`` with more than ``after`` entries, ascending by size.
    They are read as they are asked for.

    Raises InvalidInput for a place that is none, and what an anchor raises.
    """
    if not place.startswith(_S3) and not Path(place).is_dir():
        raise InvalidFile(place, f"{place} is not a directory of anchored checkpoints", code="unreadable_file")
    with asyncio.Runner() as runner:
        notes = _notes(place, origin, after)
        try:
            while (note := runner.run(_next(notes))) is not None:
                yield note
        finally:
            runner.run(notes.aclose())


async def _next(notes: AsyncIterator[str]) -> str | None:
    return await anext(notes, None)


async def _notes(place: str, origin: str, after: int) -> AsyncGenerator[str, None]:
    async with _opened(place) as anchor:
        async for note in anchor.notes(origin, after):
            yield note


@asynccontextmanager
async def _opened(place: str) -> AsyncIterator[Anchor]:
    if not place.startswith(_S3):
        from caio.audit.anchor_directory import DirectoryAnchor

        yield DirectoryAnchor(Path(place))
        return
    from caio.aws.clients import aws_client

    bucket, _, prefix = place.removeprefix(_S3).partition("/")
    if not bucket:
        raise InvalidInput("--anchors must be a directory or s3://BUCKET/PREFIX")
    async with aws_client("s3") as client:
        from caio.aws.object_lock import S3Anchor

        # Nothing is written: for how long it would be retained says nothing.
        yield await S3Anchor.open(client, bucket, prefix.strip("/"), 1, lambda: time.time_ns() // 1000)
