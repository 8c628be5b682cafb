"""Appending acts to the journal inside somebody else's transaction.

What a store changes and the leaf that says so become durable together, or neither does. The leaf's
place is taken as the journals' own appends take it, with the same row lock, and kept until the
commit: call it last, so that the tenant's other writers wait as briefly as possible. A tenant's head
is the last row that a control-plane transaction locks, so no two of them wait for each other.

The event that tells of an act goes the same way (the transactional outbox): it is there if and only if the
act is, and nothing else makes events. Acts that only read (``audit.…``) are told to nobody.

Laws (each has a test of the same name, for both databases)
-----------------------------------------------------------
- an_act_is_written_with_what_it_did: or neither is.
- acts_and_decisions_share_one_sequence: gapless, whoever appends.
- an_event_is_written_with_its_act: or neither is; and none for an act that only reads.
"""

from __future__ import annotations

from sqlalchemy import insert, text
from sqlalchemy.ext.asyncio import AsyncConnection

from caio.audit.ports import ActRow, Leaf, LeafKind
from caio.events.envelope import event_id_of, event_type_of
from caio.foundation.canonical import canonical_json
from caio.storage.sql.database import placed
from caio.storage.sql.tables import acts, journal
from caio.storage.sql.tables_tenancy import events

_TAKE_PLACE = text(
    "INSERT INTO journal_heads (tenant_id, next) VALUES (:tenant, 1) "
    "ON CONFLICT (tenant_id) DO UPDATE SET next = journal_heads.next + 1 RETURNING next"
)


async def append_within(connection: AsyncConnection, leaf: Leaf) -> int:
    """Append an act's ``leaf`` and its event in the transaction of ``connection``; return the leaf's ``seq``.

    Raises ValueError for a leaf that is not an act's.
    """
    act = leaf.projection
    if not isinstance(act, ActRow):
        raise ValueError("only acts are written inside other transactions; decisions go through the journal")
    connection = placed(connection)
    seq = (await connection.execute(_TAKE_PLACE, {"tenant": leaf.tenant_id})).scalar_one() - 1
    await connection.execute(
        insert(journal).values(
            tenant_id=leaf.tenant_id,
            seq=seq,
            kind=leaf.kind.value,
            subject_id=leaf.subject_id,
            recorded_at=leaf.recorded_at,
            commitment=leaf.commitment,
            sealed=leaf.sealed,
        )
    )
    await connection.execute(
        insert(acts).values(
            tenant_id=leaf.tenant_id,
            act_id=act.act_id,
            kind=act.kind.value,
            recorded_at=act.recorded_at,
            action=act.action,
            principal_id=act.principal_id,
            subject=act.subject,
        )
    )
    if act.kind is not LeafKind.ACCESS:
        await connection.execute(insert(events).values(_event(leaf.tenant_id, int(seq), act)))
    return int(seq)


def _event(tenant_id: str, seq: int, act: ActRow) -> dict[str, object]:
    """The row of the event that tells of ``act``, due at once."""
    return {
        "tenant_id": tenant_id,
        "event_id": event_id_of(act.act_id),
        "seq": seq,
        "type": event_type_of(act.action),
        "subject": act.subject,
        "occurred_at": act.recorded_at,
        "data": canonical_json({"action": act.action, "principal": act.principal_id}).decode(),
        "due_at": act.recorded_at,
    }
