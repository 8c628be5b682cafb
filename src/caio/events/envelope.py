"""An event as it is told: CloudEvents 1.0, structured JSON.

Theory of operation
-------------------
An event tells of one act of a tenant's audit log: who did what to what, and where in the log it stands.
What an act's details say is not told; whoever may read the log finds it there under ``data.seq``. Its id
is made from the act's, so that it is the same however often, and by whomever, the event is delivered.

Laws (each has a test of the same name)
---------------------------------------
- one_act_one_id: the id of an event is a function of the act's id, and never another act's.
- an_envelope_is_a_cloud_event: every attribute that CloudEvents 1.0 requires, each well formed.
- a_pattern_matches_its_type_or_what_it_begins.

Sources: CloudEvents 1.0.2, sections 3.1 (attributes) and, of the JSON format, 3 (envelope).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from caio.foundation.canonical import canonical_json

#: What every type begins with.
PREFIX = "caio."
MEDIA_TYPE = "application/cloudevents+json"

#: An event's type, or what several begin with, up to and with a point.
PATTERN = re.compile(r"caio\.([a-z]+\.([a-z_]+)?)?")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Event:
    """``occurred_at`` is microseconds since the epoch, ``seq`` the act's place in the tenant's log."""

    tenant_id: str
    event_id: str
    seq: int
    type: str
    subject: str
    occurred_at: int
    action: str
    principal_id: str

    def document(self) -> dict[str, object]:
        """The envelope, as a JSON object."""
        return {
            "specversion": "1.0",
            "id": self.event_id,
            "source": f"/tenants/{self.tenant_id}",
            "type": self.type,
            # CloudEvents knows no empty subject; an act may be about nothing in particular.
            **({"subject": self.subject} if self.subject else {}),
            "time": rfc_3339(self.occurred_at),
            "datacontenttype": "application/json",
            "data": {
                "action": self.action,
                "principal": self.principal_id,
                "subject": self.subject,
                "seq": self.seq,
            },
        }

    def body(self) -> bytes:
        """The envelope's bytes: the same at every attempt, so that a receiver may compare them."""
        return canonical_json(self.document())


def event_id_of(act_id: str) -> str:
    """The id of the event that tells of an act."""
    return f"evt_{act_id.removeprefix('act_')}"


def event_type_of(action: str) -> str:
    """``caio.tenant.suspended`` for ``tenant.suspended``."""
    return PREFIX + action


def matches(patterns: Iterable[str], event_type: str) -> bool:
    """Whether one of ``patterns`` is the type, or ends in a point and is what the type begins with."""
    return any(event_type == each or (each.endswith(".") and event_type.startswith(each)) for each in patterns)


def rfc_3339(microseconds: int) -> str:
    """A time in UTC, to the microsecond."""
    moment = _EPOCH + timedelta(microseconds=microseconds)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
