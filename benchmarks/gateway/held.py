"""Streams that are held: many at once, each at the service's pace; what is lost, and what comes late.

The streams are opened sixteen at a time. Once all are open, the time between the tokens of each stream and the
way of each token (from the service's write to here: one machine, one clock) are noted for some seconds. Then each
stream is read to its end, and must have brought every token in its order and the end mark.
"""

from __future__ import annotations

import asyncio
import re
import time
from array import array
from dataclasses import dataclass, field
from statistics import quantiles
from typing import cast
from urllib.parse import urlsplit

import uvloop

from benchmarks.gateway.load import Target
from benchmarks.gateway.upstream import PER_SECOND

OPENING = 16
#: How long after its last token is due a stream may end.
PATIENCE_SECONDS = 30.0

_TOKEN = re.compile(rb'"content": ?"(\d+) (\d+) "')
_DONE = b"data: [DONE]"


def tokens_for(streams: int, seconds: float, opened_a_second: float = 50.0) -> int:
    """How many tokens a stream needs, so that the first is still held when the last was and has been for so long."""
    return int(PER_SECOND * (seconds + streams / opened_a_second + 2))


@dataclass(slots=True)
class Held:
    """What came of the streams: how many were held at once, the milliseconds between tokens and of their way."""

    wanted: int
    at_once: int = 0
    ended: int = 0
    lost: int = 0
    gaps: array[float] = field(default_factory=lambda: array("d"))
    ways: array[float] = field(default_factory=lambda: array("d"))
    failures: list[str] = field(default_factory=list)
    noting: bool = False

    def gap(self, percent: int) -> float:
        return quantiles(self.gaps, n=100, method="inclusive")[percent - 1]

    def way(self, percent: int) -> float:
        return quantiles(self.ways, n=100, method="inclusive")[percent - 1]


def hold(target: Target, streams: int, seconds: float) -> Held:
    """Hold so many streams to ``target`` for so long, all at once, and read them to their ends."""
    return uvloop.run(_hold(target, streams, seconds))


async def _hold(target: Target, streams: int, seconds: float) -> Held:
    held = Held(streams)
    tokens = tokens_for(streams, seconds)
    parts, loop = urlsplit(target.url), asyncio.get_running_loop()
    opening, running = asyncio.Semaphore(OPENING), []

    async def one(number: int) -> _Stream:
        async with opening:
            stream = _Stream(held, tokens)
            await loop.create_connection(lambda: stream, parts.hostname or "", parts.port or 80)
            body = target.templates[number % len(target.templates)].body(number)
            stream.transport.write(b"%b%d\r\n\r\n%b" % (target.head(), len(body), body))
            await stream.begun
        return stream

    running = await asyncio.gather(*(one(number) for number in range(streams)))
    held.at_once = sum(not stream.ended.done() for stream in running)
    held.noting = True
    await asyncio.sleep(seconds)
    held.noting = False
    await asyncio.wait([stream.ended for stream in running], timeout=tokens / PER_SECOND + PATIENCE_SECONDS)
    for stream in running:
        held.ended += stream.complete
        held.lost += tokens - stream.count
        stream.transport.close()
    return held


class _Stream(asyncio.Protocol):
    """One connection and its one stream."""

    def __init__(self, held: Held, tokens: int) -> None:
        loop = asyncio.get_running_loop()
        self.begun: asyncio.Future[None] = loop.create_future()
        self.ended: asyncio.Future[None] = loop.create_future()
        self.count = 0
        self.complete = False
        self._held = held
        self._tokens = tokens
        self._last = 0.0
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        now = time.monotonic_ns()
        if not self.begun.done():
            self.begun.set_result(None)
            if not data.startswith(b"HTTP/1.1 200"):
                self._held.failures.append(data[:500].decode(errors="replace"))
        data = self._rest + data
        end = 0
        for token in _TOKEN.finditer(data):
            end = token.end()
            if int(token[1]) == self.count:  # one out of its order is as lost as one that never came
                self.count += 1
            if self._held.noting:
                self._held.ways.append((now - int(token[2])) / 1e6)
                if self._last:
                    self._held.gaps.append((now - self._last) / 1e6)
            self._last = now
        self._rest = data[max(end, len(data) - 200) :]
        if _DONE in self._rest:
            self.complete = self.count == self._tokens
            self._end()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.begun.done():
            self.begun.set_result(None)
            self._held.failures.append(f"the connection was lost: {error}")
        self._end()

    def _end(self) -> None:
        if not self.ended.done():
            self.ended.set_result(None)
