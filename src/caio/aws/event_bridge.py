"""Events to a bus of EventBridge, from where AWS carries them on: to queues, functions, other accounts.

Theory of operation
-------------------
``PutEvents`` takes ten entries and answers for each of them: some may be refused while others are taken. Those
that were not are failed deliveries, tried again on the outbox's schedule, so that an entry may arrive twice; the
envelope's id tells. An entry's ``source`` is ``caio``, its ``detail-type`` the event's type, its ``detail`` the
whole envelope.

Laws (each has a test of the same name)
---------------------------------------
- every_entry_is_answered_for: in order, however the batches are cut and whichever fail.
- a_bus_that_does_not_answer_raises_nothing.

Source: EventBridge API reference, PutEvents: 10 entries and 256 KB a call. An envelope is a few hundred bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from caio.aws.outage import answers_of
from caio.events.envelope import Event
from caio.events.ports import Answered
from caio.foundation.errors import CaioError

BATCH = 10
SOURCE = "caio"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class EventBridge:
    """The ``Sink`` port. ``client`` is an EventBridge client; ``bus`` the name or ARN of an event bus."""

    name = "eventbridge"

    def __init__(self, client: Any, bus: str) -> None:
        self._client = client
        self._bus = bus

    async def send(self, events: Sequence[Event]) -> Sequence[Answered]:
        answers: list[Answered] = []
        for start in range(0, len(events), BATCH):
            answers += await self._put(events[start : start + BATCH])
        return answers

    async def _put(self, events: Sequence[Event]) -> list[Answered]:
        try:
            with answers_of("EventBridge"):
                answer = await self._client.put_events(Entries=[self._entry(event) for event in events])
        except CaioError as error:
            return [Answered(delivered=False, status=error.message)] * len(events)
        return [_answered(entry) for entry in answer["Entries"]]

    def _entry(self, event: Event) -> dict[str, Any]:
        return {
            "EventBusName": self._bus,
            "Source": SOURCE,
            "DetailType": event.type,
            "Detail": event.body().decode(),
            "Time": _EPOCH + timedelta(microseconds=event.occurred_at),
        }


def _answered(entry: dict[str, Any]) -> Answered:
    if entry.get("EventId"):
        return Answered(delivered=True, status="taken")
    return Answered(delivered=False, status=str(entry.get("ErrorCode", "refused")))
