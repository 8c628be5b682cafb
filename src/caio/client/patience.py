"""How long a client waits before it tries again. Pure: time and chance are arguments.

Theory of operation
-------------------
A call has one budget of time for everything: attempts and the waits between them. Before a further attempt the
client waits a random part of a span that doubles with each failure ("full jitter": Brooker, "Exponential Backoff
And Jitter", 2015), so that clients who failed together do not come back together. Where the server said when to
come back, it waits that long and a random part of a span on top.

Laws (each has a test of the same name)
---------------------------------------
- waits_never_exceed_the_time_left: nor does their sum exceed the whole.
- never_earlier_than_the_server_asked.
- a_server_that_asks_for_more_time_than_is_left_ends_the_call_at_once.
- never_more_retries_than_allowed.
"""

from __future__ import annotations

from dataclasses import dataclass

#: Seconds that must be left for an attempt to be worth making.
LEAST = 0.05


@dataclass(frozen=True, slots=True)
class Patience:
    """At most ``retries`` further attempts; spans from ``base`` to ``cap`` seconds."""

    retries: int = 4
    base: float = 0.25
    cap: float = 8.0

    def wait(self, failed: int, left: float, asked: float | None, chance: float) -> float | None:
        """Seconds to wait after the ``failed``-th failure in a row, or None when there is to be no further attempt.

        ``left`` are the seconds left for the call, ``asked`` those that the server asked for, and ``chance`` is
        uniformly distributed in [0, 1).
        """
        room = left - LEAST
        if failed > self.retries or room < 0 or (asked is not None and asked > room):
            return None
        jitter: float = chance * min(self.cap, self.base * 2 ** (failed - 1))
        return min((asked or 0.0) + jitter, room)
