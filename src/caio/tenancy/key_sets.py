"""The public keys of identity providers, kept while they are fresh.

Theory of operation
-------------------
Each issuer has one set. It is fetched at first use and again when it is older than FRESH; a token that names
a key which the set does not hold makes it be fetched earlier, for providers change keys at any time, but at
most every AGAIN: a flood of invented names costs the provider nothing. While the provider does not answer,
the last good set serves, for LONGEST_SERVED at most, and callers do not wait for the attempts.

Laws (each has a test of the same name)
---------------------------------------
- a_new_key_works_and_an_old_one_stops: within FRESH, and a new one at its first use.
- unknown_names_cost_one_fetch: within AGAIN, however many and concurrent they are.
- the_last_good_set_serves_while_the_provider_is_down: for a bounded time; without one, calls are told to come back.
- a_bad_answer_replaces_nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from caio.foundation.errors import CaioError, NotReady
from caio.tenancy.jws import KeySet, Token, TokenRefused, VerifyingKey
from caio.tenancy.oidc import Issuer

_SECOND = 1_000_000
FRESH = 600 * _SECOND
AGAIN = 30 * _SECOND
#: How soon a set is asked for again when there is none at all.
FIRST_AGAIN = 2 * _SECOND
LONGEST_SERVED = 86_400 * _SECOND


class KeySource(Protocol):
    """Where an issuer's keys come from. The address is the configured one, or the issuer's own discovery's."""

    async def fetch(self, issuer: Issuer) -> KeySet:
        """Raises UpstreamFailed when the provider does not answer, TokenRefused when it answers no key set."""
        ...


@dataclass(slots=True)
class _Standing:
    """What is held of one issuer. ``tried_at`` is when it was last asked, with or without an answer."""

    keys: KeySet | None = None
    fetched_at: int = 0
    tried_at: int = -LONGEST_SERVED
    failing: bool = False
    fetching: asyncio.Task[None] | None = None


class KeySets:
    """Keys by issuer. ``clock`` gives microseconds since the epoch; ``failed`` is told what went wrong."""

    def __init__(
        self, source: KeySource, clock: Callable[[], int], failed: Callable[[str, Exception], None] = lambda *_: None
    ) -> None:
        self._source = source
        self._clock = clock
        self._failed = failed
        self._standing: dict[str, _Standing] = {}

    async def key(self, token: Token, issuer: Issuer) -> VerifyingKey:
        """The issuer's key that ``token`` names. Raises TokenRefused when it has none of that name, NotReady while
        none of its keys are known."""
        standing = self._standing.setdefault(issuer.issuer, _Standing())
        keys = await self._fresh(standing, issuer)
        found = keys.find(token)
        may_ask = self._clock() - standing.tried_at >= AGAIN or standing.fetching is not None
        if found is None and may_ask:
            await self._fetch(standing, issuer)
            found = (standing.keys or keys).find(token)
        if found is None:
            raise TokenRefused("the issuer has no key of this name and algorithm")
        return found

    async def _fresh(self, standing: _Standing, issuer: Issuer) -> KeySet:
        now = self._clock()
        if standing.keys is None or now - standing.fetched_at >= LONGEST_SERVED:
            if now - standing.tried_at >= FIRST_AGAIN or standing.fetching is not None:
                await self._fetch(standing, issuer)
        elif now - standing.fetched_at >= FRESH and now - standing.tried_at >= AGAIN:
            # A provider that answered last time is waited for; one that did not answers in the background.
            fetching = self._begin(standing, issuer)
            if not standing.failing:
                await asyncio.shield(fetching)
        if standing.keys is None or self._clock() - standing.fetched_at >= LONGEST_SERVED:
            raise NotReady("the identity provider's keys cannot be fetched now; try again in a moment")
        return standing.keys

    async def _fetch(self, standing: _Standing, issuer: Issuer) -> None:
        await asyncio.shield(self._begin(standing, issuer))

    def _begin(self, standing: _Standing, issuer: Issuer) -> asyncio.Task[None]:
        """The one fetch under way."""
        if standing.fetching is None:
            standing.tried_at = self._clock()
            standing.fetching = asyncio.create_task(self._ask(standing, issuer))
        return standing.fetching

    async def _ask(self, standing: _Standing, issuer: Issuer) -> None:
        try:
            keys = await self._source.fetch(issuer)
            if not len(keys):
                raise TokenRefused("the key set holds no key that could verify a token")
            standing.keys, standing.fetched_at, standing.failing = keys, self._clock(), False
        except (CaioError, TokenRefused) as error:
            standing.failing = True
            self._failed(issuer.issuer, error)
        finally:
            standing.fetching = None
