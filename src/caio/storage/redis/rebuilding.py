"""An account that Redis does not have, or must not rely on, read from the durable records.

Theory of operation
-------------------
An account is lost when it was built on another server (a restart, a failover), when it has expired, or when calls
were admitted elsewhere. Redis remembers since when, and while ``DURABLE_AFTER`` has not passed its windows count as
full: a call that was admitted before the loss is durable by then, or abandoned. Then
one process reads the records and puts the account in place; if it was lost again meanwhile, that counts for
nothing. An account that was only never used, on a server known for longer, is not waited for.

Windows of subjects that the first ask does not name are filled when they are first asked for.

Times in the records are of the processes' clocks, and earlier than the admissions they tell of. They are moved to
the server's clock and by ``late`` microseconds more, but never beyond the present: a window may hold a call for
longer after a rebuild, never shorter. Not checked: that the processes' clocks agree with each other within
``late``.

Calls that were running hold the most that they may, and give back what they do not use: of windows that are filled
later the script looks up whether they have ended since, and with what.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

import msgspec

from caio.foundation.scope import TenantScope
from caio.gateway.past_use import PastUnits
from caio.gateway.ports import GRANT_DURABLE_SECONDS, AdmissionRecords, Ask, Meter, PastCall, PastUse
from caio.gateway.refusals import KEY, SERVICE, TENANT, recovering
from caio.metering.ledger import MOST, TOTAL, month_of, period_start
from caio.storage.redis.asking import Row, window_name
from caio.storage.redis.client import Client
from caio.storage.redis.scripts import ADD_WINDOWS, CLAIM, INSTALL, account_keys
from caio.tenancy.limits import Unit
from caio.tenancy.rate_limit import BLOCKS, DAY

#: A grant whose answer is handled later than this many seconds after the step was sent is given up.
ANSWERED = 0.5

#: How long after a loss was noticed every call that goes on is durable, in seconds.
DURABLE_AFTER = GRANT_DURABLE_SECONDS + ANSWERED

#: How much later than its time in the records a call may have been admitted, in microseconds.
LATE = 3_000_000

#: How long a call waits for another that rebuilds the same account, in seconds.
PATIENCE = 1.0

#: For how long after its last sign a call may run that the records say has not ended: a deadline and its margin.
_RUNS_AT_MOST = 660_000_000

_READS_KEPT = 16

#: How scripts are told whether an account is shared with processes on their own.
_SHARED = {True: "1", False: "0", None: "?"}

_pack = msgspec.msgpack.encode


@dataclass(frozen=True, slots=True)
class _Read:
    """What was read at a time for one building of an account, and how far its times are moved."""

    epoch: str
    units: PastUnits
    running: Sequence[PastCall]
    shift: int
    read_at: int

    def present(self, server_now: int) -> int:
        """The time at which what was running counts."""
        return min(self.read_at + self.shift, server_now)


class Rebuilding:
    """Puts lost accounts and missing windows in place. ``rebuilt`` counts the accounts."""

    def __init__(
        self,
        client: Client,
        records: AdmissionRecords,
        process_id: str,
        *,
        durable: float = DURABLE_AFTER,
        late: int = LATE,
    ) -> None:
        self._client, self._records, self._process_id = client, records, process_id
        self.durable = str(int(durable * 1_000_000))
        self._late = late
        self._tokens = count(1)
        self._rebuilding: dict[str, asyncio.Task[None]] = {}
        self._reads: OrderedDict[str, _Read] = OrderedDict()
        self.rebuilt = 0

    async def account(
        self, scope: TenantScope, period: str, rows: Sequence[Row], shared: bool | None, given: str, now: int
    ) -> None:
        """Put the account in place, or wait for whoever does. ``shared`` is whether processes on their own admit from
        it, None where that is not known. Raises LimitExceeded ``recovering`` while it cannot be known yet, and
        ServerAway. Of calls that come at once, one reads the records."""
        name = scope.tenant_id
        task = self._rebuilding.get(name)
        if task is None:
            work = self._account(scope, period, rows, _SHARED[shared], given, now)
            task = self._rebuilding[name] = asyncio.create_task(work)
            task.add_done_callback(lambda done: self._rebuilt(name, done))
        await asyncio.shield(task)

    async def windows(self, ask: Ask, rows: Sequence[Row], epoch: bytes, server_now: int, now: int) -> None:
        """Fill the windows that the account has not had since it was built."""
        read = self._reads.get(ask.tenant_id)
        if read is None or read.epoch != epoch.decode():
            past = await self._records.since(ask.scope, self._first(server_now, now), now)
            read = await asyncio.to_thread(_read, epoch.decode(), past, self._shift(server_now, now), now)
            self._keep(ask.tenant_id, read)
        filled = _windows(read.units, read.running, rows, read.shift, server_now)
        arguments = (epoch, _pack(filled), str(read.present(server_now)))
        await self._client.run(ADD_WINDOWS, account_keys(ask.tenant_id), arguments)

    def _rebuilt(self, name: str, task: asyncio.Task[None]) -> None:
        del self._rebuilding[name]
        if not task.cancelled():
            task.exception()  # told to those who waited; they may all have gone

    async def _account(
        self, scope: TenantScope, period: str, rows: Sequence[Row], shared: str, given: str, now: int
    ) -> None:
        keys = account_keys(scope.tenant_id)
        token = f"{self._process_id}:{next(self._tokens)}"
        end = asyncio.get_running_loop().time() + PATIENCE
        while True:
            answer = await self._client.run(CLAIM, keys, (given, self.durable, token, shared))
            if answer[0] == b"stands":
                return
            if answer[0] == b"build":
                claim = (given, token, answer[1], shared)
                if await self._build(scope, period, rows, claim, int(answer[2]), answer[3], now):
                    return
                continue
            wait = int(answer[1])
            if wait > PATIENCE * 1_000_000 or asyncio.get_running_loop().time() > end:
                raise recovering(-(-wait // 1_000_000))
            await asyncio.sleep(min(wait / 1_000_000, 0.05))

    async def _build(
        self,
        scope: TenantScope,
        period: str,
        rows: Sequence[Row],
        claim: Sequence[Any],
        server_now: int,
        held: Sequence[bytes],
        now: int,
    ) -> bool:
        start = period_start(period)
        past = await self._records.since(scope, self._first(server_now, now), start)
        shift = self._shift(server_now, now)
        read = await asyncio.to_thread(_read, "", past, shift, now)  # of a busy tenant it takes a while
        known = {call.decision_id for call in past.calls} if held else set()
        latest = max((at + shift for call in past.calls for _, at in call.services), default=0)
        spent, prices = _within_books(past.spent, read.running)
        document = {
            "spent": str(spent),
            "past": server_now if read.running else min(latest, server_now),
            "at": read.present(server_now),
            "grants": [_grant(call, price, period, start) for call, price in zip(read.running, prices, strict=True)],
            "kept": [name for name in map(bytes.decode, held) if name not in known],
            "windows": _windows(read.units, read.running, rows, shift, server_now),
        }
        arguments = (*claim, period, _pack(document), scope.tenant_id)
        answer = await self._client.run(INSTALL, account_keys(scope.tenant_id), arguments)
        if answer[0] != b"installed":
            return False
        self._keep(scope.tenant_id, replace(read, epoch=answer[1].decode()))
        self.rebuilt += 1
        return True

    def _first(self, server_now: int, now: int) -> int:
        """The earliest time in the records of what may still be in a window once it is moved."""
        return min(server_now, now) - DAY - self._late

    def _shift(self, server_now: int, now: int) -> int:
        return max(0, server_now - now) + self._late

    def _keep(self, name: str, read: _Read) -> None:
        self._reads[name] = read
        self._reads.move_to_end(name)
        while len(self._reads) > _READS_KEPT:
            self._reads.popitem(last=False)


def _read(epoch: str, past: PastUse, shift: int, now: int) -> _Read:
    running = [call for call in past.calls if call.charged is None]
    return _Read(epoch, PastUnits(past, now), running, shift, now)


def _within_books(spent: int, running: Sequence[PastCall]) -> tuple[int, list[int]]:
    """What was spent and what running calls hold, as far as books can hold it."""
    left = MOST - (spent := min(spent, MOST))
    prices = []
    for call in running:
        prices.append(price := min(call.reserved, left))
        left -= price
    return spent, prices


def _grant(call: PastCall, price: int, period: str, start: int) -> dict[str, Any]:
    _, at = call.services[-1]
    own = TOTAL if period == TOTAL else period if call.decided_at >= start else month_of(call.decided_at)
    return {
        "id": call.decision_id,
        "price": str(price),
        "period": own,
        "expires": at + _RUNS_AT_MOST,
        "subjects": _subjects(call),
    }


def _subjects(call: PastCall) -> tuple[str, str, str]:
    return TENANT, KEY + call.principal_id, SERVICE + call.services[-1][0]


def _windows(
    units: PastUnits, running: Sequence[PastCall], rows: Sequence[Row], shift: int, now: int
) -> dict[str, dict[str, Any]]:
    return {
        window_name(*row): _window(units.of(row[0].subject, row[0].unit), row, shift, now)
        | {"subject": row[0].subject, "unit": row[0].unit.value, "running": _held(running, row[0])}
        for row in rows
    }


def _held(running: Sequence[PastCall], meter: Meter) -> dict[str, int]:
    """What running calls hold of a meter, and may give back."""
    if meter.unit is Unit.REQUESTS:
        return {}
    theirs = [call for call in running if meter.subject in _subjects(call)]
    held = {each.decision_id: each.tokens if meter.unit is Unit.TOKENS else each.compute_ms for each in theirs}
    return {name: amount for name, amount in held.items() if amount}


def _window(past: Iterable[tuple[int, int]], row: Row, shift: int, now: int) -> dict[str, Any]:
    """The blocks of a window as the scripts keep them; no more than twice BLOCKS and one, as two neighbours
    hold more than a hundredth of all."""
    _, window = row
    moved = ((min(at + shift, now), taken) for at, taken in past)
    inside = [(at, taken) for at, taken in moved if at > now - window.span]
    used = sum(taken for _, taken in inside)
    most = max(used, window.limit) // BLOCKS
    blocks: list[tuple[int, int]] = []
    for at, taken in inside:
        if blocks and blocks[-1][0] + taken <= most:
            blocks[-1] = (blocks[-1][0] + taken, at)
        else:
            blocks.append((taken, at))
    return {"used": used, "span": window.span, "blocks": [f"{taken}:{at}" for taken, at in blocks]}
