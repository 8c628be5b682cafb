"""What both clients make of the HTTP library: requests in, answers and losses out."""

from __future__ import annotations

from typing import Any

import httpx2

from caio.client.connection import CONNECT_SECONDS
from caio.client.exchange import Call, NoAnswer, Received

#: Failures before anything of the request was sent.
_UNSENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout, httpx2.UnsupportedProtocol)


def request_of(http: httpx2.Client | httpx2.AsyncClient, url: str, call: Call[Any], seconds: float) -> httpx2.Request:
    """The request, to be given up after ``seconds`` in any of its phases; a connection sooner."""
    timeout = httpx2.Timeout(seconds, connect=min(seconds, CONNECT_SECONDS))
    return http.build_request(
        call.method, url + call.path, content=call.body, headers=dict(call.headers), timeout=timeout
    )


def received_of(response: httpx2.Response, body: bytes) -> Received:
    headers = {name.lower(): value for name, value in response.headers.items()}
    return Received(response.status_code, headers, body, response)


def lost_by(error: Exception) -> NoAnswer:
    """Why there is no answer; the library's error stays behind, for it holds the request and its key."""
    unsent = isinstance(error, _UNSENT)
    late = isinstance(error, httpx2.TimeoutException) and not unsent
    what = "did not answer in time" if late else "cannot be reached" if unsent else "closed the connection"
    why = str(error) or type(error).__name__
    return NoAnswer(f"the server {what}: {why}", sent=not unsent, late=late)
