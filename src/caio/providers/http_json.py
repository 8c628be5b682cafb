"""Services that take a JSON document and answer one, over plain HTTP.

The body is sent as it is (GET: its members become the query). The answer's body is what came back;
where it is an object with a ``usage`` object {input_tokens, output_tokens}, that is the usage.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

import msgspec

from caio.foundation.errors import UpstreamFailed, UpstreamFault
from caio.gateway.ports import Call, Chunk, ProviderAnswer, Target
from caio.providers.exchange import (
    expect_success,
    headers_of,
    json_bytes,
    outgoing,
    read_json,
    subject_of,
    url_of,
    usage_from,
)
from caio.providers.outbound import OutboundClient

METHODS = frozenset({"GET", "PATCH", "POST", "PUT"})


class HttpJson:
    """The ``http-json`` protocol. It does not stream."""

    def __init__(self, outbound: OutboundClient) -> None:
        self._outbound = outbound

    async def call(self, target: Target, call: Call) -> ProviderAnswer:
        """One request, one JSON document; raises UpstreamFailed."""
        method = target.method.upper()
        if method not in METHODS:
            raise _invalid(target, "cannot be called: its contract's method is not GET, POST, PUT or PATCH")
        url, body = url_of(target), outgoing(call.body)
        headers = headers_of(target, call, accept="application/json")
        raw: bytes | None = None
        if method == "GET":
            del headers["Content-Type"]
            url = _with_query(target, url, body)
        else:
            raw = json_bytes(target, body)
        async with self._outbound.request(
            method, url, subject=subject_of(target), seconds=call.timeout, headers=headers, body=raw
        ) as answer:
            await expect_success(target, call, answer)
            document = await read_json(target, answer)
        usage = document.get("usage") if type(document) is dict else None
        return ProviderAnswer(document, usage_from(usage, "input_tokens", "output_tokens"))

    async def stream(self, target: Target, call: Call) -> AsyncIterator[Sequence[Chunk]]:
        """Raises UpstreamFailed INVALID at the first step."""
        for chunks in _no_chunks(target):
            yield chunks


def _no_chunks(target: Target) -> Sequence[Sequence[Chunk]]:
    raise _invalid(target, "does not stream; ask it without streaming")


def _with_query(target: Target, url: str, body: Any) -> str:
    """``url`` with the members of ``body`` as query; text as it is, other scalars as JSON. No body
    is an empty one."""
    if not isinstance(body, Mapping | None):
        raise _invalid(target, "is called by GET, which carries the members of an object only")
    pairs = []
    for name, value in (body or {}).items():
        if isinstance(value, Mapping | list | tuple):
            raise _invalid(target, "is called by GET, which carries text, numbers and truth values only")
        if value is not None:
            pairs.append((name, value if isinstance(value, str) else msgspec.json.encode(value).decode()))
    if not pairs:
        return url
    return f"{url}{'&' if '?' in url else '?'}{urlencode(pairs, errors='replace')}"


def _invalid(target: Target, what: str) -> UpstreamFailed:
    return UpstreamFailed(f"{subject_of(target)} {what}", UpstreamFault.INVALID)
