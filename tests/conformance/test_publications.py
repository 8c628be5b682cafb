"""What every store of contracts, policies and input snapshots does."""

import asyncio
from typing import Any

import pytest

from caio.foundation.canonical import NotCanonical
from caio.foundation.errors import Conflict, NotFound, PreconditionFailed
from caio.foundation.scope import TenantScope
from caio.registry.ports import Publication, PublicationStatus, Standing
from tests.support.acts import act_leaf


def publication(name="summarizer", version="1.0.0", **changes):
    fields: dict[str, Any] = {
        "digest": f"digest of {name} {version}",
        "document": {"id": name, "version": version, "π": ["√2", 1.5, None, True, {"deep": "\u0000"}]},
        "published_at": 1_700_000_000_000_000,
    }
    return Publication(name, version, **fields | changes)


async def refused(call):
    """The code of the Conflict that ``call`` raises."""
    with pytest.raises(Conflict) as caught:
        await call
    return caught.value.code


async def names(page):
    return [item.publication.name for item in (await page).items]


async def test_a_publication_reads_back_as_it_was(stores, acme):
    original = publication(tags=("zeta", "alpha"), shared=True)
    published = await stores.contracts.publish_first(acme, original, 10, act_leaf(acme))
    assert (published.publication, published.status, published.revision) == (original, PublicationStatus.ACTIVE, 1)
    assert published == await stores.contracts.get(acme, "summarizer")
    assert published == await stores.contracts.get(acme, "summarizer", "1.0.0")
    assert [published] == list(await stores.contracts.active(acme))
    assert [Standing(acme.tenant_id, "summarizer", original.digest)] == list(await stores.contracts.standing(acme))


async def test_what_stands_is_what_is_active(stores, acme, rival):
    """Newest versions only, not the retired, one's own and what others share."""
    await stores.contracts.publish_first(acme, publication(name="own"), 10, act_leaf(acme))
    await stores.contracts.publish_next(
        acme, publication(name="own", version="2.0.0", digest="2" * 64), 1, act_leaf(acme)
    )
    await stores.contracts.publish_first(acme, publication(name="gone", digest="3" * 64), 10, act_leaf(acme))
    await stores.contracts.retire(acme, "gone", None, 5, act_leaf(acme))
    await stores.contracts.publish_first(
        rival, publication(name="shared", digest="4" * 64, shared=True), 10, act_leaf(rival)
    )
    await stores.contracts.publish_first(rival, publication(name="private", digest="5" * 64), 10, act_leaf(rival))
    active = [
        (each.tenant_id, each.publication.name, each.publication.digest) for each in await stores.contracts.active(acme)
    ]
    standing = [(each.tenant_id, each.name, each.digest) for each in await stores.contracts.standing(acme)]
    assert standing == active == [("acme", "own", "2" * 64), ("rival", "shared", "4" * 64)]


async def test_a_known_name_is_refused_also_when_retired(stores, acme):
    await stores.contracts.publish_first(acme, publication(), 10, act_leaf(acme))
    other = publication(version="9.9.9")
    assert await refused(stores.contracts.publish_first(acme, other, 10, act_leaf(acme))) == "already_exists"
    await stores.contracts.retire(acme, "summarizer", None, 5, act_leaf(acme))
    assert await refused(stores.contracts.publish_first(acme, other, 10, act_leaf(acme))) == "already_exists"
    with pytest.raises(NotFound):
        await stores.contracts.get(acme, "summarizer", "9.9.9")


async def test_an_unknown_tenant_publishes_nothing(stores):
    with pytest.raises(NotFound):
        await stores.contracts.publish_first(TenantScope("nobody"), publication(), 10, act_leaf(TenantScope("nobody")))


async def test_the_next_version_supersedes(stores, acme):
    await stores.contracts.publish_first(acme, publication(), 10, act_leaf(acme))
    second = await stores.contracts.publish_next(acme, publication(version="1.1.0"), 1, act_leaf(acme))
    assert (second.status, second.revision) == (PublicationStatus.ACTIVE, 2)
    assert await stores.contracts.get(acme, "summarizer") == second
    first = await stores.contracts.get(acme, "summarizer", "1.0.0")
    assert (first.status, first.revision) == (PublicationStatus.SUPERSEDED, 2)
    assert list(await stores.contracts.active(acme)) == [second]


async def test_a_next_version_needs_a_name_its_revision_and_a_new_number(stores, acme):
    with pytest.raises(NotFound):
        await stores.contracts.publish_next(acme, publication(), 1, act_leaf(acme))
    first = await stores.contracts.publish_first(acme, publication(), 10, act_leaf(acme))
    with pytest.raises(PreconditionFailed):
        await stores.contracts.publish_next(acme, publication(version="2.0.0"), 2, act_leaf(acme))
    changed = publication(document={"other": "text"})
    assert await refused(stores.contracts.publish_next(acme, changed, 1, act_leaf(acme))) == "version_exists"
    assert await stores.contracts.get(acme, "summarizer") == first


async def test_retiring_keeps_the_versions_readable(stores, acme):
    await stores.contracts.publish_first(acme, publication(), 10, act_leaf(acme))
    await stores.contracts.publish_next(acme, publication(version="1.1.0"), 1, act_leaf(acme))
    with pytest.raises(PreconditionFailed):
        await stores.contracts.retire(acme, "summarizer", 1, 7, act_leaf(acme))
    retired = await stores.contracts.retire(acme, "summarizer", 2, 7, act_leaf(acme))
    assert (retired.status, retired.revision, retired.publication.version) == (PublicationStatus.RETIRED, 3, "1.1.0")
    assert await stores.contracts.get(acme, "summarizer") == retired
    assert (await stores.contracts.get(acme, "summarizer", "1.0.0")).status is PublicationStatus.SUPERSEDED
    assert not await stores.contracts.active(acme)


async def test_retiring_again_changes_nothing(stores, acme):
    await stores.contracts.publish_first(acme, publication(), 10, act_leaf(acme))
    retired = await stores.contracts.retire(acme, "summarizer", 1, 7, act_leaf(acme))
    assert await stores.contracts.retire(acme, "summarizer", 1, 8, act_leaf(acme)) == retired
    assert await stores.contracts.retire(acme, "summarizer", None, 9, act_leaf(acme)) == retired
    with pytest.raises(NotFound):
        await stores.contracts.retire(acme, "unknown", None, 7, act_leaf(acme))


async def test_a_retired_name_takes_no_further_version(stores, acme):
    await stores.contracts.publish_first(acme, publication(), 1, act_leaf(acme))
    await stores.contracts.retire(acme, "summarizer", None, 7, act_leaf(acme))
    await stores.contracts.publish_first(acme, publication("other"), 1, act_leaf(acme))  # the quota's only place
    assert (
        await refused(stores.contracts.publish_next(acme, publication(version="2.0.0"), 2, act_leaf(acme))) == "retired"
    )
    assert len(await stores.contracts.active(acme)) == 1


async def test_quota_is_exact_under_races(stores_of_two_processes, acme):
    calls = [
        stores.contracts.publish_first(acme, publication(f"service-{number}"), 3, act_leaf(acme))
        for number, stores in enumerate(stores_of_two_processes * 5)
    ]
    results = await asyncio.gather(*calls, return_exceptions=True)
    refusals = [result for result in results if isinstance(result, Conflict)]
    assert [refusal.code for refusal in refusals] == ["quota_exceeded"] * 7
    assert len(await stores_of_two_processes[0].contracts.active(acme)) == 3


async def test_of_one_name_the_first_publication_wins_the_race(stores_of_two_processes, acme):
    calls = [
        stores.contracts.publish_first(acme, publication(), 10, act_leaf(acme))
        for stores in stores_of_two_processes * 3
    ]
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert sorted(getattr(result, "code", "published") for result in results) == ["already_exists"] * 5 + ["published"]


async def test_revision_changes_once_per_change(stores_of_two_processes, acme):
    await stores_of_two_processes[0].contracts.publish_first(acme, publication(), 10, act_leaf(acme))
    calls = [
        stores.contracts.publish_next(acme, publication(version=f"2.0.{number}"), 1, act_leaf(acme))
        for number, stores in enumerate(stores_of_two_processes * 3)
    ]
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert sum(isinstance(result, PreconditionFailed) for result in results) == 5
    assert (await stores_of_two_processes[0].contracts.get(acme, "summarizer")).revision == 2


async def test_pages_are_in_the_order_of_bytes(stores, acme, rival):
    everything = ["a", "a-b", "a0", "a_b", "ab", "b", "z-9"]  # most locales order these otherwise
    for name in reversed(everything):
        await stores.contracts.publish_first(acme, publication(name), 100, act_leaf(acme))
    await stores.contracts.publish_first(rival, publication("a1", shared=True), 100, act_leaf(rival))
    found, after = [], ""
    while True:
        page = await stores.contracts.page(acme, after=after, limit=3, tag=None, retired=False)
        found += [item.publication.name for item in page.items]
        if page.next_after is None:
            break
        assert len(page.items) == 3
        after = page.next_after
    assert found == everything
    assert (await stores.contracts.page(acme, after="b", limit=1, tag=None, retired=False)).next_after is None


async def test_a_page_filters_by_the_newest_versions_tags_and_by_retirement(stores, acme):
    await stores.contracts.publish_first(acme, publication("one", tags=("fast", "local")), 10, act_leaf(acme))
    await stores.contracts.publish_first(acme, publication("two", tags=("local",)), 10, act_leaf(acme))
    await stores.contracts.publish_next(acme, publication("one", "2.0.0", tags=("local", "slow")), 1, act_leaf(acme))

    def tagged(tag, retired=False):
        return names(stores.contracts.page(acme, after="", limit=10, tag=tag, retired=retired))

    assert await tagged("local") == ["one", "two"]
    assert await tagged("slow") == ["one"]
    assert await tagged("fast") == []
    assert await tagged("loca%") == []
    await stores.contracts.retire(acme, "two", None, 7, act_leaf(acme))
    assert await tagged("local") == ["one"]
    assert await tagged("local", retired=True) == await tagged(None, retired=True) == ["one", "two"]


async def test_names_in_service_are_counted_over_all_tenants(stores, acme, rival):
    assert await stores.contracts.in_service() == 0
    for scope in (acme, rival):
        for name in ("one", "two"):
            await stores.contracts.publish_first(scope, publication(name=name), 10, act_leaf(scope))
    await stores.policies.publish_first(acme, publication(name="policy"), 10, act_leaf(acme))
    await stores.contracts.publish_next(acme, publication(name="one", version="2.0.0"), 1, act_leaf(acme))
    await stores.contracts.retire(rival, "two", None, 5, act_leaf(rival))
    assert await stores.contracts.in_service() == 3


async def test_contracts_and_policies_are_apart(stores, acme):
    await stores.contracts.publish_first(acme, publication("same"), 1, act_leaf(acme))
    await stores.policies.publish_first(acme, publication("same", "3.0.0", tags=("only-policy",)), 1, act_leaf(acme))
    assert (await stores.contracts.get(acme, "same")).publication.version == "1.0.0"
    assert [item.publication.version for item in await stores.policies.active(acme)] == ["3.0.0"]
    assert not await names(stores.contracts.page(acme, after="", limit=9, tag="only-policy", retired=True))
    assert not await stores.contracts.by_digest(acme, ["digest of same 3.0.0"])


async def test_other_tenants_see_only_what_is_shared(stores, acme, rival):
    await stores.contracts.publish_first(acme, publication("private"), 10, act_leaf(acme))
    await stores.contracts.publish_first(acme, publication("public", shared=True), 10, act_leaf(acme))
    visible = await stores.contracts.active(rival)
    assert [(item.tenant_id, item.publication.name) for item in visible] == [("acme", "public")]
    digests = ["digest of private 1.0.0", "digest of public 1.0.0"]
    assert set(await stores.contracts.by_digest(rival, digests)) == {"digest of public 1.0.0"}
    assert set(await stores.contracts.by_digest(acme, digests)) == set(digests)

    assert not await names(stores.contracts.page(rival, after="", limit=10, tag=None, retired=True))
    for name in ("private", "public"):
        for call in (
            stores.contracts.get(rival, name),
            stores.contracts.get(rival, name, "1.0.0"),
            stores.contracts.retire(rival, name, None, 7, act_leaf(rival)),
            stores.contracts.publish_next(rival, publication(name, "2.0.0"), 1, act_leaf(rival)),
        ):
            with pytest.raises(NotFound):
                await call
    assert len(await stores.contracts.active(acme)) == 2


async def test_what_is_no_longer_shared_is_no_longer_seen_but_stays_evidence(stores, acme, rival):
    await stores.contracts.publish_first(acme, publication(shared=True), 10, act_leaf(acme))
    await stores.contracts.publish_next(acme, publication(version="2.0.0", shared=False), 1, act_leaf(acme))
    assert not await stores.contracts.active(rival)
    found = await stores.contracts.by_digest(rival, ["digest of summarizer 1.0.0", "digest of summarizer 2.0.0"])
    assert [(digest, item.status) for digest, item in found.items()] == [
        ("digest of summarizer 1.0.0", PublicationStatus.SUPERSEDED)
    ]


async def test_by_digest_finds_every_status_and_ones_own_first(stores, acme, rival):
    for scope in (acme, rival):
        await stores.contracts.publish_first(scope, publication(shared=True), 10, act_leaf(scope))
    await stores.contracts.publish_next(rival, publication(version="2.0.0"), 1, act_leaf(rival))
    await stores.contracts.retire(rival, "summarizer", None, 7, act_leaf(rival))
    many = [f"unknown {number}" for number in range(1_200)]
    for scope, status in ((acme, PublicationStatus.ACTIVE), (rival, PublicationStatus.SUPERSEDED)):
        found = await stores.contracts.by_digest(scope, [*many, "digest of summarizer 1.0.0"])
        assert [(item.tenant_id, item.status) for item in found.values()] == [(scope.tenant_id, status)]
    (retired,) = (await stores.contracts.by_digest(rival, ["digest of summarizer 2.0.0"])).values()
    assert retired.status is PublicationStatus.RETIRED
    assert await stores.contracts.by_digest(acme, []) == {}


async def test_a_failed_publication_writes_nothing(stores, acme):
    broken = publication(document={"not a number": float("nan")})
    with pytest.raises(NotCanonical):
        await stores.contracts.publish_first(acme, broken, 10, act_leaf(acme))
    assert not await names(stores.contracts.page(acme, after="", limit=10, tag=None, retired=True))
    await stores.contracts.publish_first(acme, publication(), 10, act_leaf(acme))
    with pytest.raises(NotCanonical):
        await stores.contracts.publish_next(
            acme, publication(version="2.0.0", document=broken.document), 1, act_leaf(acme)
        )
    assert (await stores.contracts.get(acme, "summarizer")).revision == 1


async def test_snapshots_are_kept_once_and_per_tenant(stores, acme, rival):
    body = bytes(range(256))
    await asyncio.gather(*(stores.snapshots.keep(acme, "d1", body) for _ in range(4)))
    await stores.snapshots.keep(acme, "d1", b"other")
    assert await stores.snapshots.fetch(acme, "d1") == body
    for scope, digest in ((rival, "d1"), (acme, "d2")):
        with pytest.raises(NotFound):
            await stores.snapshots.fetch(scope, digest)
