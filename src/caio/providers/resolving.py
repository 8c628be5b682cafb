"""Looking up names with the operating system, so that a slow name holds up its own domain alone.

A look-up blocks a thread until the system gives up, long after its caller did. Where the loop's few threads do it,
some names whose servers say nothing leave every other tenant's call without an address. So each look-up has a thread
of its own, a name is looked up once at a time for all who ask, and a domain has no more than MOST_EACH of MOST.

Laws (each has a test of the same name)
---------------------------------------
- a_slow_domain_holds_up_itself_alone.
- a_name_is_looked_up_once_at_a_time.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from threading import Thread
from weakref import WeakValueDictionary

MOST = 64
MOST_EACH = 8


def system_addresses(host: str) -> list[str]:
    """The addresses the operating system knows for ``host``; blocks. Raises OSError."""
    return [str(entry[4][0]) for entry in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)]


class Resolver:
    """Belongs to the loop that it is first used in. ``look_up`` blocks, and raises OSError for a name without one."""

    def __init__(self, look_up: Callable[[str], Sequence[str]] = system_addresses) -> None:
        self._look_up = look_up
        self._going: dict[str, asyncio.Task[Sequence[str]]] = {}
        self._room = asyncio.Semaphore(MOST)
        self._domains: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    async def addresses(self, host: str, port: int) -> Sequence[str]:
        """Raises OSError. Who stops waiting leaves the look-up to whoever asks next."""
        going = self._going.get(host)
        if going is None:
            going = self._going[host] = asyncio.create_task(self._looked_up(host))
            going.add_done_callback(lambda _: self._going.pop(host, None))
        return await asyncio.shield(going)

    async def _looked_up(self, host: str) -> Sequence[str]:
        domain = ".".join(host.rstrip(".").rsplit(".", 2)[-2:])
        places = self._domains.get(domain)
        if places is None:
            places = self._domains[domain] = asyncio.Semaphore(MOST_EACH)
        async with places, self._room:
            return await self._in_a_thread(host)

    async def _in_a_thread(self, host: str) -> Sequence[str]:
        loop = asyncio.get_running_loop()
        done: asyncio.Future[Sequence[str]] = loop.create_future()

        def settle(found: Sequence[str] | None) -> None:
            if done.done():
                return
            if found is None:
                done.set_exception(OSError("the name has no address"))
            else:
                done.set_result(found)

        def work() -> None:
            found: Sequence[str] | None = None
            with suppress(OSError, UnicodeError):
                found = self._look_up(host)
            with suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(settle, found)

        # A daemon: the end of the process waits for no name.
        Thread(target=work, name="caio-look-up", daemon=True).start()
        return await done
