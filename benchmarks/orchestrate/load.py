"""A load on loopback: connections that send, wait for the whole answer, and send again."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from statistics import quantiles
from urllib.parse import urlsplit

import uvloop


@dataclass(frozen=True, slots=True)
class Load:
    """What came of it: answers a second, and latencies in seconds."""

    rate: float
    latencies: list[float]

    def percentile(self, percent: int) -> float:
        return quantiles(self.latencies, n=100, method="inclusive")[percent - 1]


def run(url: str, path: str, body: bytes, api_key: str, connections: int, seconds: float) -> Load:
    """Send ``body`` over ``connections`` for ``seconds``; raises RuntimeError for any answer but 200."""
    return uvloop.run(_run(url, path, body, api_key, connections, seconds))


async def _run(url: str, path: str, body: bytes, api_key: str, connections: int, seconds: float) -> Load:
    parts = urlsplit(url)
    head = f"POST {path} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Type: application/json\r\n"
    head += f"Authorization: Bearer {api_key}\r\nContent-Length: {len(body)}\r\n\r\n"
    request = head.encode() + body
    until = time.perf_counter() + seconds
    started = time.perf_counter()
    results = await asyncio.gather(
        *(_connection(parts.hostname or "", parts.port or 80, request, until) for _ in range(connections))
    )
    latencies = [latency for result in results for latency in result]
    return Load(len(latencies) / (time.perf_counter() - started), latencies)


async def _connection(host: str, port: int, request: bytes, until: float) -> list[float]:
    reader, writer = await asyncio.open_connection(host, port)
    latencies = []
    while (sent := time.perf_counter()) < until:
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200"):
            raise RuntimeError((head + await reader.read(1000)).decode(errors="replace"))
        length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        await reader.readexactly(int(length[15:]))
        latencies.append(time.perf_counter() - sent)
    writer.close()
    return latencies
