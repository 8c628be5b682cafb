"""Callers that do not tire: native calls and streams, one after the other, and a note of all that was answered.

A stream counts as ``begun`` with its head and as ``whole`` with its end mark; a native call is both at once. What
was not answered as wished is in ``failed``, in words. ``told_by`` reads from a server what its journal has, and
``differences`` says where the two disagree.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import aiohttp

from caio.audit.ports import Status
from tests.support.upstreams import DONE

CALLERS = 16
NATIVE = {"request": {"capability": "text.sentiment", "payload": {"text": "Fine."}}}
CHAT = {"model": "auto:chat", "stream": True, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 80}


@dataclass
class Answered:
    """What callers hold in their hands; ``charges`` are what native answers said they cost."""

    begun: set[str] = field(default_factory=set)
    whole: set[str] = field(default_factory=set)
    charges: dict[str, Decimal] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.whole)


@asynccontextmanager
async def calling(answered: Answered, token: str, server: Callable[[], str], pause: float = 0.0) -> AsyncIterator[None]:
    """Sixteen callers, a quarter of them of streams, each asking ``server`` whom to call next, ``pause`` seconds after
    the last answer; they finish the call that they are at when the block ends."""
    stop = asyncio.Event()
    headers = {"Authorization": f"Bearer {token}"}
    async with aiohttp.ClientSession(headers=headers, connector=aiohttp.TCPConnector(limit=0)) as http:

        async def go_on(number: int) -> None:
            kind = _stream if number % 4 == 0 else _native
            while not stop.is_set():
                try:
                    await kind(http, server(), answered)
                    await asyncio.sleep(pause)
                except (aiohttp.ClientError, OSError) as error:
                    answered.failed.append(f"{type(error).__name__}: {error}")
                    await asyncio.sleep(0.05)  # nobody hammers at a server that is gone

        callers = [asyncio.create_task(go_on(number)) for number in range(CALLERS)]
        try:
            yield
        finally:
            stop.set()
            await asyncio.gather(*callers)


async def _native(http: aiohttp.ClientSession, url: str, answered: Answered) -> None:
    async with http.post(url + "/api/v1/orchestrate", json=NATIVE) as answer:
        told = await answer.json(content_type=None)
    if answer.status != 200:
        answered.failed.append(f"{answer.status} {told}")
        return
    decision_id = told["decision_id"]
    answered.begun.add(decision_id)
    answered.whole.add(decision_id)
    answered.charges[decision_id] = Decimal(told["cost"]["amount"])


async def _stream(http: aiohttp.ClientSession, url: str, answered: Answered) -> None:
    async with http.post(url + "/v1/chat/completions", json=CHAT) as answer:
        if answer.status != 200:
            answered.failed.append(f"{answer.status} {await answer.text()}")
            return
        decision_id = answer.headers["x-caio-decision-id"]
        answered.begun.add(decision_id)
        content = await answer.content.read()
    if content.endswith(DONE):
        answered.whole.add(decision_id)
    else:
        answered.failed.append(f"the stream {decision_id} ended early: {content[-200:]!r}")


@dataclass
class Told:
    """What a server's journal has of a tenant, and how its budget stands."""

    statuses: dict[str, str | None]
    charges: dict[str, Decimal]
    charged: Decimal
    reserved: Decimal


async def told_by(http: aiohttp.ClientSession) -> Told:
    """Read all of it through the API."""
    statuses: dict[str, str | None] = {}
    charges: dict[str, Decimal] = {}
    before = ""
    while True:
        page = await _get(http, f"/api/v1/decisions?limit=200{before}")
        for item in page["items"]:
            statuses[item["decision_id"]] = item["status"]
            charges[item["decision_id"]] = Decimal(item["charged"] or 0)
        if page["next_before"] is None:
            break
        before = f"&before={page['next_before']}"
    budget = await _get(http, "/api/v1/budget")
    return Told(statuses, charges, Decimal(budget["charged"]), Decimal(budget["reserved"]))


def differences(answered: Answered, told: Told) -> list[str]:
    """Where what callers were given and what the journal has disagree; none when all is well."""
    found = [f"{each}: answered, and not in the journal" for each in answered.begun - told.statuses.keys()]
    found += [f"{each}: has no outcome" for each, status in told.statuses.items() if status is None]
    found += [
        f"{each}: answered whole, and recorded as {told.statuses[each]}"
        for each in answered.whole & told.statuses.keys()
        if told.statuses[each] not in (Status.OK.value, Status.VIOLATED.value)
    ]
    found += [
        f"{each}: the answer said {charge}, the journal {told.charges[each]}"
        for each, charge in answered.charges.items()
        if told.charges.get(each, charge) != charge
    ]
    if told.reserved:
        found.append(f"{told.reserved} is still reserved")
    if (total := sum(told.charges.values(), Decimal())) != told.charged:
        found.append(f"the outcomes charge {total}, the budget {told.charged}")
    return found


async def _get(http: aiohttp.ClientSession, path: str) -> Any:
    async with http.get(path) as answer:
        told = await answer.json()
        assert answer.status == 200, told
        return told


class Balancer:
    """Sends to the servers that say they are ready, in turn, and asks each of them every so often."""

    EVERY_SECONDS = 0.1

    def __init__(self) -> None:
        self._ready: dict[str, bool] = {}
        self._turns = itertools.count()

    def next(self) -> str:
        """Whom to send to now; raises OSError when there is nobody."""
        ready = [url for url, is_ready in self._ready.items() if is_ready]
        if not ready:
            raise ConnectionRefusedError("no server is ready")
        return ready[next(self._turns) % len(ready)]

    @asynccontextmanager
    async def watching(self, url: str) -> AsyncIterator[None]:
        """Have the server among those that are sent to, once it is ready, until the block ends."""
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as http:
            self._ready[url] = await _is_ready(http, url)
            watching = asyncio.create_task(self._watch(http, url))
            try:
                yield
            finally:
                watching.cancel()
                await asyncio.wait({watching})
                del self._ready[url]

    async def _watch(self, http: aiohttp.ClientSession, url: str) -> None:
        while True:
            await asyncio.sleep(self.EVERY_SECONDS)
            self._ready[url] = await _is_ready(http, url)


async def _is_ready(http: aiohttp.ClientSession, url: str) -> bool:
    try:
        async with http.get(url + "/health/ready") as answer:
            return answer.status == 200
    except (aiohttp.ClientError, OSError):
        return False
