"""CAIO as its clients see it: the HTTP calls that the demonstration makes, and nothing else."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp

PATIENCE = aiohttp.ClientTimeout(total=60)


@dataclass(frozen=True, slots=True)
class Reply:
    """A status, the headers in lower case, and the JSON body."""

    status: int
    headers: Mapping[str, str]
    body: Any


class Unexpected(Exception):
    """CAIO answered with a status that the demonstration has no use for."""


class Caio:
    """One server, spoken to with one API key. Raises Unexpected, or aiohttp's ClientError."""

    def __init__(self, url: str, api_key: str) -> None:
        self.url = url
        self.api_key = api_key
        self._session = aiohttp.ClientSession(
            base_url=url, timeout=PATIENCE, headers={"Authorization": f"Bearer {api_key}"}
        )

    async def close(self) -> None:
        await self._session.close()

    async def post(self, path: str, body: Any, headers: Mapping[str, str] | None = None) -> Reply:
        """POST a JSON document, or a YAML one as bytes. Any status is an answer."""
        kind = "application/yaml" if isinstance(body, bytes) else "application/json"
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        sent = {"Content-Type": kind, **(headers or {})}
        async with self._session.post(path, data=data, headers=sent) as response:
            return await _reply(response)

    async def create(self, path: str, body: Any) -> Any:
        return _expected(await self.post(path, body), 201, path)

    async def ask(self, path: str, body: Any) -> Any:
        return _expected(await self.post(path, body), 200, path)

    async def get(self, path: str) -> Any:
        async with self._session.get(path) as response:
            return _expected(await _reply(response), 200, path)

    async def events(self, path: str, body: Mapping[str, Any], headers: dict[str, str]) -> AsyncIterator[str]:
        """The data of each server-sent event; ``headers`` is filled with the answer's headers."""
        async with self._session.post(path, json=body) as response:
            headers.update({name.lower(): value for name, value in response.headers.items()})
            if response.status != 200:
                _expected(await _reply(response), 200, path)
            async for line in response.content:
                if line.startswith(b"data: "):
                    yield line.removeprefix(b"data: ").decode().strip()

    async def decision_ids(self) -> list[str]:
        """Every decision of the tenant, oldest first."""
        found: list[str] = []
        before = ""
        while True:
            page = await self.get(f"/api/v1/decisions?limit=200{before}")
            found += [item["decision_id"] for item in page["items"]]
            if page.get("next_before") is None:
                return found[::-1]
            before = f"&before={page['next_before']}"


async def _reply(response: aiohttp.ClientResponse) -> Reply:
    headers = {name.lower(): value for name, value in response.headers.items()}
    return Reply(response.status, headers, await response.json(content_type=None))


def _expected(reply: Reply, status: int, path: str) -> Any:
    if reply.status != status:
        said = reply.body if isinstance(reply.body, dict) else {}
        detail = said.get("detail") or (said.get("error") or {}).get("message") or "no explanation"
        raise Unexpected(f"{path} answered {reply.status}: {detail}")
    return reply.body
