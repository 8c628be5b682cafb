"""An equal answer again: only to the same tenant, contract, operation and body, and never older than asked."""

import os
from dataclasses import replace

import pytest

from caio.audit.sealing import LocalWrapping, TenantVault
from caio.foundation.scope import TenantScope
from caio.gateway.answer_cache import LARGEST, AnswerCache, Sought
from caio.gateway.ports import Operation
from caio.storage.memory.answers import AnswersInMemory

ACME, RIVAL = TenantScope("acme"), TenantScope("rival")
BODY = {"model": "auto", "messages": [{"role": "user", "content": "hello"}], "metadata": {"run": "7"}}
SOUGHT = Sought(ACME, "sha256:contract", Operation.CHAT, "chat", BODY, 60)


class Keys:
    """Wrapped keys, as the database keeps them."""

    def __init__(self) -> None:
        self.wrapped: dict[str, bytes] = {}

    async def find(self, scope: TenantScope) -> bytes | None:
        return self.wrapped.get(scope.tenant_id)

    async def wrapped_key(self, scope: TenantScope, fresh: bytes) -> bytes:
        return self.wrapped.setdefault(scope.tenant_id, fresh)

    async def destroy(self, scope: TenantScope, now: int) -> bool:
        return self.wrapped.pop(scope.tenant_id, None) is not None


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000_000

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def kept() -> AnswersInMemory:
    return AnswersInMemory()


@pytest.fixture
def vault() -> TenantVault:
    return TenantVault(LocalWrapping(os.urandom(32), os.urandom), Keys(), os.urandom, lambda: 0.0)


@pytest.fixture
def cache(kept: AnswersInMemory, vault: TenantVault, clock: Clock) -> AnswerCache:
    return AnswerCache(kept, vault, clock)


async def test_only_the_same_contract_operation_and_body_hit(cache: AnswerCache) -> None:
    await cache.keep(SOUGHT, "dec_1", {"answer": 42})
    found = await cache.find(SOUGHT)
    assert found is not None
    assert (found.decision_id, found.body) == ("dec_1", {"answer": 42})
    others = [
        replace(SOUGHT, contract_hash="sha256:other"),
        replace(SOUGHT, operation=Operation.JSON),
        replace(SOUGHT, capability="chat.fast"),
        replace(SOUGHT, body={**BODY, "messages": [{"role": "user", "content": "hello!"}]}),
        replace(SOUGHT, body={**BODY, "seed": 1}),
        replace(SOUGHT, body={**BODY, "metadata": {"run": "8"}}),
    ]
    assert [await cache.find(each) for each in others] == [None] * len(others)


async def test_what_is_said_to_caio_alone_does_not_matter_nor_the_order_of_members(cache: AnswerCache) -> None:
    await cache.keep(SOUGHT, "dec_1", "answer")
    turned = {"metadata": {"caio": {"policies": ["p"]}, "run": "7"}, "messages": BODY["messages"], "model": "auto"}
    assert await cache.find(replace(SOUGHT, body=turned)) is not None


async def test_names_are_salted_by_tenant(vault: TenantVault) -> None:
    names = {(await vault.sealer(scope)).keyed_name(b"the same request") for scope in (ACME, RIVAL)}
    assert len(names) == 2


async def test_another_tenant_finds_nothing(cache: AnswerCache) -> None:
    await cache.keep(SOUGHT, "dec_1", "of acme")
    assert await cache.find(replace(SOUGHT, scope=RIVAL)) is None


async def test_an_answer_is_never_older_than_asked(cache: AnswerCache, clock: Clock) -> None:
    await cache.keep(SOUGHT, "dec_1", "answer")
    clock.now += 30_000_000
    assert await cache.find(replace(SOUGHT, seconds=30)) is not None
    assert await cache.find(replace(SOUGHT, seconds=29)) is None
    clock.now -= 31_000_000
    assert await cache.find(SOUGHT) is None, "an answer of the future has no age that anybody could state"


async def test_what_does_not_open_is_a_miss(cache: AnswerCache, kept: AnswersInMemory, vault: TenantVault) -> None:
    await cache.keep(SOUGHT, "dec_1", "answer")
    (name,) = kept._tenants["acme"]
    sealed = await kept.find(ACME, name) or b""
    await kept.keep(ACME, name, sealed[:-1] + bytes([sealed[-1] ^ 1]), 60)
    assert await cache.find(SOUGHT) is None
    await kept.keep(ACME, name, sealed, 60)
    assert await cache.find(SOUGHT) is not None
    moved = replace(SOUGHT, body="another")
    await cache.keep(moved, "dec_2", "other answer")
    (other,) = set(kept._tenants["acme"]) - {name}
    await kept.keep(ACME, other, sealed, 60)
    assert await cache.find(moved) is None, "an answer that was moved to another name does not open there"


async def test_large_answers_are_not_kept(cache: AnswerCache) -> None:
    await cache.keep(SOUGHT, "dec_1", "x" * LARGEST)
    assert await cache.find(SOUGHT) is None
