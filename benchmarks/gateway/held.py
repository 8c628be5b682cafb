"""Streams that are held: many at once, each at the service's pace; what is lost, and what comes late.

The streams are opened sixteen at a time; one that is refused because there is too much to do is asked for again, as the
refusal says, and counted. Once all are open, however long that takes, the time between the tokens of
each stream, the way of each token (from the service's write to here: one machine, one clock) and the processor's time
are noted for some seconds. Then the service is told to end them; each is read to its end, and must have brought every
token in its order, as many as the service says, and the end mark.
"""

from __future__ import annotations

import asyncio
import re
import time
from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from statistics import quantiles
from typing import cast
from urllib.parse import urlsplit

import uvloop

from benchmarks.gateway.load import REFUSED_SECONDS, Target
from benchmarks.gateway.processes import cpu_seconds
from benchmarks.gateway.upstream import PER_SECOND

OPENING = 16
#: How long the streams may take to end once they are told to.
PATIENCE_SECONDS = 60.0
#: What a stream may ask for: more than it is held for.
MOST_TOKENS = 240 * PER_SECOND

_TOKEN = re.compile(rb'"content": ?"(\d+) (\d+) "')
_OF = re.compile(rb'"content": ?"of (\d+)"')
_DONE = b"data: [DONE]"


@dataclass(slots=True)
class Held:
    """What came of the streams: the seconds that it took to open them, how many were held at once, the milliseconds
    between tokens and of their way, the microseconds of the processor that each process spent on a token."""

    wanted: int
    opening_seconds: float = 0.0
    refused: int = 0
    at_once: int = 0
    ended: int = 0
    lost: int = 0
    gaps: array[float] = field(default_factory=lambda: array("d"))
    ways: array[float] = field(default_factory=lambda: array("d"))
    costs: dict[str, float] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    noting: bool = False

    def gap(self, percent: int) -> float:
        return quantiles(self.gaps, n=100, method="inclusive")[percent - 1]

    def way(self, percent: int) -> float:
        return quantiles(self.ways, n=100, method="inclusive")[percent - 1]


def hold(target: Target, streams: int, seconds: float, service: str, processes: Mapping[str, int]) -> Held:
    """Hold so many streams to ``target`` for so long, all at once, and read them to their ends. ``service`` is where
    the tokens come from; the time of ``processes``, by their ids, is noted beside that of the load itself."""
    return uvloop.run(_hold(target, streams, seconds, service, processes))


async def _hold(target: Target, streams: int, seconds: float, service: str, processes: Mapping[str, int]) -> Held:
    held, opening = Held(streams), asyncio.Semaphore(OPENING)

    async def one(number: int) -> _Stream:
        async with opening:
            return await _opened(held, target, number)

    started = time.monotonic()
    running = await asyncio.gather(*(one(number) for number in range(streams)))
    held.opening_seconds = time.monotonic() - started
    held.at_once = sum(not stream.ended.done() for stream in running)
    before = _used(processes)
    held.noting = True
    await asyncio.sleep(seconds)
    held.noting = False
    held.costs = {name: 1e6 * (used - before[name]) / len(held.ways) for name, used in _used(processes).items()}
    await _end(service)
    await asyncio.wait([stream.ended for stream in running], timeout=PATIENCE_SECONDS)
    for stream in running:
        held.ended += stream.complete
        held.lost += max(0, (stream.tokens or 0) - stream.count)
        stream.transport.close()
    return held


async def _opened(held: Held, target: Target, number: int) -> _Stream:
    """A stream whose head has come."""
    parts, body = urlsplit(target.url), target.templates[number % len(target.templates)].body(number)
    while True:
        stream = _Stream(held)
        made = partial(_same, stream)
        await asyncio.get_running_loop().create_connection(made, parts.hostname or "", parts.port or 80)
        stream.transport.write(b"%b%d\r\n\r\n%b" % (target.head(), len(body), body))
        await stream.begun
        if not stream.refused:
            return stream
        held.refused += 1
        if held.refused > held.wanted:
            raise RuntimeError(f"{target.url} refuses more streams than are wanted of it")
        stream.transport.close()
        await asyncio.sleep(REFUSED_SECONDS)


def _same(stream: _Stream) -> _Stream:
    return stream


async def _end(service: str) -> None:
    """Tell the service to end its streams."""
    parts = urlsplit(service)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    writer.write(b"POST /end HTTP/1.1\r\nHost: service\r\nContent-Length: 0\r\n\r\n")
    await reader.readuntil(b"\r\n\r\n")
    writer.close()


def _used(processes: Mapping[str, int]) -> dict[str, float]:
    """The seconds of the processor that each has used, the load itself among them."""
    return {"load": time.process_time()} | {name: cpu_seconds(pid) for name, pid in processes.items()}


class _Stream(asyncio.Protocol):
    """One connection and its one stream."""

    def __init__(self, held: Held) -> None:
        loop = asyncio.get_running_loop()
        self.begun: asyncio.Future[None] = loop.create_future()
        self.ended: asyncio.Future[None] = loop.create_future()
        self.refused = False
        self.count = 0
        self.tokens: int | None = None  # as many as the service says that there were, once it has said so
        self._held = held
        self._last = 0
        self._rest = b""

    @property
    def complete(self) -> bool:
        return self.count == self.tokens and _DONE in self._rest

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        now = time.monotonic_ns()
        if not self.begun.done():
            self.begun.set_result(None)
            self.refused = data.startswith(b"HTTP/1.1 503")
            if not data.startswith((b"HTTP/1.1 200", b"HTTP/1.1 503")):
                self._held.failures.append(data[:500].decode(errors="replace"))
                self._end()
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
        self._rest = rest = data[end:]
        if _DONE in rest:
            if told := _OF.search(rest):
                self.tokens = int(told[1])
            self._end()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.begun.done():
            self.begun.set_result(None)
            self._held.failures.append(f"the connection was lost: {error}")
        self._end()

    def _end(self) -> None:
        if not self.ended.done():
            self.ended.set_result(None)
