"""What every search over the audit log's clear columns does, against a filter over everything in a list."""

from dataclasses import replace
from itertools import product
from random import Random

from caio.audit.ports import ActRow, DecisionRow, Leaf, LeafKind, Mode, OutcomeRow, Status
from caio.audit.query import ActEntry, DecisionEntry, EntryFilter, Result
from caio.storage.sql.audit_index import SqlAuditIndex

SERVICES, PEOPLE, CAPABILITIES = ("", "svc", "other"), ("ann", "bob"), ("chat", "text.answer")
ACTIONS = {"key.created": LeafKind.KEY, "audit.read": LeafKind.ACCESS, "hold.placed": LeafKind.RETENTION}


def leaf(kind, subject, at, projection):
    return Leaf("acme", kind, subject, at, subject.encode().ljust(32), b"sealed", projection)


def decided(rng, number):
    """A decision's leaves and its entry, but for the places of the leaves."""
    at, decision_id = rng.randint(1, 30), f"dec_{number:03}"  # few instants: the id decides often
    service, admitted = rng.choice(SERVICES), rng.random() < 0.7
    admitted = admitted and service != ""
    person, capability = rng.choice(PEOPLE), rng.choice(CAPABILITIES)
    row = DecisionRow(decision_id, at, Mode.ORCHESTRATE, capability, service, "1", person, "ab", admitted, 50)
    result = Result.RUNNING if admitted else Result.DECIDED if service else Result.REFUSED
    entry = DecisionEntry(0, at, decision_id, service, "1", person, capability, result, None, None, False)
    leaves = [leaf(LeafKind.DECISION, decision_id, at, row)]
    answered = ""
    if admitted and rng.random() < 0.8:
        answered, status = rng.choice(SERVICES[1:]), rng.choice(list(Status))
        end = OutcomeRow(decision_id, at + 1, status, answered, 7, 1, 1, number, ())
        leaves.append(leaf(LeafKind.OUTCOME, decision_id, at + 1, end))
        entry = replace(entry, result=Result(status.value), charged=number)
    return leaves, entry, {service, answered} - {""}


def acted(rng, number):
    at, act_id, action = rng.randint(1, 30), f"act_{number:03}", rng.choice(list(ACTIONS))
    row = ActRow(act_id, ACTIONS[action], at, action, rng.choice(PEOPLE), "subject")
    entry = ActEntry(0, at, act_id, row.kind, action, row.principal_id, "subject", False)
    return [leaf(row.kind, act_id, at, row)], entry, set()


async def world(journal, seed, count=60):
    """A tenant's journal of ``count`` entries; every entry, newest first, with the services it names."""
    rng = Random(seed)
    made = [(decided if rng.random() < 0.6 else acted)(rng, number) for number in range(count)]
    found = []
    for leaves, entry, services in made:
        seqs = await journal.append(leaves)
        placed = replace(entry, seq=seqs[0])
        found.append((replace(placed, outcome_seq=seqs[1]) if len(seqs) > 1 else placed, services))
    return sorted(found, key=lambda pair: pair[0].place, reverse=True)


def matches(wanted, entry, services):
    if not (wanted.since is None or entry.at >= wanted.since) or not (wanted.until is None or entry.at < wanted.until):
        return False
    kind = entry.kind if isinstance(entry, ActEntry) else LeafKind.DECISION
    stated = {
        "kind": kind,
        "principal": entry.principal,
        "action": getattr(entry, "action", None),
        "capability": getattr(entry, "capability", None),
        "result": getattr(entry, "result", None),
    }
    asked = {name: getattr(wanted, name) for name in stated if getattr(wanted, name) is not None}
    return asked.items() <= stated.items() and (wanted.service is None or wanted.service in services)


async def walk(index, scope, wanted, limit):
    """Every page's entries, with the number of pages."""
    found, before, pages = [], None, 0
    while True:
        page = await index.entries(scope, wanted, before, limit)
        assert len(page.items) <= limit
        assert page.next_before is None or before is None or page.next_before < before
        found += page.items
        before, pages = page.next_before, pages + 1
        if before is None:
            return found, pages


FILTERS = [
    EntryFilter(),
    EntryFilter(since=10, until=20),
    EntryFilter(service="svc"),
    EntryFilter(service="other", principal="ann"),
    EntryFilter(principal="bob", since=5),
    EntryFilter(capability="chat"),
    EntryFilter(kind=LeafKind.DECISION),
    EntryFilter(kind=LeafKind.ACCESS),
    EntryFilter(action="hold.placed", principal="ann"),
    EntryFilter(action="key.created", service="svc"),
    EntryFilter(kind=LeafKind.DECISION, action="key.created"),
    EntryFilter(principal="nobody"),
    *(EntryFilter(result=result) for result in Result),
]


async def test_pages_give_every_match_once(stores, database, acme):
    everything = await world(stores.journal, 7)
    few = [(FILTERS[0], (1, 9)), (FILTERS[3], (2, 1))]
    for wanted, (limit, examined) in [*product(FILTERS, ((1000, 1000), (9, 15))), *few]:
        expected = [entry for entry, services in everything if matches(wanted, entry, services)]
        found, _ = await walk(SqlAuditIndex(database, examined), acme, wanted, limit)
        assert found == expected, (wanted, limit, examined)


async def test_a_page_looks_at_a_bounded_number_of_rows(stores, database, acme):
    everything = await world(stores.journal, 8)
    rare = EntryFilter(principal="nobody")
    _, pages = await walk(SqlAuditIndex(database, 10), acme, rare, 50)
    of_a_sort = max(sum(isinstance(entry, sort) for entry, _ in everything) for sort in (DecisionEntry, ActEntry))
    assert pages >= of_a_sort / 10
    page = await SqlAuditIndex(database, 10).entries(acme, rare, None, 50)
    assert page.items == []
    assert page.next_before is not None


async def test_another_tenants_entries_are_never_seen(stores, database, rival):
    await world(stores.journal, 9, 20)
    for wanted in FILTERS:
        assert await walk(SqlAuditIndex(database), rival, wanted, 50) == ([], 1)
