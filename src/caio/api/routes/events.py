"""``/api/v1/events``: what happened in the tenant, for those who ask instead of being told."""

from __future__ import annotations

from time import time_ns
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, Field

from caio.api.dependencies import ThePlatform, caller_with
from caio.events.envelope import PATTERN
from caio.foundation.errors import InvalidInput, Violation
from caio.tenancy.principals import Caller, Permission

router = APIRouter(prefix="/api/v1/events", tags=["events"])

Reader = Annotated[Caller, Depends(caller_with(Permission.EVENTS_READ))]

#: As long as events are kept.
SHOWN = 30 * 86_400_000_000
_MOST_SEQ = 2**53 - 1


class EventListing(BaseModel):
    """Events as CloudEvents 1.0. ``next_before`` leads to older ones, None at the end; ``next_after`` to newer
    ones, and is there even when there are none yet."""

    items: Annotated[list[dict[str, Any]], Field(description="CloudEvents 1.0, in their JSON format.")]
    next_before: int | None
    next_after: int


@router.get("")
async def list_events(
    caller: Reader,
    platform: ThePlatform,
    type: Annotated[  # noqa: A002 - the parameter's name in the API
        list[str] | None, Query(max_length=32, description="An event's type, or what types begin with, up to a point.")
    ] = None,
    after: Annotated[
        int | None, Query(ge=-1, le=_MOST_SEQ, description="Oldest first, from behind this `data.seq`.")
    ] = None,
    before: Annotated[int | None, Query(ge=0, le=_MOST_SEQ, description="From before this `data.seq`.")] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> EventListing:
    """The tenant's events of the last 30 days, newest first, or oldest first with `after`. Whoever asks again
    with `next_after` misses none."""
    types = type or []
    wrong = [
        Violation("/query/type", f"{each!r} is no type of events") for each in types if not PATTERN.fullmatch(each)
    ]
    if wrong:
        raise InvalidInput("the events asked for are not valid", wrong, code="invalid_request")
    since = time_ns() // 1000 - SHOWN
    found = await platform.event_history.page(caller.scope, types, after, before, since, limit)
    seqs = [event.seq for event in found]
    return EventListing(
        items=[event.document() for event in found],
        next_before=min(seqs) if after is None and len(found) == limit else None,
        next_after=max([-1 if after is None else after, *seqs]),
    )
