"""The signing key in the log, over a real SQLite journal."""

import pytest

from caio.audit.acts import Act
from caio.audit.journal import Journal
from caio.audit.key_changes import record_signing_key
from caio.foundation.scope import TenantScope
from tests.support.acts import acts_over, acts_told

ACME, OTHER = TenantScope("acme"), TenantScope("other")


@pytest.fixture
async def start(stores):
    """``start(key_id)`` is what a start with this key records; returns all that the log says."""
    acts, vault = acts_over(stores)
    journal = Journal(stores.journal)
    await journal.start()

    async def started(key_id, scope=ACME):
        await record_signing_key(scope, key_id, stores.journal, acts, journal)
        return [
            (act["action"], act["principal"], act["subject"], act["details"])
            for act in await acts_told(stores.journal, vault, scope)
            if act["details"].get("use") == "signing"
        ]

    async def beside(action, subject):
        await journal.append(await acts.leaf(ACME, Act(action, "key_1", subject)))

    started.beside = beside
    yield started
    await journal.stop()


async def test_every_signing_key_is_recorded_before_it_signs(start):
    first = ("key.activated", "system", "a" * 16, {"use": "signing"})
    assert await start("a" * 16) == [first]
    second = ("key.rotated", "system", "b" * 16, {"use": "signing", "before": "a" * 16})
    assert await start("b" * 16) == [first, second]
    back = ("key.rotated", "system", "a" * 16, {"use": "signing", "before": "b" * 16})
    assert await start("a" * 16) == [first, second, back]
    assert await start("b" * 16, OTHER) == [("key.activated", "system", "b" * 16, {"use": "signing"})]


async def test_the_same_key_is_recorded_once(start):
    once = await start("a" * 16)
    await start.beside("key.created", "key_2")
    await start.beside("key.revoked", "b" * 16)
    await start.beside("secret.stored", "b" * 16)
    assert await start("a" * 16) == await start("a" * 16) == once
