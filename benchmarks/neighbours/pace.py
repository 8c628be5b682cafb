"""A load at a given pace, whatever the answers take: each call is timed from when it was due."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
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


async def run(url: str, path: str, callers: Sequence[Caller], seconds: float) -> list[Paced]:
    """Let all callers call at once for so long."""
    return list(await asyncio.gather(*(_caller(url, path, caller, seconds) for caller in callers)))


async def _caller(url: str, path: str, caller: Caller, seconds: float) -> Paced:
    parts = urlsplit(url)
    head = f"POST {path} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Type: application/json\r\n"
    head += f"Authorization: Bearer {caller.api_key}\r\nContent-Length: {len(caller.body)}\r\n\r\n"
    paced, due = Paced(), asyncio.Queue[float | None]()
    connections = [
        asyncio.create_task(
            _connection(parts.hostname or "", parts.port or 80, head.encode() + caller.body, due, paced)
        )
        for _ in range(CONNECTIONS)
    ]
    began = time.perf_counter()
    for number in range(int(caller.rate * seconds)):
        at = began + number / caller.rate
        if (left := at - time.perf_counter()) > 0:
            await asyncio.sleep(left)
        due.put_nowait(at)
    for _ in connections:
        due.put_nowait(None)
    await asyncio.gather(*connections)
    return paced


async def _connection(host: str, port: int, request: bytes, due: asyncio.Queue[float | None], paced: Paced) -> None:
    reader, writer = await asyncio.open_connection(host, port)
    while (at := await due.get()) is not None:
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        await reader.readexactly(int(length[15:]))
        paced.latencies.append(time.perf_counter() - at)
        paced.statuses[int(head[9:12])] += 1
    writer.close()
