"""The operations listener's application: probes and metrics, for the machine's own collectors.

Theory of operation
-------------------
What monitors a process asks it without a credential, and what it is told is nobody else's business: how many calls
came, of which sort, how they ended. So this is an application of its own on an address of its own (loopback, unless
the operator says otherwise), and nothing of the public one is reachable through it but its two probes. Those are
passed on to the public application as they are, so that both say the same, also while the process drains.

A worker, which serves nothing else, is judged by ``Upkeep``: it can do its work while the database answers and no
step of a loop hangs. It lives while no step hangs: the orchestrator replaces one that does, since no balancer would
take work from it, and leaves one whose database is away. Whoever asks may end a process that is not ready, so what
another process would not do better is shown, and takes none out of service: a limiter that is away, and a loop whose
steps fail, which tries them again.

Laws (each has a test of the same name)
---------------------------------------
- nothing_else_is_answered_here: neither other paths of the public application, nor other methods.
- metrics_are_not_public: the public application has no such path.
- readiness_is_the_public_one: for the API, also while it drains.
- a_worker_that_hangs_is_not_ready: nor one without its database, nor one that stops.
- a_worker_that_hangs_is_replaced: and one without its database, or that stops, is not.
- what_a_restart_does_not_mend_takes_no_worker_out_of_service.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from time import monotonic
from typing import Protocol

import msgspec

from caio.api.asgi import App, Receive, Scope, Send
from caio.foundation.errors import CaioError

LIVE, READY, METRICS = "/health/live", "/health/ready", "/metrics"

_JSON = b"application/json"


class Operations:
    """Passes the probes on to ``health`` and answers ``/metrics`` with what ``exposition`` gives, of this
    ``content_type``."""

    def __init__(self, health: App, exposition: Callable[[], bytes], content_type: str) -> None:
        self._health = health
        self._exposition = exposition
        self._content_type = content_type.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        if scope["method"] != "GET":
            await _answer(send, 405, _JSON, b'{"detail":"only GET is answered here"}', allow=b"GET")
        elif path == METRICS:
            await _answer(send, 200, self._content_type, self._exposition())
        elif path in (LIVE, READY):
            await self._health(scope, receive, send)
        else:
            await _answer(send, 404, _JSON, b'{"detail":"here are /health/live, /health/ready and /metrics"}')


class Kept(Protocol):
    """A loop of the worker, as far as its health goes."""

    name: str

    @property
    def age(self) -> float: ...
    @property
    def trouble(self) -> str | None: ...
    @property
    def stuck(self) -> bool: ...


class Shared(Protocol):
    """What several processes keep their limits in, as far as its health goes."""

    def degraded(self) -> str | None: ...


class Upkeep:
    """The probes of a worker. ``ping`` raises CaioError when the database does not answer; ``stopping`` is whether the
    process has been told to stop."""

    def __init__(
        self,
        ping: Callable[[], Awaitable[None]],
        limiter: Shared | None,
        loops: Sequence[Kept],
        stopping: Callable[[], bool],
    ) -> None:
        self._ping = ping
        self._limiter = limiter
        self._loops = loops
        self._stopping = stopping

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == LIVE:
            hanging = any(each.stuck for each in self._loops) and not self._stopping()
            said = "unhealthy" if hanging else "healthy"
            await _answer(send, 503 if hanging else 200, _JSON, b'{"status":"%s","components":{}}' % said.encode())
            return
        status, document = await self.readiness()
        await _answer(send, status, _JSON, msgspec.json.encode(document))

    async def readiness(self) -> tuple[int, dict[str, object]]:
        """The status and the document, in the shape of the public probe's."""
        if self._stopping():
            return 503, {"status": "stopping", "components": {}}
        database = await self._database()
        limiter = {} if self._limiter is None else {"limiter": _state(self._limiter.degraded())}
        loops = {
            each.name: {**_state(each.trouble), "seconds_since_success": round(each.age, 3)} for each in self._loops
        }
        components = {"database": database, **limiter, **loops}
        serving = database["status"] == "healthy" and not any(each.stuck for each in self._loops)
        whole = all(each["status"] == "healthy" for each in components.values())
        status = "unhealthy" if not serving else "healthy" if whole else "degraded"
        return 200 if serving else 503, {"status": status, "components": components}

    async def _database(self) -> dict[str, object]:
        started, trouble = monotonic(), None
        try:
            await self._ping()
        except CaioError as error:
            trouble = error.message
        return {**_state(trouble), "latency_ms": round((monotonic() - started) * 1000, 3)}


def _state(trouble: str | None) -> dict[str, object]:
    return {"status": "healthy"} if trouble is None else {"status": "unhealthy", "detail": trouble}


async def _answer(send: Send, status: int, kind: bytes, body: bytes, *, allow: bytes | None = None) -> None:
    headers = [(b"content-type", kind), (b"content-length", str(len(body)).encode())]
    if allow is not None:
        headers.append((b"allow", allow))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
