"""Catalog, views and histories over the real SQLite stores."""

import asyncio
import gc
import json
import threading
from dataclasses import replace
from random import Random

import pytest

from caio.audit.ports import Attempt
from caio.contracts import parse_contract
from caio.foundation.canonical import canonical_json
from caio.foundation.errors import InvalidInput, NotAllowed
from caio.foundation.hashing import HISTORY, digest_of
from caio.foundation.latencies import bucket_of, start_of
from caio.foundation.scope import TenantScope
from caio.metering.storage_measure import StorageGauge
from caio.registry.advice import Advisor, compiled
from caio.registry.catalog import Catalog
from caio.registry.histories import INTERVAL, SLICE, WINDOW, Histories, since
from caio.registry.views import INLINE_BYTES, INLINE_KEPT, Views
from caio.routing.engine import compile_snapshot
from caio.routing.model import History, Principal, Track
from caio.routing.rules import policies_hash
from caio.storage.sql import Database, open_stores
from caio.storage.sql.upgrade import upgrade
from caio.tenancy.principals import ROLES, Caller, Permission
from tests.support.acts import act_leaf, acts_over
from tests.support.tenants import add_bare_tenants, tenant_named

ACME, RIVAL = TenantScope("acme"), TenantScope("rival")
NOW = 1_700_000_000_000_000


def caller(scope, *further):
    principal = Principal("key_1", "api_key", frozenset({"admin"}), ROLES["admin"] | set(further))
    return Caller(scope, tenant_named(scope.tenant_id), principal)


BY_ACME, BY_RIVAL, BY_PLATFORM = caller(ACME), caller(RIVAL), caller(RIVAL, Permission.SERVICES_SHARE)


@pytest.fixture(scope="module")
def migrated_registry(tmp_path_factory):
    path = tmp_path_factory.mktemp("registry") / "caio.db"
    upgrade(f"sqlite:///{path}")
    return path.read_bytes()


class Registry:
    def __init__(self, stores):
        self.stores = stores
        self.views = Views(stores.contracts, stores.policies, stores.snapshots)
        self.acts, self.vault = acts_over(stores, NOW)
        self.catalog = Catalog(
            stores.contracts,
            stores.policies,
            self.views.changed,
            lambda: NOW,
            Advisor(self.views),
            self.acts,
            StorageGauge(stores.storage_measures, lambda: NOW),
        )
        self.histories = Histories(stores.snapshots)

    async def seen(self, scope=ACME):
        """What decisions of the tenant are made of: (owner, id, version) of services, ids of policies."""
        snapshot = (await self.views.current(scope)).snapshot
        offers = {(offer.tenant_id, *offer.key) for offer in snapshot.offers}
        return offers, {rule.policy.policy_id for rule in snapshot.rules}

    async def rules(self, *references, scope=ACME):
        return await self.views.rules(scope, await self.views.current(scope), references)


@pytest.fixture
async def registry(migrated_registry, tmp_path):
    (tmp_path / "caio.db").write_bytes(migrated_registry)
    database = await Database.open(f"sqlite:///{tmp_path / 'caio.db'}")
    stores = open_stores(database)
    await add_bare_tenants(database, tenant_named("acme"), tenant_named("rival"))
    yield Registry(stores)
    await database.close()


def contract(service_id="echo", version="1.0.0", visibility="tenant", **changes):
    return {
        "service_id": service_id,
        "name": service_id,
        "version": version,
        "capabilities": ["text.sentiment"],
        "guarantees": {"latency_ms": {"p95": 100}},
        "cost": {"currency": "USD", "per_request": "0.001"},
        "privacy": {"data_locality": "on_device", "trains_on_data": False},
        "access": {"visibility": visibility},
        "api": {"protocol": "http-json", "base_url": "http://127.0.0.1:9", "timeout_ms": 5000},
    } | changes


def policy(policy_id="rule", version=1, **changes):
    return {
        "id": policy_id,
        "version": version,
        "priority": 10,
        "effect": "forbid",
        "when": "true",
        "then": "false",
        "message": "",
        "attach": "tenant",
    } | changes


# --- views --------------------------------------------------------------------------------------


async def test_every_change_is_seen_by_the_next_decision(registry):
    assert await registry.seen() == (set(), set())
    first = await registry.catalog.register(BY_ACME, contract())
    assert await registry.seen() == ({("acme", "echo", "1.0.0")}, set())
    await registry.catalog.publish(BY_ACME, "echo", contract(version="2.0.0"), first.published.revision)
    assert await registry.seen() == ({("acme", "echo", "2.0.0")}, set())
    saved = await registry.catalog.save_policy(BY_ACME, policy())
    assert await registry.seen() == ({("acme", "echo", "2.0.0")}, {"rule"})
    await registry.catalog.publish_policy(
        BY_ACME, "rule", policy(version=2, attach="request"), saved.published.revision
    )
    assert (await registry.seen())[1] == set()
    await registry.catalog.retire_policy(BY_ACME, "rule", None)
    await registry.catalog.retire(BY_ACME, "echo", None)
    assert await registry.seen() == (set(), set())


async def test_a_view_is_kept_until_something_changes(registry):
    view = await registry.views.current(ACME)
    assert await registry.views.current(ACME) is view
    await registry.catalog.register(BY_RIVAL, contract())
    assert await registry.views.current(ACME) is view
    await registry.catalog.register(BY_ACME, contract())
    assert await registry.views.current(ACME) is not view
    assert view.snapshot.offers == ()


async def test_a_view_is_made_from_the_last_one(registry):
    """Whatever changes, it equals what is compiled anew; only what is new is read, offers are kept."""
    contracts, read = registry.stores.contracts, []

    class Noting:
        def __getattr__(self, name):
            return getattr(contracts, name)

        async def by_digest(self, scope, digests):
            read.append(len(digests))
            return await contracts.by_digest(scope, digests)

    registry.views._contracts = Noting()
    for number in range(30):
        await registry.catalog.register(BY_ACME, contract(f"service-{number:02}"))
    first = (await registry.views.current(ACME)).snapshot
    await registry.catalog.save_policy(BY_ACME, policy())
    await registry.catalog.register(BY_ACME, contract("another"))
    await registry.catalog.publish(BY_ACME, "service-03", contract("service-03", "2.0.0"), 1)
    await registry.catalog.retire(BY_ACME, "service-07", None)
    await registry.catalog.register(BY_PLATFORM, contract("theirs", visibility="shared"))
    second = (await registry.views.current(ACME)).snapshot
    assert (read[0], sum(read)) == (30, 33)
    fresh = compile_snapshot("acme", second.offers, second.rules)
    assert (second.services_hash, second.policies_hash) == (fresh.services_hash, fresh.policies_hash)
    assert len(second.offers) == 31
    kept = [offer for offer in second.offers if any(offer is each for each in first.offers)]
    assert len(kept) == 28
    assert second.columns.keys == fresh.columns.keys


async def test_a_decision_sees_the_old_or_the_new_and_never_a_mix(registry):
    """A service and the policy about it come and go together; the change happens while a view is read."""
    reading, going = asyncio.Event(), asyncio.Event()
    policies = registry.stores.policies

    class Slow:
        async def active(self, scope):
            reading.set()
            await going.wait()
            return await policies.active(scope)

    registry.views._policies = Slow()
    seen = asyncio.ensure_future(registry.seen())
    await reading.wait()  # the contracts have been read: there were none
    await registry.catalog.register(BY_ACME, contract())
    # As another process would: here, saving a policy analyses it first, on the view that is being read.
    await policies.publish_first(ACME, registry.catalog._policy(compiled(policy())[0].value), 10, act_leaf(ACME))
    registry.views.changed(ACME, False)
    going.set()
    assert await seen == ({("acme", "echo", "1.0.0")}, {"rule"})


async def test_a_view_read_while_a_shared_service_changed_is_read_again(registry):
    reading, going = asyncio.Event(), asyncio.Event()
    policies = registry.stores.policies

    class Slow:
        async def active(self, scope):
            reading.set()
            await going.wait()
            return await policies.active(scope)

    registry.views._policies = Slow()
    seen = asyncio.ensure_future(registry.seen())
    await reading.wait()
    await registry.catalog.register(BY_PLATFORM, contract(visibility="shared"))
    going.set()
    assert await seen == ({("rival", "echo", "1.0.0")}, set())


async def test_concurrent_first_decisions_read_once(registry):
    views = await asyncio.gather(*(registry.views.current(ACME) for _ in range(5)))
    assert len({id(view) for view in views}) == 1


async def test_only_the_platform_shares(registry):
    with pytest.raises(NotAllowed):
        await registry.catalog.register(BY_RIVAL, contract(visibility="shared"))
    assert await registry.seen(RIVAL) == (set(), set())


async def test_what_others_share_is_seen_and_what_they_do_not_is_not(registry):
    await registry.catalog.register(BY_RIVAL, contract("theirs"))
    await registry.catalog.register(BY_PLATFORM, contract("ours", visibility="shared"))
    await registry.catalog.save_policy(BY_RIVAL, policy())
    assert await registry.seen() == ({("rival", "ours", "1.0.0")}, set())
    assert (await registry.seen(RIVAL))[1] == {"rule"}


async def test_a_service_that_is_shared_no_longer_leaves_at_once(registry):
    first = await registry.catalog.register(BY_PLATFORM, contract(visibility="shared"))
    assert (await registry.seen())[0] == {("rival", "echo", "1.0.0")}
    second = await registry.catalog.publish(BY_RIVAL, "echo", contract(version="1.1.0"), first.published.revision)
    assert await registry.seen() == (set(), set())
    again = contract(version="1.2.0", visibility="shared")
    await registry.catalog.publish(BY_PLATFORM, "echo", again, second.published.revision)
    assert (await registry.seen())[0] == {("rival", "echo", "1.2.0")}
    await registry.catalog.retire(BY_RIVAL, "echo", None)
    assert await registry.seen() == (set(), set())


async def test_a_name_of_ones_own_hides_a_shared_one_and_breaks_nothing(registry):
    await registry.catalog.register(BY_PLATFORM, contract(visibility="shared"))
    await registry.catalog.register(BY_ACME, contract(name="My own"))
    assert (await registry.seen())[0] == {("acme", "echo", "1.0.0")}
    assert (await registry.seen(RIVAL))[0] == {("rival", "echo", "1.0.0")}
    await registry.catalog.retire(BY_ACME, "echo", None)
    assert (await registry.seen())[0] == {("rival", "echo", "1.0.0")}


async def test_what_a_certificate_names_is_stored_before(registry):
    await registry.catalog.register(BY_ACME, contract())
    await registry.catalog.save_policy(BY_ACME, policy())
    view = await registry.views.current(ACME)
    stored = json.loads(await registry.stores.snapshots.fetch(ACME, view.snapshot.services_hash))
    assert [row[:2] + row[3:] for row in stored] == [["echo", "1.0.0", "acme"]]
    stored = json.loads(await registry.stores.snapshots.fetch(ACME, policies_hash(view.snapshot.rules)))
    assert [row[:2] for row in stored] == [["rule", 1]]
    [inline] = await registry.rules(policy("mine", then="true"))
    both = sorted([*view.snapshot.rules, inline], key=lambda rule: rule.policy.policy_id)
    stored = json.loads(await registry.stores.snapshots.fetch(ACME, policies_hash(both)))
    assert [row[0] for row in stored] == ["mine", "rule"]
    document = json.loads(await registry.stores.snapshots.fetch(ACME, inline.policy.policy_hash))
    assert document == dict(inline.policy.document)


# --- policies of a request -----------------------------------------------------------------------


async def test_policies_are_named_by_id_or_version(registry):
    await registry.catalog.save_policy(BY_ACME, policy(attach="request"))
    for name in ("rule", "rule@1"):
        [rule] = await registry.rules(name)
        assert rule.policy.policy_id == "rule"
    for name in ("rule@2", "nobody", ""):
        with pytest.raises(InvalidInput, match="not usable") as caught:
            await registry.rules("rule", name)
        assert [violation.pointer for violation in caught.value.violations] == ["/policies/1"]
    with pytest.raises(InvalidInput):
        await registry.rules("rule", scope=RIVAL)


async def test_inline_policies_are_compiled_once_within_bounds(registry):
    [rule] = await registry.rules(policy("mine"))
    assert (await registry.rules(dict(reversed(policy("mine").items()))))[0] is rule
    for number in range(INLINE_KEPT):
        registry.views._named(await registry.views.current(ACME), policy(f"p{number}"))
        assert len(registry.views._inline) <= INLINE_KEPT
    assert (await registry.rules(policy("mine")))[0] is not rule


async def test_an_inline_policy_has_a_size(registry):
    size = len(json.dumps(policy(message=""), separators=(",", ":")))
    await registry.rules(policy(message="x" * 500))
    with pytest.raises(InvalidInput) as caught:
        await registry.rules(policy(message="x" * (INLINE_BYTES - size + 1)))
    assert str(INLINE_BYTES) in caught.value.violations[0].message


async def test_every_unusable_policy_is_told(registry):
    with pytest.raises(InvalidInput) as caught:
        await registry.rules("nobody", policy("a", when="1 +"), policy("b"), policy("c", effect="maybe"))
    assert {violation.pointer for violation in caught.value.violations} == {
        "/policies/0",
        "/policies/1/when",
        "/policies/3/effect",
    }
    assert caught.value.code == "invalid_policy"


async def test_an_inline_policy_does_not_take_an_attached_ones_name(registry):
    await registry.catalog.save_policy(BY_ACME, policy(then="true"))
    assert await registry.rules(policy(then="true"))
    with pytest.raises(InvalidInput) as caught:
        await registry.rules(policy(then="false"))
    assert "rule@1" in caught.value.violations[0].message


# --- the catalog ---------------------------------------------------------------------------------


async def test_a_policy_that_does_not_compile_is_refused_with_its_place(registry):
    source = 'id: odd\nversion: 1\npriority: 1\neffect: forbid\nwhen: "true"\nthen: service.prise > 1\nmessage: ""\n'
    with pytest.raises(InvalidInput) as caught:
        await registry.catalog.save_policy(BY_ACME, source)
    [violation] = caught.value.violations
    assert (violation.pointer, violation.line) == ("/then", 6)
    assert "line 1, column" in violation.message
    assert (await registry.seen())[1] == set()
    assert (await registry.catalog.policies.page(ACME, after="", limit=9, tag=None, retired=True)).items == ()


async def test_a_document_for_another_name_is_refused(registry):
    first = await registry.catalog.register(BY_ACME, contract())
    with pytest.raises(InvalidInput) as caught:
        await registry.catalog.publish(BY_ACME, "echo", contract("other", "2.0.0"), first.published.revision)
    assert (caught.value.code, caught.value.violations[0].pointer) == ("name_mismatch", "/service_id")
    saved = await registry.catalog.save_policy(BY_ACME, policy())
    with pytest.raises(InvalidInput) as caught:
        await registry.catalog.publish_policy(BY_ACME, "rule", policy("other", 2), saved.published.revision)
    assert (caught.value.code, caught.value.violations[0].pointer) == ("name_mismatch", "/id")


# --- histories -----------------------------------------------------------------------------------

GOOD = Attempt("echo", "1.0.0", True, 100, False, ())
FAILED = replace(GOOD, succeeded=False, latency_ms=5_000)
BROKE = replace(GOOD, breached=("latency_ms.max",))
STREAM = replace(GOOD, streamed=True, latency_ms=3)


class Shelf:
    """Remembers what was stored; slow, so that others can get in between."""

    def __init__(self):
        self.stored = []

    async def keep(self, scope, digest, body):
        await asyncio.sleep(0)
        self.stored.append((scope.tenant_id, digest, bytes(body)))

    async def fetch(self, scope, digest):
        return next(body for tenant_id, known, body in self.stored if (tenant_id, known) == (scope.tenant_id, digest))


async def test_a_history_is_taken_at_most_every_ten_seconds(registry):
    histories = registry.histories
    empty = await histories.current(ACME, NOW)
    histories.observe("acme", GOOD, NOW)
    assert await histories.current(ACME, NOW + INTERVAL - 1) is empty
    taken = await histories.current(ACME, NOW + INTERVAL)
    assert taken.document() == {"echo": [1, 1, start_of(bucket_of(100))]}
    assert (await histories.current(RIVAL, NOW + INTERVAL)).document() == {}


async def test_a_history_that_did_not_change_is_the_same_and_stored_once():
    shelf = Shelf()
    histories = Histories(shelf)
    histories.observe("acme", GOOD, NOW)
    first = await histories.current(ACME, NOW)
    assert await histories.current(ACME, NOW + INTERVAL) is first
    assert len(shelf.stored) == 1


async def test_a_history_is_taken_once_however_many_ask():
    shelf = Shelf()
    histories = Histories(shelf)
    histories.observe("acme", GOOD, NOW)
    taken = await asyncio.gather(*(histories.current(ACME, NOW) for _ in range(50)))
    assert len(shelf.stored) == 1
    assert {id(each) for each in taken} == {id(taken[0])}


async def test_while_a_history_is_taken_decisions_have_the_one_before():
    shelf = Shelf()
    histories = Histories(shelf)
    before = await histories.current(ACME, NOW)
    histories.observe("acme", GOOD, NOW)
    taken = await asyncio.gather(*(histories.current(ACME, NOW + INTERVAL) for _ in range(9)))
    assert [each is before for each in taken] == [False] + [True] * 8
    assert len(shelf.stored) == 2


async def test_a_caller_who_goes_away_takes_nothing_from_the_history():
    histories = Histories(Shelf())
    names = [f"s{number:04}" for number in range(1_200)]
    for name in names:
        histories.observe("acme", replace(GOOD, service_id=name), NOW)
    taking = asyncio.create_task(histories.current(ACME, NOW))
    await asyncio.sleep(0)
    taking.cancel()
    await asyncio.wait({taking})
    assert taking.cancelled()
    assert sorted((await histories.current(ACME, NOW)).tracks) == names


async def test_a_history_is_stored_before_it_is_used(registry):
    histories = registry.histories
    for number in range(3):
        taken = await histories.current(ACME, NOW + number * INTERVAL)
        stored = json.loads(await registry.stores.snapshots.fetch(ACME, taken.digest))
        assert History.from_document(stored).document() == taken.document()
        assert taken.digest == digest_of(HISTORY, stored)
        histories.observe("acme", GOOD, NOW + number * INTERVAL)


async def test_a_history_that_could_not_be_stored_is_not_used(registry):
    class Broken:
        async def keep(self, scope, digest, body):
            raise OSError("disk full")

    histories = Histories(Broken())  # type: ignore[arg-type]
    for _ in range(2):
        with pytest.raises(OSError, match="disk full"):
            await histories.current(ACME, NOW)


async def test_what_counts_as_a_success_and_whose_latency(registry):
    for attempt in (GOOD, FAILED, replace(BROKE, latency_ms=10), STREAM, replace(STREAM, service_id="b")):
        registry.histories.observe("acme", attempt, NOW)
    # Five thousand milliseconds until a failure and three until a first token are no time to an answer.
    row = [4, 2, start_of(bucket_of(100))]
    assert (await registry.histories.current(ACME, NOW)).document() == {"echo": row, "b": [1, 1, 0]}


async def test_the_window_is_the_last_hour(registry):
    histories, began = registry.histories, NOW // SLICE * SLICE
    histories.observe("acme", GOOD, began + SLICE - 1)
    histories.observe("acme", GOOD, began + SLICE)
    for late, calls in ((WINDOW, 2), (WINDOW + SLICE - 1, 2), (WINDOW + SLICE, 1), (WINDOW + 2 * SLICE - 1, 1)):
        taken = await histories.current(ACME, began + late)
        histories._current.clear()  # it would be kept for ten seconds
        assert taken.tracks["echo"].calls == calls
    assert (await histories.current(ACME, began + WINDOW + 2 * SLICE)).document() == {}


async def test_a_clock_set_back_loses_nothing(registry):
    registry.histories.observe("acme", GOOD, NOW)
    registry.histories.observe("acme", GOOD, NOW - 2 * SLICE)
    assert (await registry.histories.current(ACME, NOW)).tracks["echo"].calls == 2


async def test_a_snapshot_is_a_recount():
    """Hours of traffic, against counting all attempts of the window again at each snapshot."""
    rng, shelf, log = Random(7), Shelf(), []
    histories, now = Histories(shelf), NOW
    for _ in range(150):
        now += rng.choice((1, INTERVAL, SLICE // 3, SLICE, WINDOW // 3))
        for _ in range(rng.randrange(6)):
            kind = rng.choice((GOOD, GOOD, FAILED, BROKE, STREAM))
            attempt = replace(kind, service_id=rng.choice("abc"), latency_ms=rng.randrange(3_000))
            histories.observe("acme", attempt, now)
            log.append((now, attempt))
        histories._current.clear()
        taken = await histories.current(ACME, now)
        assert taken.document() == recounted([each for at, each in log if at >= since(now)])
        assert shelf.stored[-1] == ("acme", digest_of(HISTORY, taken.document()), canonical_json(taken.document()))
        assert shelf.stored[-1][1] == taken.digest


def recounted(attempts):
    rows = {}
    for name in {each.service_id for each in attempts}:
        own = [each for each in attempts if each.service_id == name]
        whole = sorted(each.latency_ms for each in own if each.succeeded and not each.streamed)
        p95 = start_of(bucket_of(whole[-(-95 * len(whole) // 100) - 1])) if whole else 0
        rows[name] = [len(own), sum(each.succeeded and not each.breached for each in own), p95]
    return rows


async def test_a_restart_changes_nothing(registry):
    rng, log = Random(11), []
    for number in range(200):
        attempt = replace(rng.choice((GOOD, FAILED, BROKE, STREAM)), latency_ms=rng.randrange(900))
        log.append((NOW + number * WINDOW // 100, attempt))
        registry.histories.observe("acme", attempt, log[-1][0])
    now = log[-1][0]
    before = await registry.histories.current(ACME, now)
    restarted = Histories(registry.stores.snapshots)
    for at, attempt in log:
        if at >= since(now):
            restarted.observe("acme", attempt, at)
    assert (await restarted.current(ACME, now)).digest == before.digest
    assert before.tracks["echo"].calls < 200


async def test_idle_tenants_are_forgotten(registry):
    histories = registry.histories
    histories.observe("rival", GOOD, NOW)
    await histories.current(RIVAL, NOW)
    await histories.current(ACME, NOW + WINDOW - 1)
    assert "rival" in histories._observed
    await histories.current(ACME, NOW + 2 * WINDOW)
    assert "rival" not in histories._observed
    assert "rival" not in histories._current
    assert (await histories.current(RIVAL, NOW + 2 * WINDOW)).document() == {}


@pytest.mark.parametrize(("calls", "p95"), [(1, 1), (19, 19), (20, 19)])
async def test_the_95th_percentile_is_the_nearest_rank(registry, calls, p95):
    for latency in range(calls, 0, -1):
        registry.histories.observe("acme", replace(GOOD, latency_ms=latency), NOW)
    assert (await registry.histories.current(ACME, NOW)).tracks["echo"] == Track(calls, calls, p95)


async def test_changes_without_a_pause_do_not_keep_a_tenant_waiting(registry):
    policies = registry.stores.policies

    class Changing:
        def __getattr__(self, name):
            return getattr(policies, name)

        async def active(self, scope):
            registry.views.changed(RIVAL, shared=True)
            return await policies.active(scope)

    await registry.catalog.register(BY_ACME, contract())
    registry.views._policies = Changing()
    view = await asyncio.wait_for(registry.views.current(ACME), 10)
    assert [offer.service_id for offer in view.snapshot.offers] == ["echo"]
    assert registry.views._views == {}
    registry.views._policies = policies
    assert await registry.views.current(ACME) is await registry.views.current(ACME)


async def test_a_request_brings_few_policies_and_none_that_outranks_saved_ones(registry):
    inline = {"id": "mine", "version": 1, "effect": "prefer", "then": "true"}
    assert len(await registry.rules(*({**inline, "id": f"mine-{number}"} for number in range(8)))) == 8
    with pytest.raises(InvalidInput) as caught:
        await registry.rules(*({**inline, "id": f"mine-{number}"} for number in range(9)))
    assert [(each.pointer, each.message) for each in caught.value.violations] == [
        ("/policies", "a request may bring 8 policies of its own")
    ]
    with pytest.raises(InvalidInput) as caught:
        await registry.rules({**inline, "weights": {"cost": 1}, "on_violation": "report", "priority": 1000})
    assert [each.pointer for each in caught.value.violations] == ["/policies/0/weights", "/policies/0/on_violation"]


async def test_what_is_not_recorded_is_not_stored(registry):
    view, stored = await registry.views.current(ACME), []

    class Noting:
        async def keep(self, scope, digest, body):
            stored.append(digest)

    registry.views._snapshots = Noting()
    inline = {"id": "mine", "version": 1, "effect": "prefer", "then": "true"}
    (rule,) = await registry.views.rules(ACME, view, [inline], keep=False)
    assert not stored
    await registry.views.rules(ACME, view, [inline])
    assert stored[0] == rule.policy.policy_hash
    assert len(stored) == 2


async def test_views_of_tenants_not_heard_of_are_forgotten(registry, monkeypatch):
    monkeypatch.setattr("caio.registry.views.TENANTS_KEPT", 1)
    first = await registry.views.current(ACME)
    await registry.views.current(RIVAL)
    assert list(registry.views._last) == list(registry.views._views) == ["rival"]
    again = await registry.views.current(ACME)
    assert again is not first
    assert again.snapshot.services_hash == first.snapshot.services_hash


async def test_what_views_take_is_bounded_over_all_tenants(registry, monkeypatch):
    """Who called longest ago gives up what is kept of its requests first, and its view when that is not enough."""
    await registry.catalog.register(BY_ACME, contract())
    await registry.catalog.register(BY_RIVAL, contract())
    acme, rival = [(await registry.views.current(scope)).snapshot for scope in (ACME, RIVAL)]
    empty = acme.weight
    for snapshot in (acme, rival):
        for number in range(10):
            snapshot.shape(number, object)
    full = acme.weight
    monkeypatch.setattr("caio.registry.views.CALLS_BETWEEN_LOOKS", 1)
    monkeypatch.setattr("caio.registry.views.BYTES_KEPT", 2 * full)
    await registry.views.current(RIVAL)
    assert (acme.weight, rival.weight) == (full, full)
    monkeypatch.setattr("caio.registry.views.BYTES_KEPT", full + empty)
    await registry.views.current(RIVAL)
    assert (acme.weight, rival.weight) == (empty, full)
    assert list(registry.views._last) == list(registry.views._views) == ["acme", "rival"]
    monkeypatch.setattr("caio.registry.views.BYTES_KEPT", full)
    await registry.views.current(RIVAL)
    assert list(registry.views._last) == list(registry.views._views) == ["rival"]
    assert rival.weight == full


async def test_a_clock_set_back_does_not_stop_histories(registry):
    histories = registry.histories
    first = await histories.current(ACME, NOW)
    for _ in range(30):
        histories.observe("acme", GOOD, NOW - 3_600_000_000)
    assert await histories.current(ACME, NOW - 1_800_000_000) != first


# --- advice -------------------------------------------------------------------------------------


async def test_a_tenant_has_one_analysis_at_a_time(registry, monkeypatch):
    begun, begin, running = [], threading.Semaphore(0), set()

    def analyse(rule, rules, offers, old):
        running.add(rule.policy.policy_id)
        begun.append(set(running))
        begin.acquire(timeout=5)
        running.discard(rule.policy.policy_id)
        return ()

    monkeypatch.setattr("caio.registry.advice.analyse", analyse)
    advisor = Advisor(registry.views)
    rules = [compiled(policy(f"rule-{number}"))[1] for number in range(3)]
    tasks = [asyncio.create_task(advisor.of_policy(ACME, rule)) for rule in rules]
    rival = asyncio.create_task(advisor.of_policy(RIVAL, compiled(policy("rival"))[1]))
    while len(begun) < 2:
        await asyncio.sleep(0.005)
    tasks[0].cancel()  # its thread goes on, and keeps the turn
    await asyncio.sleep(0.02)
    assert sorted(begun[-1]) == ["rival", "rule-0"]
    begin.release(4)
    assert await asyncio.gather(*tasks[1:], rival) == [(), (), ()]
    assert not any(len(each - {"rival"}) > 1 for each in begun)
    del tasks, rival
    await asyncio.sleep(0)
    gc.collect()
    assert not advisor._turns


async def test_a_contract_is_not_compared_with_another_tenants(registry):
    await registry.catalog.register(BY_PLATFORM, contract(visibility="shared"))
    await registry.catalog.save_policy(BY_ACME, policy(then='service.privacy.data_locality == "on_device"'))
    assert await registry.seen() == ({("rival", "echo", "1.0.0")}, {"rule"})
    moved = parse_contract(contract(version="2.0.0", privacy={"data_locality": "cloud"})).value
    assert await Advisor(registry.views).of_contract(ACME, moved) == ()
    await registry.catalog.register(BY_ACME, contract())
    (finding,) = await Advisor(registry.views).of_contract(ACME, moved)
    assert finding.code == "newly_permits"
