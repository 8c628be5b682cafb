"""A tenant's webhooks: where its events go, and the secrets that deliveries are signed with.

A secret is shown once, when it is made or rotated, and kept sealed with the tenant's key, in the webhook's own
place. Every change is an act, written with it. What is said about a webhook does not go to that webhook.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from caio.audit.acts import SYSTEM, Act, Acts
from caio.audit.ports import ActStore, Leaf
from caio.audit.sealing import Entropy, TenantVault, sealing_context
from caio.events import signing
from caio.events.envelope import PATTERN, Event, event_type_of
from caio.events.ports import Answered, Receiver, Webhook
from caio.events.signing import Secret
from caio.foundation.errors import Conflict, InvalidInput, Violation
from caio.foundation.scope import TenantScope
from caio.tenancy.principals import Caller

#: Webhooks of one tenant, and patterns of one webhook.
MOST = 20
MOST_TYPES = 32
MAX_URL = 2048
#: How long the old secret goes on signing beside the new one, at most, in seconds.
LONGEST_OVERLAP = 7 * 86_400

_TESTED = "webhook.tested"


class WebhookStore(Protocol):
    """Webhooks and the leaves that tell of them, each pair written in one transaction."""

    async def add(self, scope: TenantScope, webhook: Webhook, most: int, leaf: Leaf) -> None:
        """Raises Conflict ``quota_exceeded`` when the tenant has ``most`` already, exactly."""
        ...

    async def get(self, scope: TenantScope, webhook_id: str) -> Webhook:
        """Raises NotFound."""
        ...

    async def all(self, scope: TenantScope) -> Sequence[Webhook]:
        """Oldest first."""
        ...

    async def delete(self, scope: TenantScope, webhook_id: str, leaf: Leaf) -> None:
        """Raises NotFound."""
        ...

    async def reseal(self, scope: TenantScope, webhook_id: str, before: bytes, sealed: bytes, leaf: Leaf) -> bool:
        """Replace ``before``; False, and nothing written, when something else is sealed by now."""
        ...

    async def switch(self, scope: TenantScope, webhook_id: str, disabled_at: int | None, leaf: Leaf) -> Webhook:
        """Disable, or enable with None. What is so already changes nothing and writes no leaf. Raises NotFound."""
        ...


@dataclass(frozen=True, slots=True)
class NewSecret:
    """A webhook with the secret just made for it: the only time it is shown."""

    webhook: Webhook
    secret: str


def sealing_place(scope: TenantScope, webhook_id: str) -> bytes:
    return sealing_context(scope.tenant_id, "webhook", webhook_id)


async def secrets_of(vault: TenantVault, scope: TenantScope, webhook: Webhook) -> tuple[Secret, ...]:
    """The webhook's signing secrets, newest first. Raises as ``TenantVault.sealer`` and ``Sealer.open`` do."""
    sealer = await vault.sealer(scope)
    return signing.read(sealer.open(webhook.sealed, sealing_place(scope, webhook.webhook_id)))


class Webhooks:
    """Makes, lists, rotates, tests, enables and deletes webhooks."""

    def __init__(
        self,
        store: WebhookStore,
        recorded: ActStore,
        acts: Acts,
        vault: TenantVault,
        receiver: Receiver,
        clock: Callable[[], int],
        new_id: Callable[[str], str],
        entropy: Entropy,
    ) -> None:
        self._store = store
        self._recorded = recorded
        self._acts = acts
        self._vault = vault
        self._receiver = receiver
        self._clock = clock
        self._new_id = new_id
        self._entropy = entropy

    async def create(self, caller: Caller, url: str, types: Sequence[str]) -> NewSecret:
        """A further webhook for events of ``types``. Raises InvalidInput for an address that is not called or
        a pattern that no type has, Conflict ``quota_exceeded``."""
        _check_types(types)
        self._receiver.check(url)
        webhook_id, secret = self._new_id("whk"), signing.new_secret(self._entropy)
        scope, by = caller.scope, caller.principal.principal_id
        sealed = await self._sealed(scope, webhook_id, (secret,))
        wanted = tuple(sorted(set(types)))
        webhook = Webhook(webhook_id, scope.tenant_id, url, wanted, sealed, self._clock(), by)
        act = Act("webhook.created", by, webhook_id, {"url": url, "types": list(wanted)})
        await self._store.add(scope, webhook, MOST, await self._acts.leaf(scope, act))
        return NewSecret(webhook, secret.text)

    async def get(self, scope: TenantScope, webhook_id: str) -> Webhook:
        """Raises NotFound."""
        return await self._store.get(scope, webhook_id)

    async def all(self, scope: TenantScope) -> Sequence[Webhook]:
        return await self._store.all(scope)

    async def delete(self, caller: Caller, webhook_id: str) -> Webhook:
        """What waits for it is not delivered any more. Raises NotFound."""
        webhook = await self._store.get(caller.scope, webhook_id)
        act = Act("webhook.deleted", caller.principal.principal_id, webhook_id)
        await self._store.delete(caller.scope, webhook_id, await self._acts.leaf(caller.scope, act))
        return webhook

    async def rotate(self, caller: Caller, webhook_id: str, overlap_seconds: int) -> NewSecret:
        """A new secret; the old one signs beside it for ``overlap_seconds``. Raises NotFound, and Conflict
        when somebody else rotates it at the same time."""
        scope = caller.scope
        webhook = await self._store.get(scope, webhook_id)
        fresh = signing.new_secret(self._entropy)
        before = await secrets_of(self._vault, scope, webhook)
        after = signing.rotated(before, fresh, self._clock(), overlap_seconds * 1_000_000)
        sealed = await self._sealed(scope, webhook_id, after)
        act = Act("webhook.rotated", caller.principal.principal_id, webhook_id, {"overlap_seconds": overlap_seconds})
        leaf = await self._acts.leaf(scope, act)
        if not await self._store.reseal(scope, webhook_id, webhook.sealed, sealed, leaf):
            raise Conflict("the webhook was changed meanwhile; look at it and try again")
        return NewSecret(webhook, fresh.text)

    async def enable(self, caller: Caller, webhook_id: str) -> Webhook:
        """Deliver to a disabled webhook again, from the next event on. Raises NotFound."""
        act = Act("webhook.enabled", caller.principal.principal_id, webhook_id)
        return await self._store.switch(caller.scope, webhook_id, None, await self._acts.leaf(caller.scope, act))

    async def disable(self, scope: TenantScope, webhook_id: str, reason: str) -> Webhook:
        """Stop delivering to a webhook that does not answer. Raises NotFound."""
        leaf = await self._acts.leaf(scope, Act("webhook.disabled", SYSTEM, webhook_id, {"reason": reason}))
        return await self._store.switch(scope, webhook_id, self._clock(), leaf)

    async def test(self, caller: Caller, webhook_id: str) -> Answered:
        """Send an event of the type ``caio.webhook.tested`` to this webhook now, whatever its types; once.
        Raises NotFound."""
        scope, by = caller.scope, caller.principal.principal_id
        webhook = await self._store.get(scope, webhook_id)
        event = Event(
            scope.tenant_id, self._new_id("evt"), -1, event_type_of(_TESTED), webhook_id, self._clock(), _TESTED, by
        )
        answered = await self.send(scope, webhook, event)
        details = {"delivered": answered.delivered, "status": answered.status}
        await self._recorded.record(scope, await self._acts.leaf(scope, Act(_TESTED, by, webhook_id, details)))
        return answered

    async def send(self, scope: TenantScope, webhook: Webhook, event: Event) -> Answered:
        """One attempt, signed now. Raises as ``secrets_of`` does."""
        secrets, body = await secrets_of(self._vault, scope, webhook), event.body()
        return await self._receiver.send(webhook, signing.headers(secrets, event.event_id, body, self._clock()), body)

    async def _sealed(self, scope: TenantScope, webhook_id: str, secrets: Sequence[Secret]) -> bytes:
        sealer = await self._vault.sealer(scope)
        return sealer.seal(signing.written(secrets), sealing_place(scope, webhook_id))


def _check_types(types: Sequence[str]) -> None:
    violations = [
        Violation(f"/types/{index}", "must be an event's type, or its beginning up to a point, as in caio.tenant.")
        for index, each in enumerate(types)
        if not PATTERN.fullmatch(each)
    ]
    if not 1 <= len(types) <= MOST_TYPES:
        violations.append(Violation("/types", f"must have 1 to {MOST_TYPES} entries; caio. is every type"))
    if violations:
        raise InvalidInput("the webhook's types are not valid", violations)
