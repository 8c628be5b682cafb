"""The calls that are running, so that a notification can cancel one.

A client cancels by closing its request's connection, which ends the call by itself. Clients of versions before
2026-07-28 send ``notifications/cancelled`` instead, in a request of its own that names the other by an id which the
client chose. Such an id is distinct in one session, so ``door`` names each session when it begins: the name means
nothing else, and no process keeps anything of it. A call is found by who calls, the session's name and the id.

Laws (each has a test of the same name)
---------------------------------------
- only_the_same_caller_in_the_same_session_cancels.
- nothing_is_kept_of_a_call_that_has_ended.

Not covered: a notification that reaches another process than the call did cancels nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

Key = tuple[str, str, str, str]


class Running:
    def __init__(self) -> None:
        self._calls: dict[Key, asyncio.Future[None]] = {}

    def __len__(self) -> int:
        return len(self._calls)

    @contextmanager
    def call(self, key: Key) -> Iterator[asyncio.Future[None]]:
        """A call inside the block; the future is done once it is to be cancelled."""
        cancelled: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._calls[key] = cancelled
        try:
            yield cancelled
        finally:
            if self._calls.get(key) is cancelled:
                del self._calls[key]
            cancelled.cancel()

    def cancel(self, key: Key) -> None:
        """Cancel the call, if it is one of this process."""
        cancelled = self._calls.get(key)
        if cancelled is not None and not cancelled.done():
            cancelled.set_result(None)
