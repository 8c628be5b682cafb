"""A noisy neighbour: one tenant calls at a fifth of what the server can take, another at ten times its limit.

CAIO runs as users run it, on SQLite, one process, beside the load and the service on the same machine. Rounds
come in pairs: the quiet tenant alone, and beside a burst of a neighbour that has not called before, whose limit
is a twentieth of the server's capacity for the round and who sends ten times that. Most of the burst is refused, so
what is measured is what a refusal costs, and whether the calls of one tenant wait for another's.
"""

from __future__ import annotations

import json
import tempfile
import urllib.request
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import uvloop

from benchmarks.frame import Report
from benchmarks.neighbours.pace import Caller, Paced, run
from benchmarks.orchestrate import load
from benchmarks.orchestrate.__main__ import PAYLOAD, contract, process
from benchmarks.server import serve

PAIRS = 5
SECONDS = 5.0
SERVICES = 10

QUIET_SHARE, LIMIT_SHARE, EXCESS = 0.2, 0.05, 10

PATH = "/api/v1/orchestrate"
BODY = json.dumps({"request": {"capability": "text.sentiment", "payload": PAYLOAD}}).encode()


class Operator:
    """The platform's operator, who makes tenants that may all call the same services."""

    def __init__(self, url: str, api_key: str, upstream: int) -> None:
        self._url = url
        self._api_key = api_key
        self._upstream = upstream

    def tenant(self, name: str, per_minute: int = 10**9) -> str:
        """A new tenant's key. Its services are there, and were called once."""
        quotas = {"per_minute": per_minute, "per_hour": 10**9, "per_day": 10**9}
        wish = {"tenant_id": name, "name": name, "quotas": quotas, "invite": {}}
        made = self._post(self._api_key, "/api/v1/tenants", wish)
        joined = self._post(made["invitation"]["token"], "/api/v1/invitations/accept", {"name": "load"})
        key = str(joined["token"])
        for number in range(SERVICES):
            self._post(key, "/api/v1/services", contract(number, self._upstream))
        self._post(key, PATH, json.loads(BODY))
        return key

    def _post(self, key: str, path: str, document: Any) -> Any:
        request = urllib.request.Request(self._url + path, json.dumps(document).encode(), method="POST")
        request.add_header("Authorization", f"Bearer {key}")
        with urllib.request.urlopen(request) as answer:
            return json.loads(answer.read())


def percentile(paced: Paced, percent: int) -> float:
    """In milliseconds, of the calls that were answered with 200; raises RuntimeError when any was not."""
    if set(paced.statuses) != {200}:
        raise RuntimeError(f"the quiet tenant was refused: {dict(paced.statuses)}")
    return 1000 * quantiles(paced.latencies, n=100, method="inclusive")[percent - 1]


def main() -> int:
    report = Report("neighbours")
    with tempfile.TemporaryDirectory() as folder, ExitStack() as running:
        upstream = running.enter_context(process("benchmarks.orchestrate.upstream"))
        served = running.enter_context(serve(Path(folder)))
        operator = Operator(served.url, served.api_key, upstream)
        measure(report, served.url, operator)
    return report.finish()


def measure(report: Report, url: str, operator: Operator) -> None:
    quiet = operator.tenant("quiet")
    load.run(url, PATH, BODY, quiet, 16, 1.0)
    capacity = median(load.run(url, PATH, BODY, quiet, 16, 2.0).rate for _ in range(3))
    limit = int(LIMIT_SHARE * capacity * SECONDS)
    steady = Caller(quiet, BODY, QUIET_SHARE * capacity)
    alone: list[Paced] = []
    beside: list[Paced] = []
    refused: list[Paced] = []
    for pair in range(PAIRS):
        neighbour = operator.tenant(f"burst-{pair}", limit + 1)
        burst = Caller(neighbour, BODY, EXCESS * limit / SECONDS)
        for with_burst in (False, True) if pair % 2 == 0 else (True, False):
            paced = uvloop.run(run(url, PATH, [steady, burst] if with_burst else [steady], SECONDS))
            (beside if with_burst else alone).append(paced[0])
            refused += paced[1:]
    report.note("capacity, 16 connections", capacity, "calls/s")
    report.note("the quiet tenant", steady.rate, "calls/s")
    report.note("the burst", EXCESS * limit / SECONDS, "calls/s")
    answered = sum((each.statuses for each in refused), Counter[int]())
    report.note("of the burst refused", 100 * answered[429] / answered.total(), "%")
    for percent in (50, 95):
        report.note(f"quiet tenant alone, p{percent}", median(percentile(each, percent) for each in alone), "ms")
        report.note(f"beside the burst, p{percent}", median(percentile(each, percent) for each in beside), "ms")
    shifts = [percentile(two, 95) / percentile(one, 95) for one, two in zip(alone, beside, strict=True)]
    report.at_most("p95 beside / alone, median of pairs", 100 * (median(shifts) - 1), "% more", bar=10)


if __name__ == "__main__":
    raise SystemExit(main())
