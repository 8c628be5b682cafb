"""Pages of named origins may call the API from a browser (the Fetch standard's CORS protocol).

Theory of operation
-------------------
A browser asks before it sends what a page of another origin wants sent (the preflight), and shows the page only what
an answer allows it. This stands before the whole API where origins are configured, and is not there otherwise. A
preflight is answered here, without a credential, since browsers send none with it: it says what may be asked, and
nothing of what would be answered. Any other request goes on, whatever its origin, and its answer, an error too, is
marked for the page where its origin is one of ours.

Callers prove themselves by a header that a page must have been given, never by a cookie. So no answer allows
credentials, and a page of an origin that is not named can send nothing that the API would take for somebody's.

``/mcp`` is left as it is: it takes no page's messages at all (``mcp.door``).

Laws (each has a test of the same name)
---------------------------------------
- named_origins_may_read_every_answer: of the hot paths, of streams, of errors.
- other_origins_are_told_nothing.
- a_preflight_needs_no_credential: and reaches no route.
- credentials_are_never_allowed.
- nothing_stands_in_the_way_without_origins.
"""

from __future__ import annotations

from collections.abc import Collection

from caio.api.asgi import EXCHANGE, App, Message, Receive, Scope, Send
from caio.api.mcp.door import PATH

#: How long a browser may go by a preflight's answer, in seconds.
_SECONDS = b"600"

_METHODS = b"GET, HEAD, POST, PUT, PATCH, DELETE"
_ALL = "*"

_Headers = list[tuple[bytes, bytes]]
_VARY: _Headers = [(b"vary", b"Origin")]


def with_cors(app: App, origins: Collection[str]) -> App:
    """``app``, for pages of these origins too: ``https://app.example`` each, or ``*`` alone for all."""
    return Cors(app, origins) if origins else app


class Cors:
    """The API, open to pages of some origins."""

    def __init__(self, app: App, origins: Collection[str]) -> None:
        self._app = app
        self._all = _ALL in origins
        self._origins = frozenset(each.encode() for each in origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] == PATH:
            await self._app(scope, receive, send)
            return
        origin = _header(scope, b"origin")
        if origin and scope["method"] == "OPTIONS" and _header(scope, b"access-control-request-method"):
            await self._answer_preflight(scope, origin, send)
        else:
            scope.pop(EXCHANGE, None)
            await self._app(scope, receive, _marking(send, self._marks(origin)))

    def _marks(self, origin: bytes) -> _Headers:
        """What an answer says of who may read it; a shared cache is told when that depends on who asked."""
        if self._all:
            return [(b"access-control-allow-origin", b"*"), (b"access-control-expose-headers", b"*")]
        if origin not in self._origins:
            return _VARY
        return [*_VARY, (b"access-control-allow-origin", origin), (b"access-control-expose-headers", b"*")]

    async def _answer_preflight(self, scope: Scope, origin: bytes, send: Send) -> None:
        allowed = self._all or origin in self._origins
        headers = [(b"vary", b"Origin, Access-Control-Request-Headers"), (b"content-length", b"0")]
        if allowed:
            headers += [
                (b"access-control-allow-origin", b"*" if self._all else origin),
                (b"access-control-allow-methods", _METHODS),
                (b"access-control-max-age", _SECONDS),
            ]
            # A page of ours may send any header; `*` would leave out Authorization.
            if asked := _header(scope, b"access-control-request-headers"):
                headers.append((b"access-control-allow-headers", asked))
        await send({"type": "http.response.start", "status": 204 if allowed else 403, "headers": headers})
        await send({"type": "http.response.body", "body": b""})


def _header(scope: Scope, name: bytes) -> bytes:
    return next((value for each, value in scope["headers"] if each == name), b"")


def _marking(send: Send, marks: _Headers) -> Send:
    async def marked(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", ()), *marks]}
        await send(message)

    return marked
