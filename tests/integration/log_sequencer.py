"""A process that appends to a journal and sequences it, until it is killed.

Run as ``python log_sequencer.py NAME FILE`` with the database URL on standard input. Prints what
``journal_appender`` prints. Every checkpoint that it signs is appended to FILE, as a line of JSON, before
it is written to the database: whatever was ever signed is there, also what lost against another process.
"""

import asyncio
import json
import os
import sys
from itertools import count

from journal_appender import append_all  # type: ignore[import-not-found]  # it lies beside this script

from caio.storage.sql import Database, open_stores
from tests.support.logs import sequencer

ENOUGH = 10**9


class Noting:
    """A store that notes what is signed before it is written."""

    def __init__(self, store, path):
        self._store = store
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def __getattr__(self, name):
        return getattr(self._store, name)

    async def advance(self, holder, advances):
        for each in advances:
            os.write(self._file, json.dumps([holder, each.old_size, each.head.checkpoint]).encode() + b"\n")
        written = await self._store.advance(holder, advances)
        os.write(self._file, json.dumps([holder, len(advances) - len(written), None]).encode() + b"\n")
        return written


class Unhurried:
    """A journal's store that leaves the processor to the others now and then."""

    def __init__(self, store):
        self._store = store

    async def append(self, leaves):
        await asyncio.sleep(0.01)
        return await self._store.append(leaves)


async def main(url, name, path):
    database = await Database.open(url)
    stores = open_stores(database)
    # Leases that have expired at once protect from nothing: processes do grow the log from the same size.
    one = sequencer(Noting(stores.log, path), holder=name, every_seconds=0.01, lease_seconds=0, share=50)
    await one.start()
    numbers = count()
    await asyncio.gather(*(append_all(Unhurried(stores.journal), name, numbers, ENOUGH) for _ in range(2)))


if __name__ == "__main__":
    asyncio.run(main(sys.stdin.readline().strip(), sys.argv[1], sys.argv[2]))
