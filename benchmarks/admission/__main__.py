"""Admission: what it costs a call to be known, admitted and settled, in processor time.

Embedded, with an API key: the whole of it is measured as the gateway does it, and each part by itself. The floor
is a counter in a dictionary that is reset each minute, which knows nobody and admits twice its limit at a
minute's edge. With an identity provider's token that was never seen before: its signature is checked.
With Redis: how many commands a call takes, the processor time of the client, and how long a step lasts beside
the floor, a script that returns a constant.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from itertools import islice
from pathlib import Path

import uvloop

from benchmarks.admission.calls import UNIT, Calls, cpu, installation, wanted_by
from benchmarks.admission.shared import server, shared
from benchmarks.admission.tokens import Signer, authenticator
from benchmarks.frame import Report
from caio.bootstrap import Installation, now
from caio.gateway.run import Wanted
from caio.tenancy.authentication import Authenticator

CALLS = 2_000


def main() -> int:
    report = Report("admission")
    uvloop.run(_embedded(report))
    if shutil.which("redis-server") is None:
        print("redis-server is not installed: what is shared is left out (make setup-services)", file=sys.stderr)
    else:
        with server() as url:
            uvloop.run(shared(report, url))
    return report.finish()


async def _embedded(report: Report) -> None:
    report.note("floor: a counter in a dictionary", await cpu(_count, CALLS), UNIT)
    with tempfile.TemporaryDirectory() as folder:
        async with installation(Path(folder)) as (opened, token):
            known, header = opened.authenticator, f"Bearer {token}"
            caller = await known.authenticate(header)
            report.note("API key, authenticated", await cpu(lambda: known.authenticate(header), CALLS), UNIT)
            for every_limit in (False, True):
                calls = Calls.of(opened.admission, every_limit=every_limit)
                figures = await _admitted(calls, wanted_by(caller, every_limit=every_limit), known, header)
                if every_limit:
                    report.note("admitted by every limit there is, settled", figures[0], UNIT)
                    report.note("API key, admitted by every limit, settled", figures[1], UNIT)
                else:
                    report.note("admitted, settled", figures[0], UNIT)
                    report.at_most("API key, admitted, settled", figures[1], UNIT, bar=20)
            await _tokens(report, opened)


async def _admitted(calls: Calls, wanted: Wanted, known: Authenticator, header: str) -> tuple[float, float]:
    async def whole() -> None:
        await known.authenticate(header)
        await calls.one(wanted)

    return await cpu(lambda: calls.one(wanted), CALLS), await cpu(whole, CALLS)


async def _tokens(report: Report, opened: Installation) -> None:
    for algorithm in ("RS256", "ES256"):
        signer = Signer(algorithm)
        known = await authenticator(opened, signer)
        stream = islice(signer.tokens(), 10 * (CALLS // 10))
        headers = iter(list(stream))
        figure = await cpu(lambda known=known, headers=headers: known.authenticate(next(headers)), CALLS // 10 - 1)  # type: ignore[misc]
        if algorithm == "RS256":
            report.at_most(f"{algorithm} token never seen, authenticated", figure, UNIT, bar=80)
        else:
            report.note(f"{algorithm} token never seen, authenticated", figure, UNIT)


_counts: dict[tuple[str, int], int] = {}


async def _count() -> None:
    window = ("default", now() // 60_000_000)
    if _counts.get(window, 0) < CALLS**2:
        _counts[window] = _counts.get(window, 0) + 1


if __name__ == "__main__":
    sys.exit(main())
