"""``/api/v1/audit/entries``: the tenant's audit log, entry by entry. Every look is itself recorded."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Path, Query
from pydantic import BaseModel

from caio.api.dependencies import ThePlatform, caller_with
from caio.audit.ports import LeafKind
from caio.audit.query import ActEntry, DecisionEntry, Entry, EntryFilter, Place, Result
from caio.foundation.errors import InvalidInput, Violation
from caio.foundation.quantity import decimal_text
from caio.tenancy.principals import Caller, Permission

router = APIRouter(prefix="/api/v1/audit/entries", tags=["audit"])

Reader = Annotated[Caller, Depends(caller_with(Permission.AUDIT_READ))]

#: The largest whole number that JSON keeps everywhere (RFC 8259 section 6).
LARGEST = 2**53 - 1

Micros = Annotated[int | None, Query(ge=0, le=LARGEST)]
Text = Annotated[str | None, Query(min_length=1, max_length=256, pattern=r"^[^\x00-\x1f\x7f]+$")]


class DecisionEntryView(BaseModel):
    """A decision, with the places of its leaf and of its outcome's. Times in microseconds since the epoch.

    ``outcome`` is the outcome's status or, where there is none, ``refused``, ``decided`` (nobody was to be
    called) or ``running``. ``principal`` is null once the content was erased.
    """

    kind: Literal["decision"]
    seq: int
    outcome_seq: int | None
    at: int
    id: str
    service: str | None
    version: str | None
    principal: str | None
    capability: str
    outcome: str
    charged: str | None
    erased: bool


class ActEntryView(BaseModel):
    """What somebody did, other than to call: ``action`` to ``subject``."""

    kind: str
    seq: int
    at: int
    id: str
    action: str
    principal: str | None
    subject: str | None
    erased: bool


class EntryListing(BaseModel):
    """A page, newest first. It may be short, even empty, and still have a next one."""

    items: list[DecisionEntryView | ActEntryView]
    next_before: str | None = None


class OpenedEntryView(BaseModel):
    """An entry's content: ``commitment`` is HMAC-SHA256(``salt``, ``payload`` as canonical JSON), hexadecimal."""

    seq: int
    kind: str
    id: str
    recorded_at: int
    commitment: str
    salt: str
    payload: dict[str, Any]


@router.get("")
async def list_entries(
    caller: Reader,
    platform: ThePlatform,
    since: Micros = None,
    until: Micros = None,
    service: Annotated[Text, Query(description="Decisions that chose it, or that it answered.")] = None,
    principal: Text = None,
    outcome: Result | None = None,
    capability: Text = None,
    kind: Annotated[LeafKind | None, Query(description="`decision` includes its outcome.")] = None,
    action: Annotated[Text, Query(description="Acts of this name, such as `key.created`.")] = None,
    before: Annotated[str | None, Query(max_length=96, description="`next_before` of the page before.")] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> EntryListing:
    """What happened, newest first: decisions with their outcomes, and what people did. `since` <= time < `until`."""
    if kind is LeafKind.OUTCOME:
        raise InvalidInput("outcomes are listed with their decisions", [Violation("/query/kind", "ask for: decision")])
    wanted = EntryFilter(since, until, service, principal, outcome, capability, kind, action)
    page = await platform.audit_entries.page(
        caller.scope, caller.principal.principal_id, wanted, place_of(before), limit
    )
    return EntryListing(items=[_view(entry) for entry in page.items], next_before=cursor_of(page.next_before))


@router.get("/{seq}")
async def get_entry(
    caller: Reader, platform: ThePlatform, seq: Annotated[int, Path(ge=0, le=LARGEST)]
) -> OpenedEntryView:
    """One entry with its content and what opens its commitment. 410 once the content was erased."""
    stored, opened = await platform.audit_entries.entry(caller.scope, caller.principal.principal_id, seq)
    return OpenedEntryView(
        seq=stored.seq,
        kind=stored.leaf.kind,
        id=stored.leaf.subject_id,
        recorded_at=stored.leaf.recorded_at,
        commitment=opened.commitment.value.hex(),
        salt=opened.commitment.salt.hex(),
        payload=dict(opened.document),
    )


def cursor_of(place: Place | None) -> str | None:
    return None if place is None else f"{place[0]}.{place[1]}"


def place_of(text: str | None) -> Place | None:
    """The place that ``cursor_of`` wrote; raises InvalidInput for any other text."""
    if text is None:
        return None
    time_text, _, entry_id = text.partition(".")
    if not time_text.isascii() or not time_text.isdecimal() or len(time_text) > 18 or not entry_id:
        raise InvalidInput(
            "not a cursor of this list", [Violation("/query/before", "use `next_before` as it was given")]
        )
    return int(time_text), entry_id


def _view(entry: Entry) -> DecisionEntryView | ActEntryView:
    return _decision(entry) if isinstance(entry, DecisionEntry) else _act(entry)


def _decision(entry: DecisionEntry) -> DecisionEntryView:
    return DecisionEntryView(
        kind="decision",
        seq=entry.seq,
        outcome_seq=entry.outcome_seq,
        at=entry.at,
        id=entry.decision_id,
        service=entry.service or None,
        version=entry.version or None,
        principal=entry.principal or None,
        capability=entry.capability,
        outcome=entry.result,
        charged=None if entry.charged is None else decimal_text(entry.charged),
        erased=entry.erased,
    )


def _act(entry: ActEntry) -> ActEntryView:
    return ActEntryView(
        kind=entry.kind,
        seq=entry.seq,
        at=entry.at,
        id=entry.act_id,
        action=entry.action,
        principal=entry.principal or None,
        subject=entry.subject or None,
        erased=entry.erased,
    )
