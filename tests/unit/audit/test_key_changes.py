"""The signing key in the log, over a real SQLite journal."""

import pytest

from caio.audit.acts import Act
from caio.audit.journal import Journal
from caio.audit.key_changes import record_signing_key
from caio.foundation.scope import TenantScope
from tests.support.acts import acts_over, acts_told

ACME, OTHER = TenantScope("acme"), TenantScope("other")


class Log:
    """The logs of an installation, and its starts."""

    def __init__(self, stores):
        self.stores = stores
        self.acts, self.vault = acts_over(stores)
        self.journal = Journal(stores.journal)

    async def start(self, key_id, scope=ACME):
        """Start with this key; what the log then says of signing keys."""
        await record_signing_key(scope, key_id, self.stores.journal, self.acts, self.stores.acts)
        return [
            (act["action"], act["principal"], act["subject"], act["details"])
            for act in await acts_told(self.stores.journal, self.vault, scope)
            if act["details"].get("use") == "signing"
        ]

    async def tell(self, action, subject):
        await self.journal.append(await self.acts.leaf(ACME, Act(action, "key_1", subject)))


@pytest.fixture
async def log(stores):
    log = Log(stores)
    await log.journal.start()
    yield log
    await log.journal.stop()


async def test_every_signing_key_is_recorded_before_it_signs(log):
    first = ("key.activated", "system", "a" * 16, {"use": "signing"})
    assert await log.start("a" * 16) == [first]
    second = ("key.rotated", "system", "b" * 16, {"use": "signing", "before": "a" * 16})
    assert await log.start("b" * 16) == [first, second]
    back = ("key.rotated", "system", "a" * 16, {"use": "signing", "before": "b" * 16})
    assert await log.start("a" * 16) == [first, second, back]
    assert await log.start("b" * 16, OTHER) == [("key.activated", "system", "b" * 16, {"use": "signing"})]


async def test_the_same_key_is_recorded_once(log):
    once = await log.start("a" * 16)
    await log.tell("key.created", "key_2")
    await log.tell("key.revoked", "b" * 16)
    await log.tell("secret.stored", "b" * 16)
    assert await log.start("a" * 16) == await log.start("a" * 16) == once
