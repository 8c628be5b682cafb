"""A load on loopback: connections that send, wait for the whole answer, and send again."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import quantiles
from urllib.parse import urlsplit

import uvloop

#: How long a connection waits after a refusal: as long as a server that has too much to do asks for.
REFUSED_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Template:
    """A request's body with a place for a number, so that no two bodies sent are the same; with no ``after``
    there is none, and they are."""

    before: bytes
    after: bytes | None

    @classmethod
    def of(cls, body: bytes, place: bytes) -> Template:
        """The body with the number where ``place`` stands, once."""
        before, found, after = body.partition(place)
        if not found:
            raise ValueError(f"no {place!r} in the body")
        return cls(before, after)

    def body(self, number: int) -> bytes:
        return self.before if self.after is None else b"%b%08d%b" % (self.before, number, self.after)


@dataclass(frozen=True, slots=True)
class Target:
    """Whom a load is sent to: the address, the path, the key, and what is sent in turn."""

    url: str
    path: str
    templates: Sequence[Template]
    api_key: str = "none"
    headers: Mapping[str, str] = field(default_factory=dict)

    def head(self) -> bytes:
        parts = urlsplit(self.url)
        head = f"POST {self.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Type: application/json\r\n"
        head += "".join(f"{name}: {value}\r\n" for name, value in self.headers.items())
        return (head + f"Authorization: Bearer {self.api_key}\r\nContent-Length: ").encode()


@dataclass(frozen=True, slots=True)
class Load:
    """What came of it: answers a second, latencies in seconds, and what was told instead of an answer."""

    rate: float
    latencies: list[float]
    failures: list[str]

    def percentile(self, percent: int) -> float:
        return quantiles(self.latencies, n=100, method="inclusive")[percent - 1]


_numbers = itertools.count(1)


def run(target: Target, connections: int, seconds: float) -> Load:
    """Send over ``connections`` for ``seconds``; raises RuntimeError when nothing is answered 200."""
    load = uvloop.run(_run(target, connections, seconds))
    if not load.latencies:
        raise RuntimeError(f"{target.url}{target.path} fails: {load.failures[:1]}")
    return load


async def _run(target: Target, connections: int, seconds: float) -> Load:
    started = time.perf_counter()
    failures: list[str] = []
    results = await asyncio.gather(*(_connection(target, started + seconds, failures) for _ in range(connections)))
    latencies = [latency for result in results for latency in result]
    return Load(len(latencies) / (time.perf_counter() - started), latencies, failures)


async def _connection(target: Target, until: float, failures: list[str]) -> list[float]:
    parts = urlsplit(target.url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    head, templates, latencies = target.head(), target.templates, []
    while time.perf_counter() < until:
        number = next(_numbers)
        body = templates[number % len(templates)].body(number)
        sent = time.perf_counter()
        writer.write(b"%b%d\r\n\r\n%b" % (head, len(body), body))
        failure = await _answer(reader)
        if failure is None:
            latencies.append(time.perf_counter() - sent)
        else:
            failures.append(failure)
            await asyncio.sleep(REFUSED_SECONDS)
    writer.close()
    return latencies


async def _answer(reader: asyncio.StreamReader) -> str | None:
    """Read one answer whole, of whichever length or in chunks; what it says when it is not 200."""
    head = await reader.readuntil(b"\r\n\r\n")
    lines = head.lower().split(b"\r\n")
    length = next((int(line[15:]) for line in lines if line.startswith(b"content-length:")), None)
    body = b""
    if length is not None:
        body = await reader.readexactly(length)
    else:
        while size := int(await reader.readuntil(b"\r\n"), 16):
            body += await reader.readexactly(size + 2)
        await reader.readexactly(2)
    return None if head.startswith(b"HTTP/1.1 200") else (head[:12] + body).decode(errors="replace")
