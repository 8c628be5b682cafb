"""Whether the tables that a process works with are still those of its version.

A start asks once; a restored backup, or a downgrade, can take them back under a process that runs. Readiness asks
often, so an answer is remembered: a minute when it is good, a few seconds when it is not.

Tables of a *newer* version are no trouble: an upgrade comes before the processes of the new version, and leaves what
the old one needs (``docs/how-to/run-several-processes.md``). A process that went out of service then would take the
whole installation with it.

Laws (each has a test of the same name)
---------------------------------------
- older_tables_are_not_ready: and those that cannot be asked.
- newer_tables_are_ready.
- an_answer_is_remembered: for as long as stated, and by how it turned out.
"""

from __future__ import annotations

from collections.abc import Callable

from caio.foundation.errors import NotReady
from caio.storage.sql.database import Database
from caio.storage.sql.upgrade import HEAD, recorded_revision, suits

#: Seconds that an answer counts, by whether it was a good one.
GOOD_SECONDS, BAD_SECONDS = 60.0, 5.0


class Standing:
    """Where the tables of ``database`` stand. ``clock`` gives seconds that only ever grow."""

    def __init__(self, database: Database, clock: Callable[[], float]) -> None:
        self._database = database
        self._clock = clock
        self._until = float("-inf")
        self._trouble: NotReady | None = None

    async def check(self) -> None:
        """Raises NotReady when the tables are older than this version's, or do not answer."""
        if self._clock() >= self._until:
            self._trouble = await self._asked()
            self._until = self._clock() + (GOOD_SECONDS if self._trouble is None else BAD_SECONDS)
        if self._trouble is not None:
            raise self._trouble

    async def _asked(self) -> NotReady | None:
        try:
            revision = await recorded_revision(self._database)
        except NotReady as error:
            return error
        if not suits(revision):
            return NotReady(f"the database stands at {revision or 'nothing'}, {HEAD} is needed; run: caio db upgrade")
        return None
