"""A server that is about to stop: it says so, goes on serving for a while, and lets its connections go.

Theory of operation
-------------------
A load balancer learns from readiness whom to send to, and learns it late. A server that stops at once refuses what
is sent to it meanwhile. So one that was told to stop answers 503 to the readiness probe first, and everything else
as before; each answer says ``Connection: close``, so that a connection is not used again when the server is gone.
How long this lasts, and that the server then stops, is the matter of whoever runs it.

Laws (each has a test of the same name)
---------------------------------------
- readiness_goes_first: from ``begin`` on readiness is 503, while calls are answered as before.
- a_connection_is_let_go: from ``begin`` on every answer closes its connection; before, none.
"""

from __future__ import annotations

from collections.abc import Awaitable

from caio.api.asgi import EXCHANGE, App, Message, Receive, Scope, Send

#: The probes that a balancer decides by; ``/health/live`` stays as it is, or the process would be killed.
_READINESS = ("/health", "/health/ready")
_BODY = b'{"status":"stopping","components":{}}'
_CLOSE = (b"connection", b"close")


class Draining:
    """The API, with what a stopping server changes about it."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._begun = False

    def begin(self) -> None:
        """Let readiness go; there is no way back."""
        self._begun = True

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        # No coroutine of its own: this stands in front of every call.
        return self._stopping(scope, receive, send) if self._begun else self._app(scope, receive, send)

    async def _stopping(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] in _READINESS:
            headers = [(b"content-type", b"application/json"), (b"content-length", str(len(_BODY)).encode()), _CLOSE]
            await send({"type": "http.response.start", "status": 503, "headers": headers})
            await send({"type": "http.response.body", "body": _BODY})
        else:
            scope.pop(EXCHANGE, None)
            await self._app(scope, receive, _closing(send))


def _closing(send: Send) -> Send:
    async def told(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", ()), _CLOSE]}
        await send(message)

    return told
