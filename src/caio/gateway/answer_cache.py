"""Giving an equal answer again, where the caller asked for that.

Theory of operation
-------------------
A request may say how old an answer may be (``x-caio-cache``, in seconds). It is decided and admitted like any
other, and its decision is journalled; only then is an answer looked up that the very contract which won gave to
the very same body. A hit calls nobody, costs nothing, and its outcome names the decision that the answer came
from. A miss is called as usual, and a faultless answer is kept for the next one.

What is kept is sealed with the tenant's key and found under a name that only that key can make: no tenant can
find, guess or test for another's, and with the key every kept answer is gone. Nothing is kept of requests that
are marked sensitive, of streams, of answers with breaches, or of large ones.

Laws (each has a test of the same name)
---------------------------------------
- only_the_same_contract_operation_and_body_hit: one differing byte of the payload misses.
- names_are_salted_by_tenant: the same request of two tenants has two names.
- an_answer_is_never_older_than_asked.
- what_does_not_open_is_a_miss: a kept answer that was changed, or sealed under a destroyed key.
- only_faultless_answers_are_kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

from caio.audit.sealing import TenantVault, sealing_context
from caio.foundation.errors import SealBroken
from caio.foundation.scope import TenantScope
from caio.gateway.ports import Clock, Operation

#: The longest that an answer is kept, in seconds.
LONGEST_SECONDS = 86_400

#: Larger answers are not kept, in bytes of their JSON.
LARGEST = 256 << 10

_SECOND = 1_000_000
_PURPOSE = b"caio/answer-name/v1\x00"
_KIND = "cached-answer"


class KeptAnswers(Protocol):
    """Sealed answers by name. Forgetting one early is allowed, and so is not being there: then nothing is found."""

    async def find(self, scope: TenantScope, name: str) -> bytes | None: ...

    async def keep(self, scope: TenantScope, name: str, sealed: bytes, seconds: int) -> None:
        """Keep it for ``seconds`` at most, in place of what has the same name."""
        ...


@dataclass(frozen=True, slots=True)
class Sought:
    """What a cached answer has to match, and how old it may be at most, in seconds."""

    scope: TenantScope
    contract_hash: str
    operation: Operation
    capability: str
    body: Any
    seconds: int


class Cached(msgspec.Struct, frozen=True):
    """An answer that was given before, by ``decision_id`` at ``at`` (microseconds since the epoch)."""

    decision_id: str
    at: int
    body: Any


class AnswerCache:
    """Finds and keeps answers. Neither ever fails a call for want of the cache."""

    def __init__(self, kept: KeptAnswers, vault: TenantVault, clock: Clock) -> None:
        self._kept = kept
        self._vault = vault
        self._clock = clock

    async def find(self, sought: Sought) -> Cached | None:
        """The answer that was kept, if it is young enough."""
        sealer = await self._vault.sealer(sought.scope)
        name = sealer.keyed_name(_PURPOSE + _identity(sought))
        sealed = await self._kept.find(sought.scope, name)
        if sealed is None:
            return None
        try:
            found = msgspec.json.decode(sealer.open(sealed, _context(sought, name)), type=Cached)
        except (SealBroken, msgspec.DecodeError):
            return None
        return found if 0 <= self._clock() - found.at <= sought.seconds * _SECOND else None

    async def keep(self, sought: Sought, decision_id: str, body: Any) -> None:
        """Keep a faultless, complete answer for as long as its caller would take it again."""
        content = msgspec.json.encode(Cached(decision_id, self._clock(), body))
        if len(content) > LARGEST:
            return
        sealer = await self._vault.sealer(sought.scope)
        name = sealer.keyed_name(_PURPOSE + _identity(sought))
        sealed = sealer.seal(content, _context(sought, name))
        await self._kept.keep(sought.scope, name, sealed, min(sought.seconds, LONGEST_SECONDS))


def _identity(sought: Sought) -> bytes:
    """Everything that makes two requests the same to the service, without what is said to CAIO alone."""
    body = sought.body
    if isinstance(body, dict) and isinstance(metadata := body.get("metadata"), dict):
        body = {**body, "metadata": {key: value for key, value in metadata.items() if key != "caio"}}
    identity = [sought.contract_hash, sought.operation, sought.capability, body]
    return msgspec.json.encode(identity, order="sorted")


def _context(sought: Sought, name: str) -> bytes:
    return sealing_context(sought.scope.tenant_id, _KIND, name)
