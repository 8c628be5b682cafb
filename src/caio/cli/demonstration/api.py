"""CAIO as its clients see it: the HTTP calls that the demonstration makes, and nothing else."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

import httpx2

PATIENCE = 60.0


@dataclass(frozen=True, slots=True)
class Reply:
    """A status, the headers in lower case, and the JSON body."""

    status: int
    headers: Mapping[str, str]
    body: Any


class Unexpected(Exception):
    """CAIO answered with a status that the demonstration has no use for."""


class Caio:
    """One server, spoken to with one API key. Raises Unexpected, or httpx2's HTTPError."""

    def __init__(self, url: str, api_key: str) -> None:
        self.url = url
        self.api_key = api_key
        headers = {"Authorization": f"Bearer {api_key}"}
        self._http = httpx2.AsyncClient(base_url=url, timeout=PATIENCE, headers=headers, trust_env=False)

    async def close(self) -> None:
        await self._http.aclose()

    async def post(self, path: str, body: Any, headers: Mapping[str, str] | None = None) -> Reply:
        """POST a JSON document, or a YAML one as bytes. Any status is an answer."""
        kind = "application/yaml" if isinstance(body, bytes) else "application/json"
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        sent = {"Content-Type": kind, **(headers or {})}
        return _reply(await self._http.post(path, content=data, headers=sent))

    async def create(self, path: str, body: Any) -> Any:
        return _expected(await self.post(path, body), 201, path)

    async def ask(self, path: str, body: Any) -> Any:
        return _expected(await self.post(path, body), 200, path)

    async def get(self, path: str) -> Any:
        return _expected(_reply(await self._http.get(path)), 200, path)

    async def events(self, path: str, body: Mapping[str, Any], headers: dict[str, str]) -> AsyncIterator[str]:
        """The data of each server-sent event; ``headers`` is filled with the answer's headers."""
        async with self._http.stream("POST", path, json=body) as response:
            headers.update({name.lower(): value for name, value in response.headers.items()})
            if response.status_code != 200:
                await response.aread()
                _expected(_reply(response), 200, path)
            async for line in response.aiter_lines():
                if line.startswith("data: "):
                    yield line.removeprefix("data: ").strip()

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


def _reply(response: httpx2.Response) -> Reply:
    headers = {name.lower(): value for name, value in response.headers.items()}
    return Reply(response.status_code, headers, response.json() if response.content else None)


def _expected(reply: Reply, status: int, path: str) -> Any:
    if reply.status != status:
        said = reply.body if isinstance(reply.body, dict) else {}
        detail = said.get("detail") or (said.get("error") or {}).get("message") or "no explanation"
        raise Unexpected(f"{path} answered {reply.status}: {detail}")
    return reply.body
