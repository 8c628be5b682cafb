"""What the probes say, and what takes a process out of service."""

import json
from typing import Any

from sqlalchemy import delete

from caio.api.app import create_app
from caio.api.draining import Draining
from caio.api.operations import Operations
from caio.foundation.scope import PlatformScope
from caio.storage.sql.tables import journal
from caio.tenancy.authentication import embedded_scope
from tests.support.logs import act_leaf


async def test_ready_names_what_it_depends_on(caio):
    await caio.installation.sequencer.take_in("default")
    status, health = await caio.get("/health/ready")
    assert (status, health["status"]) == (200, "healthy")
    assert {name: each["status"] for name, each in health["components"].items()} == {
        "database": "healthy",
        "migrations": "healthy",
        "journal": "healthy",
        "calls": "healthy",
        "audit_log": "healthy",
        "worker": "healthy",
    }


async def test_older_tables_take_the_process_out_of_service(caio):
    async with caio.installation.database.writing(PlatformScope("test")) as connection:
        await connection.exec_driver_sql("UPDATE alembic_version SET version_num = '0001'")
    caio.installation.standing._until = 0.0
    status, health = await caio.get("/health/ready")
    assert (status, health["status"]) == (503, "unhealthy")
    assert "run: caio db upgrade" in health["components"]["migrations"]["detail"]
    assert health["components"]["database"]["status"] == "healthy"


async def test_a_log_in_trouble_is_shown_but_serves_on(caio):
    installation = caio.installation
    await installation.sequencer.take_in("default")
    head = await installation.audit_log.head(embedded_scope())
    for number in range(2):
        await installation.journal.append(act_leaf("default", number))
    async with installation.database.writing(PlatformScope("test")) as connection:
        await connection.execute(delete(journal).where(journal.c.seq == head.size))
    await installation.sequencer.take_in("default")
    status, health = await caio.get("/health/ready")
    assert (status, health["status"]) == (200, "degraded")
    assert health["components"]["audit_log"]["status"] == "unhealthy"
    assert "default" not in str(health)
    assert (await installation.audit_log.head(embedded_scope())) == head


async def test_metrics_are_not_public(caio):
    for path in ("/metrics", "/api/v1/metrics", "/metrics/"):
        status, _ = await caio.get(path)
        assert status in (401, 404)


async def test_readiness_is_the_public_one(caio):
    """The operations listener's, also while the process drains."""
    app = Draining(create_app(caio.installation))
    operations = Operations(app, bytes, "text/plain")

    async def asked(whom):
        sent = []

        async def send(message):
            sent.append(message)

        async def receive():
            return {"type": "http.request", "body": b"", "more_body": False}

        scope: dict[str, Any] = {
            "type": "http",
            "method": "GET",
            "path": "/health/ready",
            "raw_path": b"",
            "query_string": b"",
        }
        scope |= {"headers": [], "client": ("127.0.0.1", 1), "server": None, "scheme": "http", "http_version": "1.1"}
        await whom(scope, receive, send)
        document = json.loads(b"".join(each.get("body", b"") for each in sent[1:]))
        return sent[0]["status"], document["status"], set(document["components"])

    assert await asked(operations) == await asked(app)
    assert (await asked(operations))[0] == 200
    app.begin()
    assert await asked(operations) == await asked(app) == (503, "stopping", set())
