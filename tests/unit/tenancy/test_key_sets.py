"""The laws of ``tenancy.key_sets``, with a clock and a provider that the test holds."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from caio.foundation.errors import NotReady, UpstreamFailed, UpstreamFault
from caio.tenancy.jws import KeySet, Token, TokenRefused, read_key_set, read_token
from caio.tenancy.key_sets import AGAIN, FIRST_AGAIN, FRESH, LONGEST_SERVED, KeySets
from caio.tenancy.oidc import Issuer
from tests.support.identity_provider import Key, token

ISSUER = Issuer("https://idp.example", audiences=frozenset({"a"}))
OLD, NEW = Key("old", "EdDSA"), Key("new", "EdDSA")


def named(key: Key) -> Token:
    return read_token(token({}, key))


class Provider:
    """A source whose answers the test sets."""

    def __init__(self) -> None:
        self.now = 10**15
        self.keys: list[Key] = [OLD]
        self.fetched = 0
        self.failure: Exception | None = None
        self.gate: asyncio.Event | None = None
        self.told: list[str] = []
        self.sets = KeySets(self, lambda: self.now, lambda issuer, error: self.told.append(issuer))

    async def fetch(self, issuer: Issuer) -> KeySet:
        self.fetched += 1
        if self.gate is not None:
            await self.gate.wait()
        if self.failure is not None:
            raise self.failure
        return read_key_set(json.dumps({"keys": [key.jwk() for key in self.keys]}).encode())

    async def finds(self, key: Key) -> bool:
        try:
            found = await self.sets.key(named(key), ISSUER)
        except TokenRefused:
            return False
        found.verify(named(key))
        return True


DOWN = UpstreamFailed("down", UpstreamFault.UNREACHABLE)


async def test_a_new_key_works_and_an_old_one_stops() -> None:
    provider = Provider()
    assert await provider.finds(OLD)
    provider.keys = [NEW]
    provider.now += AGAIN
    assert await provider.finds(NEW)
    assert not await provider.finds(OLD)
    provider.keys = [OLD]
    provider.now += FRESH - 1
    assert await provider.finds(NEW)
    provider.now += 1
    assert not await provider.finds(NEW)
    assert await provider.finds(OLD)


async def test_unknown_names_cost_one_fetch() -> None:
    provider = Provider()
    assert await provider.finds(OLD)
    strangers = [Key(f"k{number}", "EdDSA") for number in range(5)]
    for stranger in strangers:
        assert not await provider.finds(stranger)
    assert provider.fetched == 1
    provider.now += AGAIN
    assert set(await asyncio.gather(*map(provider.finds, strangers))) == {False}
    assert provider.fetched == 2
    provider.now += AGAIN - 1
    assert not await provider.finds(strangers[0])
    assert provider.fetched == 2


async def test_concurrent_first_uses_are_one_fetch_and_survive_who_gives_up() -> None:
    provider = Provider()
    provider.gate = asyncio.Event()
    waiting = [asyncio.create_task(provider.finds(OLD)) for _ in range(5)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    await asyncio.sleep(0)
    provider.gate.set()
    results: list[Any] = await asyncio.gather(*waiting, return_exceptions=True)
    assert isinstance(results[0], asyncio.CancelledError)
    assert results[1:] == [True] * 4
    assert provider.fetched == 1


async def test_the_last_good_set_serves_while_the_provider_is_down() -> None:
    provider = Provider()
    assert await provider.finds(OLD)
    begun = provider.now
    provider.failure = DOWN
    provider.now += FRESH
    assert await provider.finds(OLD)
    assert provider.told == [ISSUER.issuer]
    # Known to be down: nobody waits for the next attempt.
    provider.gate = asyncio.Event()
    provider.now += AGAIN
    async with asyncio.timeout(1):
        assert await provider.finds(OLD)
    await asyncio.sleep(0)
    provider.gate.set()
    await asyncio.sleep(0)
    provider.gate = None
    provider.now = begun + LONGEST_SERVED
    with pytest.raises(NotReady):
        await provider.finds(OLD)
    provider.failure = None
    provider.now += FIRST_AGAIN
    assert await provider.finds(OLD)


async def test_without_a_set_callers_are_told_to_come_back() -> None:
    provider = Provider()
    provider.failure = DOWN
    for _ in range(3):
        with pytest.raises(NotReady):
            await provider.finds(OLD)
    assert provider.fetched == 1
    provider.failure = None
    provider.now += FIRST_AGAIN
    assert await provider.finds(OLD)


@pytest.mark.parametrize("answer", [[], TokenRefused("no key set")])
async def test_a_bad_answer_replaces_nothing(answer: Any) -> None:
    provider = Provider()
    assert await provider.finds(OLD)
    if isinstance(answer, Exception):
        provider.failure = answer
    else:
        provider.keys = answer
    provider.now += FRESH
    assert await provider.finds(OLD)
