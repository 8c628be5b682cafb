"""Acts as records and leaves, and reads that are written down before they are released."""

from dataclasses import replace

import pytest

from caio.audit.acts import SYSTEM, Act, ActRecord
from caio.audit.journal import Journal
from caio.audit.ports import ActRow, LeafKind, StoredLeaf
from caio.audit.reads import Reads
from caio.audit.record import leaf_of, open_leaf
from caio.audit.sealing import Sealer
from caio.foundation.canonical import canonical_json, read_canonical
from caio.foundation.errors import Erased, NotReady, SealBroken
from caio.foundation.scope import TenantScope
from tests.audit_samples import NOW, counted
from tests.support.acts import acts_over

ACME = TenantScope("acme")
KINDS = {
    "contract.published": LeafKind.PUBLICATION,
    "contract.retired": LeafKind.PUBLICATION,
    "policy.published": LeafKind.PUBLICATION,
    "policy.retired": LeafKind.PUBLICATION,
    "tenant.created": LeafKind.TENANT,
    "tenant.suspended": LeafKind.TENANT,
    "key.created": LeafKind.KEY,
    "key.revoked": LeafKind.KEY,
    "key.activated": LeafKind.KEY,
    "key.rotated": LeafKind.KEY,
    "secret.stored": LeafKind.SECRET,
    "secret.removed": LeafKind.SECRET,
    "audit.read": LeafKind.ACCESS,
    "audit.exported": LeafKind.ACCESS,
    "retention.set": LeafKind.RETENTION,
    "hold.placed": LeafKind.RETENTION,
    "content.erased": LeafKind.ERASURE,
    "log.restarted": LeafKind.LOG,
    "workflow.started": LeafKind.WORKFLOW,
}


def sealer():
    return Sealer(b"k" * 32, counted())


def record(action="contract.published", **details):
    return ActRecord("acme", "act_1", NOW, Act(action, "key_1", "echo", details))


@pytest.mark.parametrize("action", KINDS)
def test_acts_open_to_their_records(action):
    done = record(action, version="1.0.0", shared=False, roles=["admin", "ünïcode"], expires_at=None)
    leaf = leaf_of(done, sealer(), b"s" * 32)
    opened = open_leaf(StoredLeaf(3, leaf), sealer())
    assert opened.document == done.document() == read_canonical(done.canonical())
    assert opened.document == {
        "v": 1,
        "kind": KINDS[action].value,
        "tenant": "acme",
        "act_id": "act_1",
        "at": NOW,
        "action": action,
        "principal": "key_1",
        "subject": "echo",
        "details": {"version": "1.0.0", "shared": False, "roles": ["admin", "ünïcode"], "expires_at": None},
    }
    assert (leaf.tenant_id, leaf.kind, leaf.subject_id, leaf.recorded_at) == ("acme", KINDS[action], "act_1", NOW)
    assert leaf.projection == ActRow("act_1", KINDS[action], NOW, action, "key_1", "echo")


@pytest.mark.parametrize("place", range(0, 150, 7))
def test_a_changed_act_does_not_open(place):
    leaf = leaf_of(record(), sealer(), b"s" * 32)
    sealed = bytearray(leaf.sealed)
    sealed[place] ^= 1
    changed = StoredLeaf(0, replace(leaf, sealed=bytes(sealed)))
    with pytest.raises(SealBroken):
        open_leaf(changed, sealer())


@pytest.mark.parametrize(
    "change",
    [{"commitment": b"c" * 32}, {"kind": LeafKind.KEY}, {"subject_id": "act_2"}, {"tenant_id": "other"}],
)
def test_an_act_opens_in_its_own_place_only(change):
    leaf = leaf_of(record(), sealer(), b"s" * 32)
    with pytest.raises(SealBroken):
        open_leaf(StoredLeaf(0, replace(leaf, **change)), sealer())


def test_an_erased_act_says_so():
    leaf = leaf_of(record(), sealer(), b"s" * 32)
    with pytest.raises(Erased):
        open_leaf(StoredLeaf(0, replace(leaf, sealed=b"")), sealer())


@pytest.mark.parametrize(("action", "kind"), KINDS.items())
def test_actions_belong_to_their_kind(action, kind):
    assert Act(action, SYSTEM, "subject").kind is kind


@pytest.mark.parametrize("action", ["", "decision.made", "Contract.published", "published", "outcome.", " key.made"])
def test_an_action_of_no_kind_is_refused(action):
    with pytest.raises(ValueError, match="names no kind"):
        Act(action, SYSTEM, "subject")


async def test_a_leaf_of_an_act_is_made_now_with_the_tenants_key_and_a_fresh_salt(stores):
    made, vault = acts_over(stores, NOW)
    act = Act("policy.retired", "key_7", "careful")
    first, second = await made.leaf(ACME, act), await made.leaf(ACME, act)
    assert first.subject_id != second.subject_id
    assert first.recorded_at == NOW
    opened = [open_leaf(StoredLeaf(0, leaf), await vault.sealer(ACME)) for leaf in (first, second)]
    assert opened[0].commitment.salt != opened[1].commitment.salt
    assert opened[0].document["details"] == {}
    assert canonical_json(act.action) not in first.sealed


@pytest.fixture
async def journal(stores):
    journal = Journal(stores.journal)
    await journal.start()
    yield journal
    await journal.stop()


async def test_a_read_is_recorded_before_it_is_released(stores, journal):
    made, vault = acts_over(stores, NOW)
    reads = Reads(made, journal)
    seq = await reads.record(ACME, "key_1", "audit.read", "dec_1", {"entries": 3})
    (stored,) = await stores.journal.page(ACME, -1, 9)
    assert (stored.seq, stored.leaf.kind) == (seq, LeafKind.ACCESS)
    document = open_leaf(stored, await vault.sealer(ACME)).document
    assert (document["action"], document["principal"], document["subject"]) == ("audit.read", "key_1", "dec_1")
    assert document["details"] == {"entries": 3}
    await journal.stop()
    with pytest.raises(NotReady):
        await reads.record(ACME, "key_1", "audit.exported", "0-7", {})
    assert len(await stores.journal.page(ACME, -1, 9)) == 1


@pytest.mark.parametrize("action", ["contract.published", "hold.placed", "content.erased"])
async def test_only_reads_are_recorded_as_reads(stores, journal, action):
    made, _ = acts_over(stores, NOW)
    with pytest.raises(ValueError, match="not a read"):
        await Reads(made, journal).record(ACME, "key_1", action, "subject", {})
    assert await stores.journal.page(ACME, -1, 9) == []
