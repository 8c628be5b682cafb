"""Anchoring: putting each log's newest checkpoint, cosigned, where its keeper cannot take it back.

Theory of operation
-------------------
The sequencer says which logs have grown. Every so often the newest checkpoint of each is cosigned by the
witnesses and put into the anchor. Nothing waits for that: an anchor that is away loses no checkpoint but
those between two rounds, and the newest follows when it is back. At start all logs are surveyed, so that
one that grew before a crash is anchored, and one that was changed while nobody looked is noticed.

Laws (each has a test of the same name)
---------------------------------------
- what_grew_is_anchored: at the next round, once, with the newest checkpoint.
- what_a_crash_left_is_anchored: by the survey at the next start.
- a_failing_anchor_is_tried_again: ``failing`` says so meanwhile.
- a_conflict_stops_its_log: another checkpoint of the same size is there already.
- stopping_anchors_the_last: if the anchor answers in time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from caio.audit.cosigning import Cosigners
from caio.audit.forks import ForkWatch, log_forked
from caio.audit.ports import Anchor, Behind, LogHead, LogStore
from caio.foundation.errors import CaioError, Conflict, NotReady, SealBroken

_logger = structlog.get_logger("caio.audit")

EVERY_SECONDS = 60.0
STOP_SECONDS = 5.0

_AT_ONCE = 8
_PAGE = 200
_PUT_SECONDS = 30.0


class Publisher:
    """Anchors the checkpoints of one process's logs. ``set_aside`` is told of logs that contradict the anchor."""

    def __init__(
        self,
        anchor: Anchor,
        cosigners: Cosigners,
        watch: ForkWatch,
        store: LogStore,
        set_aside: Callable[[str, SealBroken], None],
        every_seconds: float = EVERY_SECONDS,
    ) -> None:
        self._anchor = anchor
        self._cosigners = cosigners
        self._watch = watch
        self._store = store
        self._set_aside = set_aside
        self._every = every_seconds
        self._grown: dict[str, LogHead] = {}
        self._surveyed = ""
        self._survey_done = False
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self._task: asyncio.Task[None] | None = None
        #: Why the last round failed, None when it did not.
        self.failing: str | None = None

    def grown(self, head: LogHead) -> None:
        """Have this head anchored at the next round, unless a newer one follows."""
        self._grown[head.tenant_id] = head

    async def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="publisher")

    async def stop(self) -> None:
        """Anchor what has grown since the last round, for STOP_SECONDS at most, and end."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
            try:
                async with asyncio.timeout(STOP_SECONDS):
                    await self.round()
            except TimeoutError:
                _logger.warning("anchor_failing", detail="no answer before the end; the next start anchors the rest")

    async def round(self) -> None:
        """Anchor whatever has grown; what fails stays for the next round."""
        failures: list[str] = []
        try:
            await self._survey()
        except Exception as error:  # noqa: BLE001 - the store's; what has grown is anchored all the same
            failures.append(error.message if isinstance(error, CaioError) else f"{type(error).__name__}: {error}")
        waiting = list(self._grown.values())
        failures += [each for each in await asyncio.gather(*map(self._publish, waiting)) if each]
        self._say(failures[0] if failures else None)

    async def _run(self) -> None:
        while True:
            await self.round()
            await asyncio.sleep(self._every)

    async def _survey(self) -> None:
        """Once a process: examine every log, and anchor it, whether it grows or not."""
        while not self._survey_done:
            heads = await self._store.heads(self._surveyed, _PAGE)
            for head in heads:
                self._grown.setdefault(head.tenant_id, head)
                self._surveyed = head.tenant_id
            self._survey_done = len(heads) < _PAGE

    async def _publish(self, head: LogHead) -> str | None:
        """Anchor one head; return why not."""
        async with self._slots:
            try:
                await self._watch.examine(_as_it_is(head), head.origin)
                if head.tenant_id in self._watch.expected:
                    return None  # the tree has to grow through what was anchored first
                note = await self._cosigners.cosigned(head)
                async with asyncio.timeout(_PUT_SECONDS):
                    await self._anchor.put(head.origin, head.size, note)
            except Conflict as error:
                if error.code != "anchor_conflict":
                    return error.message  # what stands there is nobody's checkpoint: the anchor's fault
                fault = log_forked(head.tenant_id, f"another root was anchored for {head.size} leaves")
                self._watch.condemn(head.tenant_id, fault)
                self._fork(head, fault)
                return None
            except SealBroken as fault:
                self._fork(head, fault)
                return None
            except (NotReady, TimeoutError) as error:
                return error.message if isinstance(error, NotReady) else "The anchor of the audit logs does not answer."
            except Exception as error:  # whatever it is, the other logs are anchored
                if self.failing is None:
                    _logger.exception("anchor_failing", tenant_id=head.tenant_id)
                return f"{type(error).__name__}: see the log"
        if self._grown.get(head.tenant_id) is head:
            del self._grown[head.tenant_id]
        return None

    def _fork(self, head: LogHead, fault: SealBroken) -> None:
        self._grown.pop(head.tenant_id, None)
        self._set_aside(head.tenant_id, fault)

    def _say(self, failure: str | None) -> None:
        before, self.failing = self.failing, failure
        if before is not None and failure is None:
            _logger.info("anchor_recovered")
        elif before is None and failure is not None:
            _logger.error("anchor_failing", detail=failure)


def _as_it_is(head: LogHead) -> Behind:
    return Behind(head.tenant_id, head.origin, head.size, head.root, head.checkpoint, head.size, leased=False)
