"""The operations listener's application, and the health of a worker."""

import json

from caio.api.operations import Operations, Upkeep
from caio.foundation.errors import NotReady


async def ask(app, path, method="GET"):
    """Status, headers and body of one exchange."""
    sent = []

    async def send(message):
        sent.append(message)

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    await app({"type": "http", "method": method, "path": path, "headers": []}, receive, send)
    start, *bodies = sent
    return start["status"], dict(start["headers"]), b"".join(each.get("body", b"") for each in bodies)


async def public(scope, receive, send):
    """The application behind the probes; it would answer anything."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"x-public", b"yes")]})
    await send({"type": "http.response.body", "body": scope["path"].encode()})


async def test_nothing_else_is_answered_here():
    app = Operations(public, lambda: b"caio_x 1\n", "text/plain; version=0.0.4")
    for path in ("/", "/docs", "/api/v1/services", "/health", "/health/ready/", "/metrics/", "/v1/chat/completions"):
        status, headers, _ = await ask(app, path)
        assert (status, b"x-public" in headers) == (404, False)
    for method in ("POST", "PUT", "DELETE", "HEAD"):
        for path in ("/metrics", "/health/ready", "/v1/chat/completions"):
            status, headers, _ = await ask(app, path, method)
            assert (status, b"x-public" in headers) == (405, False)
    assert (await ask(app, "/metrics"))[0::2] == (200, b"caio_x 1\n")
    assert (await ask(app, "/metrics"))[1][b"content-type"] == b"text/plain; version=0.0.4"
    for path in ("/health/live", "/health/ready"):
        assert (await ask(app, path))[0::2] == (200, path.encode())


class Work:
    """A loop, a limiter and a database that do as they are told."""

    def __init__(self, name="work"):
        self.name = name
        self.age = 2.5
        self.trouble: str | None = None
        self.stuck = False
        self.away: str | None = None
        self.broken = False

    def degraded(self) -> str | None:
        return self.away

    async def ping(self):
        if self.broken:
            raise NotReady("the database does not answer")


async def ready(upkeep):
    status, _, body = await ask(Operations(upkeep, bytes, "text/plain"), "/health/ready")
    return status, json.loads(body)


async def test_what_a_restart_does_not_mend_takes_no_worker_out_of_service():
    work = Work()
    upkeep = Upkeep(work.ping, work, [work], lambda: False)
    status, document = await ready(upkeep)
    assert (status, document["status"]) == (200, "healthy")
    assert set(document["components"]) == {"database", "limiter", "work"}
    assert document["components"]["work"] == {"status": "healthy", "seconds_since_success": 2.5}

    work.away = "Redis does not answer"
    status, document = await ready(upkeep)
    assert (status, document["status"]) == (200, "degraded")
    assert document["components"]["limiter"] == {"status": "unhealthy", "detail": "Redis does not answer"}

    work.away, work.trouble = None, "work has not succeeded for 90 s"
    status, document = await ready(upkeep)
    assert (status, document["status"]) == (200, "degraded")
    assert document["components"]["work"]["detail"] == "work has not succeeded for 90 s"


async def test_a_worker_that_hangs_is_not_ready():
    work, stopping = Work(), False
    upkeep = Upkeep(work.ping, work, [work], lambda: stopping)
    work.stuck = True
    status, document = await ready(upkeep)
    assert (status, document["status"]) == (503, "unhealthy")

    work.stuck, work.broken = False, True
    status, document = await ready(upkeep)
    assert status == 503
    assert document["components"]["database"]["detail"] == "the database does not answer"

    work.broken, stopping = False, True
    assert await ready(upkeep) == (503, {"status": "stopping", "components": {}})
    assert (await ask(Operations(upkeep, bytes, "text/plain"), "/health/live"))[0] == 200


async def test_a_worker_that_hangs_is_replaced():
    work, stopping = Work(), False
    upkeep = Upkeep(work.ping, work, [work], lambda: stopping)

    async def lives():
        return (await ask(Operations(upkeep, bytes, "text/plain"), "/health/live"))[0]

    work.broken, work.away, work.trouble = True, "Redis does not answer", "work has not succeeded for 90 s"
    assert await lives() == 200
    work.stuck = True
    assert await lives() == 503
    stopping = True
    assert await lives() == 200


async def test_without_a_limiter_none_is_told_of():
    work = Work()
    _, document = await ready(Upkeep(work.ping, None, [work], lambda: False))
    assert set(document["components"]) == {"database", "work"}
