"""One thread with one connection to SQLite: what is asked of it is done there, in the order of asking.

A thread pool would do; this hands work over and brings its result back in a fraction of the main thread's time,
which every call pays twice. Work that was begun goes on when whoever waits for it is cancelled.

Each step of a statement lets go of the interpreter's lock and waits for it afterwards, while the main thread
computes: for the switch interval, 5 ms by default and many times what a step takes. It is shortened for the process.
"""

from __future__ import annotations

import asyncio
import sqlite3
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any, TypeVar

from caio.foundation.errors import NotReady
from caio.storage.sql import sqlite
from caio.storage.sql.outage import outages_are_not_ready

_T = TypeVar("_T")

#: How long a thread that computes keeps the interpreter's lock from one that wants it, at most.
SWITCH_SECONDS = 0.0005

_Asked = tuple[Callable[[sqlite3.Connection], Any], asyncio.Future[Any]]


class Turns:
    """``async with`` waits for one's turn, in the order of asking, for ``sqlite.BUSY_SECONDS`` at most: then it
    raises NotReady. Nobody may ask for a turn within its own."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._waiting = 0

    async def __aenter__(self) -> None:
        # A lock that was let go of is not free for us where the next in turn has not come round to taking it.
        if not self._waiting and not self._lock.locked():
            await self._lock.acquire()
            return
        self._waiting += 1
        try:
            async with asyncio.timeout(sqlite.BUSY_SECONDS):
                await self._lock.acquire()
        except TimeoutError as error:
            raise NotReady("The database is being written to at present; try again shortly.") from error
        finally:
            self._waiting -= 1

    async def __aexit__(self, *exception: object) -> None:
        self._lock.release()


class SqliteThread:
    """Starts, and connects to the database at ``path``, when it is first needed."""

    def __init__(self, path: Path, name: str) -> None:
        self._path = path
        self._name = name
        self._asked: SimpleQueue[_Asked | None] = SimpleQueue()
        self._thread: Thread | None = None

    def run(self, work: Callable[[sqlite3.Connection], _T]) -> asyncio.Future[_T]:
        """What ``work`` returns or raises, NotReady for a busy or full disk. Asked for at once, also by who does
        not await it."""
        if self._thread is None:
            sys.setswitchinterval(min(SWITCH_SECONDS, sys.getswitchinterval()))
            self._thread = Thread(target=self._work, name=self._name, daemon=True)
            self._thread.start()
        future: asyncio.Future[_T] = asyncio.get_running_loop().create_future()
        self._asked.put((work, future))
        return future

    async def close(self) -> None:
        """Do what was asked for, let go of the connection, and end."""
        if self._thread is not None:
            self._asked.put(None)
            await asyncio.to_thread(self._thread.join)
            self._thread = None

    def _work(self) -> None:
        connection: sqlite3.Connection | None = None
        while (asked := self._asked.get()) is not None:
            work, future = asked
            result, error = None, None
            try:
                with outages_are_not_ready():
                    if connection is None:
                        connection = sqlite.connect(self._path)
                        connection.execute("PRAGMA wal_autocheckpoint = 0")  # the journal sees to it
                    result = work(connection)
            except BaseException as raised:  # noqa: BLE001 - it is for whoever asked
                error = raised
            with suppress(RuntimeError):  # the loop was closed: nobody waits any more
                future.get_loop().call_soon_threadsafe(_settle, future, result, error)
            del asked, work, future, result, error  # while it waits it keeps nothing alive
        if connection is not None:
            connection.close()


def _settle(future: asyncio.Future[Any], result: object, error: BaseException | None) -> None:
    if future.done():  # its caller was cancelled
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)
