"""When a delivery that failed is tried again: a fixed schedule with jitter, then never more.

Theory of operation
-------------------
The pauses grow from seconds to a day, as Standard Webhooks recommends: a deployment's blink costs seconds, a
weekend's outage no event. Each is lengthened by up to a quarter, by the event's and the destination's ids: what
failed together does not come back together, and the time of an attempt can be foretold. A receiver may ask for
a longer pause (Retry-After), up to the longest one here.

Laws (each has a test of the same name)
---------------------------------------
- pauses_are_bounded: each between its entry and a quarter more.
- a_delivery_ends: after ATTEMPTS attempts there is no next one.
- jitter_is_the_ids_own: the same ids give the same pause, others another.
"""

from __future__ import annotations

import hashlib

SECOND = 1_000_000
_MINUTE, _HOUR = 60 * SECOND, 3600 * SECOND

#: The pause behind each failed attempt, in microseconds.
PAUSES = (
    5 * SECOND,
    _MINUTE,
    5 * _MINUTE,
    30 * _MINUTE,
    2 * _HOUR,
    5 * _HOUR,
    10 * _HOUR,
    14 * _HOUR,
    20 * _HOUR,
    24 * _HOUR,
)
ATTEMPTS = len(PAUSES) + 1
LONGEST = PAUSES[-1]


def next_attempt(event_id: str, destination: str, attempts: int, now: int, wanted_pause: int = 0) -> int | None:
    """When to try again after ``attempts`` failed ones, the last of them ending at ``now``; None for never.

    ``wanted_pause`` is what the receiver asked for, in microseconds. Raises ValueError for fewer than one attempt.
    """
    if attempts < 1:
        raise ValueError("a delivery that was not tried has no next attempt")
    if attempts >= ATTEMPTS:
        return None
    pause = PAUSES[attempts - 1]
    digest = hashlib.sha256(f"{event_id} {destination} {attempts}".encode()).digest()
    jitter = pause // 4 * int.from_bytes(digest[:4], "big") >> 32
    return now + max(pause + jitter, min(wanted_pause, LONGEST))
