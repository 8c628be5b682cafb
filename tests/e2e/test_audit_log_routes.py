"""The tenant's log over HTTP: checkpoint, tiles, proofs and the export, and what none of them gives out."""

from __future__ import annotations

import asyncio
import json
import tracemalloc

import msgspec
import pytest

from caio.audit.acts import Act
from caio.audit.checkpoint import read_checkpoint
from caio.audit.export import Shown, is_closing, read_closing, read_line
from caio.audit.log_tree import Tiling
from caio.audit.log_verify import Elsewhere, Export, verify_log
from caio.audit.merkle import Frontier, leaf_hash, verify_consistency, verify_inclusion
from caio.audit.tiles import read_entry_bundle
from caio.foundation.scope import PlatformScope
from caio.registry.audit_export import PAGE
from caio.tenancy.authentication import embedded_scope

CHECKPOINT = "/api/v1/audit/checkpoint"


@pytest.fixture
async def called(caio):
    """A served CAIO with a few decisions, one of them refused."""
    await caio.register("first")
    for _ in range(3):
        assert (await caio.orchestrate())[0] == 200
    assert (await caio.orchestrate(capability="text.unknown"))[0] == 422
    return caio


async def text(caio, path, status=200):
    async with caio.http.get(path) as answer:
        assert answer.status == status, await answer.text()
        return await answer.read()


async def checkpoint(caio, query="?fresh=true"):
    return read_checkpoint(await text(caio, CHECKPOINT + query)).checkpoint


async def export(caio, query=""):
    """The export's entries and its verification by the installation's own key."""
    *lines, last = (await text(caio, f"/api/v1/audit/export{query}")).splitlines(keepends=True)
    manifest, note = read_closing(last)
    trusted = caio.installation.keyring.trusted_keys()
    found = verify_log(Export(manifest.written(), note.encode(), lines), Elsewhere(trusted))
    return [read_line(line) for line in lines], manifest, found


async def test_exports_verify(called):
    lines, manifest, found = await export(called)
    assert found.ok, found
    assert [claim.proved for claim in found.claims] == [True] * 8 + [None] * 3
    assert manifest.count == manifest.size == len(lines)
    kinds = {line.kind for line in lines}
    assert {"decision", "outcome", "publication", "access"} <= kinds
    assert b"Fine." not in b"".join(line.written() for line in lines)


async def test_exports_are_recorded_first(called):
    _, manifest, _ = await export(called, "?kind=decision")
    later, _, _ = await export(called)
    record = json.loads(bytes(later[manifest.size - 1].payload))
    assert (record["action"], record["details"]) == ("audit.exported", {"from": 0, "filter": {"kind": ["decision"]}})
    assert record["principal"].startswith("key_")


async def test_what_is_not_asked_for_is_withheld(called):
    lines, manifest, found = await export(called, "?kind=outcome&kind=access")
    assert found.ok
    assert {line.kind for line in lines} == {None, "outcome", "access"}
    assert manifest.withheld == sum(line.is_withheld for line in lines) > 0
    middle = sorted(line.recorded_at for line in lines if line.recorded_at)[1]
    for query, inside in ((f"since={middle}", middle.__le__), (f"until={middle}", middle.__gt__)):
        shown, stated, found = await export(called, f"?{query}")
        assert found.ok
        assert {line.recorded_at is None or inside(line.recorded_at) for line in shown} == {True}
        assert 0 < stated.withheld < stated.count


async def test_what_is_looked_up_is_disclosed(called):
    await called.register("second", path="/broken")
    everything, _, _ = await export(called)

    def disclosed(lines):
        return {(line.kind, line.subject) for line in lines if line.is_disclosed}

    decisions = {line.subject: json.loads(bytes(line.payload)) for line in everything if line.kind == "decision"}
    refused = {("decision", name) for name, record in decisions.items() if not record["admitted"]}
    first = {
        (kind, name) for name, record in decisions.items() if record["admitted"] for kind in ("decision", "outcome")
    }
    assert len(refused) == 1
    assert len(first) == 6
    for query, expected in {
        "service=first": first,
        "outcome=refused": refused,
        "capability=text.unknown": refused,
        "outcome=ok&kind=outcome": {each for each in first if each[0] == "outcome"},
        "service=nobody": set(),
    }.items():
        lines, manifest, found = await export(called, f"?{query}")
        assert found.ok, found
        assert disclosed(lines) == expected
        assert manifest.withheld == manifest.count - len(expected)
    principal = next(iter(decisions.values()))["principal"]
    lines, manifest, _ = await export(called, f"?principal={principal}")
    assert disclosed(lines) >= first | refused
    assert {
        json.loads(bytes(line.payload))["principal"] for line in lines if line.is_disclosed and line.kind != "outcome"
    } == {principal}
    assert manifest.filter == {"principal": principal}
    for wrong in ("outcome=weather", "service=", "principal=" + "x" * 300):
        assert (await called.get(f"/api/v1/audit/export?{wrong}"))[0] == 422


async def test_an_export_from_a_place_within_the_log(called):
    size = (await checkpoint(called)).size
    for start in (1, 5, size):
        lines, manifest, found = await export(called, f"?from={start}")
        assert found.ok
        assert {claim.name: claim.proved for claim in found.claims}["tree"]
        assert (lines[0].seq, manifest.start) == (start, start)
    assert (await called.get("/api/v1/audit/export?from=100000"))[0] == 422


async def test_a_changed_entry_is_exported_as_unreadable(called):
    from sqlalchemy import text as sql

    async with called.installation.database.writing(PlatformScope("test")) as connection:
        await connection.execute(sql("UPDATE journal SET sealed = zeroblob(100) WHERE seq = 3"))
    lines, manifest, found = await export(called)
    assert manifest.unreadable == 1
    assert [claim.name for claim in found.claims if claim.proved is False] == ["commitments"]
    assert lines[3].unreadable


async def test_tiles_are_those_of_the_entries(called):
    lines, _, _ = await export(called)
    tiling = Tiling()
    files = dict(tiling.grow([bytes.fromhex(line.commitment) for line in lines]))
    files |= dict(tiling.partial())
    assert len(files) == 2
    for name, content in files.items():
        async with called.http.get(f"/api/v1/audit/{name}") as answer:
            assert await answer.read() == content
            assert answer.headers["content-type"] == "application/octet-stream"
            assert answer.headers["cache-control"] == "private, max-age=31536000, immutable"
    entries = read_entry_bundle(await text(called, "/api/v1/audit/tile/entries/000.p/2"))
    assert [each.hex() for each in entries] == [line.commitment for line in lines[:2]]
    for missing in ("0/000", "0/000.p/255", "1/000.p/1", "0/001", "entries/000", "63/999"):
        assert (await called.get(f"/api/v1/audit/tile/{missing}"))[0] == 404
    for odd in ("0/0", "0/000.p/0", "0/000.p/256", "00/000.p/1", "64/000", "x/000", "0/000.p/1/", "0/x000/000"):
        assert (await called.get(f"/api/v1/audit/tile/{odd}"))[0] == 422


async def test_proofs_verify_against_checkpoints(called):
    old = await checkpoint(called)
    lines, _, _ = await export(called)
    new = await checkpoint(called)
    _, proof = await called.get(f"/api/v1/audit/proofs/consistency?old={old.size}&new={new.size}")
    hashes = [bytes.fromhex(each) for each in proof["proof"]]
    assert verify_consistency(old.size, old.root, new.size, new.root, hashes)
    leaf = leaf_hash(bytes.fromhex(lines[2].commitment))
    _, proof = await called.get("/api/v1/audit/proofs/inclusion?seq=2")
    under = read_checkpoint(proof["checkpoint"]).checkpoint
    hashes = [bytes.fromhex(each) for each in proof["proof"]]
    assert verify_inclusion(leaf, 2, under.size, hashes, under.root)
    _, proof = await called.get("/api/v1/audit/proofs/inclusion?seq=2&size=5")
    root = Frontier.of([leaf_hash(bytes.fromhex(line.commitment)) for line in lines[:5]]).root()
    assert verify_inclusion(leaf, 2, 5, [bytes.fromhex(each) for each in proof["proof"]], root)
    assert proof["checkpoint"] is None
    for query, status in {
        "inclusion?seq=100000": 404,
        "inclusion?seq=1&size=100000": 404,
        "inclusion?seq=5&size=5": 422,
        "inclusion?seq=-1": 422,
        "consistency?old=3&new=2": 422,
        "consistency?old=3&new=100000": 404,
    }.items():
        assert (await called.get(f"/api/v1/audit/proofs/{query}"))[0] == status, query


async def test_a_checkpoint_is_taken_on_demand(called):
    before = await checkpoint(called)
    assert (await called.orchestrate())[0] == 200
    after = await checkpoint(called)
    assert after.size >= before.size + 1
    async with called.http.get(CHECKPOINT) as answer:
        assert answer.headers["content-type"].startswith("text/plain")
        assert answer.headers["cache-control"] == "no-store"


async def test_only_auditors_read_the_log(called):
    async def key(role):
        async with called.http.post("/api/v1/keys", json={"name": role, "roles": [role]}) as answer:
            return (await answer.json())["token"]

    paths = ("checkpoint", "tile/0/000.p/1", "proofs/inclusion?seq=0", "proofs/consistency?old=1&new=2", "export")
    for role, status in (("developer", 403), ("user", 403), ("auditor", 200)):
        headers = {"Authorization": f"Bearer {await key(role)}"}
        for path in paths:
            async with called.http.get(f"/api/v1/audit/{path}", headers=headers) as answer:
                assert answer.status == status, (role, path)
                await answer.read()


async def test_a_stream_that_meets_an_error_ends_without_its_last_line(called):
    from sqlalchemy import text as sql

    lines, _, _ = await export(called)
    async with called.installation.database.writing(PlatformScope("test")) as connection:
        await connection.execute(sql("DELETE FROM journal WHERE seq = 4"))
    raw = (await text(called, "/api/v1/audit/export")).splitlines(keepends=True)
    assert not any(is_closing(line) for line in raw)
    assert msgspec.json.decode(lines[0].written())["seq"] == 0


async def test_an_export_that_cannot_be_recorded_gives_nothing_out(called):
    await called.installation.journal.stop()
    status, problem = await called.get("/api/v1/audit/export")
    assert (status, problem["code"]) == (503, "journal_stopped")


async def test_an_export_is_of_one_size(called):
    parts = await called.installation.audit_exports.export(embedded_scope(), "key_1", 0, Shown())
    assert (await called.orchestrate())[0] == 200
    later = await checkpoint(called)
    raw = b"".join([part async for part in parts])
    manifest, note = read_closing(raw.splitlines(keepends=True)[-1])
    assert manifest.size == read_checkpoint(note).checkpoint.size < later.size


async def test_what_is_erased_meanwhile_is_explained(called):
    scope, installation = embedded_scope(), called.installation
    rows = await installation.decisions.page(scope, None, 10)
    first, second = [row.decision_id for row, _ in rows][-2:]

    async def finish(parts):
        *lines, last = b"".join([part async for part in parts]).splitlines(keepends=True)
        if not is_closing(last):
            return None
        manifest, note = read_closing(last)
        trusted = installation.keyring.trusted_keys()
        return manifest, verify_log(Export(manifest.written(), note.encode(), lines), Elsewhere(trusted))

    parts = await installation.audit_exports.export(scope, "key_1", 0, Shown())
    assert (await installation.custody.erase_decisions(scope, "key_1", [first], "case 1")).erased == 1
    manifest, found = await finish(parts)
    assert found.ok, found
    assert manifest.erased == 2

    parts = await installation.audit_exports.export(scope, "key_1", 0, Shown(principal="key_2"))
    assert (await installation.custody.erase_decisions(scope, "key_1", [second], "case 2")).erased == 1
    assert (await finish(parts))[1].ok

    act = Act("audit.read", "key_1", "entries", {})
    await installation.stores.journal.append([await installation.acts.leaf(scope, act) for _ in range(PAGE)])
    parts = await installation.audit_exports.export(scope, "key_1", 0, Shown())
    assert b"salt" in await anext(parts)
    await installation.custody.erase_tenant(scope, "key_1", "over", linger=0)
    assert await finish(parts) is None


async def test_one_export_works_at_a_time(called, monkeypatch):
    scope, installation = embedded_scope(), called.installation
    page, working, most = installation.stores.journal.page, set(), 0

    async def watched(*asked):
        nonlocal most
        working.add(me := object())
        most = max(most, len(working))
        await asyncio.sleep(0.01)
        found = await page(*asked)
        working.remove(me)
        return found

    monkeypatch.setattr(installation.stores.journal, "page", watched)
    slow, *others = [await installation.audit_exports.export(scope, "key_1", 0, Shown()) for _ in range(4)]
    assert await anext(slow)

    async def finish(parts):
        return [part async for part in parts]

    async with asyncio.timeout(10):
        assert all(await asyncio.gather(*map(finish, others)))
    assert most == 1
    assert await finish(slow)


async def test_memory_is_bounded(called):
    """A longer log takes no more: what is held is a page of it."""
    scope, installation = embedded_scope(), called.installation

    async def peak_with(further):
        act = Act("audit.read", "key_1", "entries", {"padding": "x" * 1000})
        leaves = [await installation.acts.leaf(scope, act) for _ in range(further)]
        await installation.stores.journal.append(leaves)
        del leaves
        parts = await installation.audit_exports.export(scope, "key_1", 0, Shown())
        tracemalloc.start()
        length = sum([len(part) async for part in parts])
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return length, peak

    short, first = await peak_with(1100)
    long, second = await peak_with(2200)
    assert long > 2.5 * short
    assert second < 1.3 * first


async def test_an_erased_log_still_verifies(called):
    _, listed = await called.get("/api/v1/decisions")
    first, second = [each["decision_id"] for each in listed["items"] if each["status"] == "ok"][:2]
    wish = {"decision_ids": [first], "reason": "asked for it"}
    async with called.http.post("/api/v1/audit/erasures", json=wish) as answer:
        assert (await answer.json())["erased"] == 1
    lines, manifest, found = await export(called)
    assert found.ok, found
    assert {claim.name: claim.proved for claim in found.claims}["erasures"]
    assert {(line.kind, line.subject) for line in lines if line.is_erased} == {("decision", first), ("outcome", first)}
    assert manifest.erased == 2

    await called.installation.custody.erase_tenant(embedded_scope(), "key_1", "the contract ended")
    lines, manifest, found = await export(called)
    assert found.ok, found
    assert manifest.erased == manifest.count == len(lines)
    assert {claim.name: claim.proved for claim in found.claims}["tree"]
    assert second.encode() in b"".join(line.written() for line in lines)
