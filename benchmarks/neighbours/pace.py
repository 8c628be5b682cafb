"""A load at a given pace, whatever the answers take: each call is timed from when it was due.

The load is to cost little itself, or it would be what is measured: bare protocols, no streams.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import cast
from urllib.parse import urlsplit

CONNECTIONS = 64


@dataclass(slots=True)
class Paced:
    """What came of it: latencies in seconds of the calls that were answered, and how often which status was."""

    latencies: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class Caller:
    """A tenant's key and what it sends, ``rate`` times a second."""

    api_key: str
    body: bytes
    rate: float


async def run(url: str, path: str, caller: Caller, seconds: float) -> Paced:
    """Call for so long, and wait for the answers."""
    parts = urlsplit(url)
    head = f"POST {path} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Type: application/json\r\n"
    head += f"Authorization: Bearer {caller.api_key}\r\nContent-Length: {len(caller.body)}\r\n\r\n"
    load = _Load(head.encode() + caller.body)
    loop = asyncio.get_running_loop()
    for _ in range(CONNECTIONS):
        await loop.create_connection(lambda: _Connection(load), parts.hostname or "", parts.port or 80)
    began = time.perf_counter()
    for number in range(int(caller.rate * seconds)):
        at = began + number / caller.rate
        if (left := at - time.perf_counter()) > 0:
            await asyncio.sleep(left)
        load.call(at)
    while load.running or load.due:
        await asyncio.sleep(0.001)
    load.close()
    return load.paced


class _Load:
    """The calls of one caller, over the connections that have joined; beyond them calls wait, and are late."""

    def __init__(self, request: bytes) -> None:
        self.paced = Paced()
        self.due: deque[float] = deque()
        self.running = 0
        self._request = request
        self._idle: list[_Connection] = []
        self._all: list[_Connection] = []

    def join(self, connection: _Connection) -> None:
        self._all.append(connection)
        self._idle.append(connection)

    def call(self, at: float) -> None:
        """Send the call that was due at ``at`` as soon as a connection is free."""
        if not self._idle:
            self.due.append(at)
            return
        self.running += 1
        self._idle.pop().send(self._request, at)

    def answered(self, connection: _Connection, status: int, at: float) -> None:
        self.running -= 1
        self.paced.latencies.append(time.perf_counter() - at)
        self.paced.statuses[status] += 1
        self._idle.append(connection)
        if self.due:
            self.call(self.due.popleft())

    def close(self) -> None:
        for connection in self._all:
            connection.transport.close()


class _Connection(asyncio.Protocol):
    """One call at a time; understands Content-Length only."""

    def __init__(self, load: _Load) -> None:
        self._load = load
        self._buffer = b""
        self._at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are not registered as WriteTransport; they are one all the same.
        self.transport = cast(asyncio.WriteTransport, transport)
        self._load.join(self)

    def send(self, request: bytes, at: float) -> None:
        self._at = at
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        head = self._buffer[:end].lower()
        length = int(head[head.index(b"content-length:") + 15 :].split(b"\r\n", 1)[0])
        if len(self._buffer) >= end + 4 + length:
            self._buffer = b""
            self._load.answered(self, int(head[9:12]), self._at)

    def connection_lost(self, error: Exception | None) -> None:
        if error is not None:
            raise error
