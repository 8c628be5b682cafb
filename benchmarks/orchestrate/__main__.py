"""End to end: the direct call, a bare relay and CAIO, taking turns in one run.

CAIO runs as users run it: authentication, limits, the decision over 10 services and 20 policies, both journal
entries durable on SQLite with synchronous=FULL, metering, logs to a file. The machine is shared between the
load, the server and the service, so ratios mean more than rates.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median

from benchmarks.frame import Report
from benchmarks.orchestrate import load
from benchmarks.server import Served, serve

ROUNDS = 5
SECONDS = 3.0
SERVICES, POLICIES = 10, 20
PAYLOAD = {"text": "The hall was warm, the seats were fine and the second half was better than the first."}


@contextmanager
def process(*module: str) -> Iterator[int]:
    """A child that prints its port."""
    child = subprocess.Popen([sys.executable, "-m", *module], stdout=subprocess.PIPE)
    try:
        assert child.stdout is not None
        yield int(child.stdout.readline())
    finally:
        child.terminate()
        child.wait(timeout=10)


def contract(number: int, port: int) -> dict[str, object]:
    """One of the competing services; all are the same process, and differ in what they promise."""
    return {
        "service_id": f"classifier-{number}",
        "name": f"Classifier {number}",
        "version": "1.0.0",
        "capabilities": ["text.sentiment"],
        "guarantees": {
            "latency_ms": {"p95": 50 + number, "max": 1000},
            "accuracy": {"min": f"0.{70 + number}"},
        },
        "cost": {"currency": "USD", "per_request": f"0.00{number + 1}", "per_input_token": "0.0000001"},
        "privacy": {"data_locality": "on_device", "trains_on_data": False},
        "api": {"protocol": "http-json", "base_url": f"http://127.0.0.1:{port}", "endpoints": [{"path": "/classify"}]},
    }


def policy(number: int) -> dict[str, object]:
    """A rule that really has to be weighed: half hold for the request, none excludes every service."""
    return {
        "id": f"rule-{number}",
        "version": 1,
        "effect": ("forbid", "require", "prefer")[number % 3],
        "when": "request.sensitive" if number % 2 else 'request.data_classification == "internal"',
        "then": (
            "service.cost.per_request > 10.0",
            "!service.privacy.trains_on_data",
            "service.cost.per_request < 0.005",
        )[number % 3],
        "message": "benchmark",
    }


def post(served: Served, path: str, document: object) -> None:
    request = urllib.request.Request(served.url + path, json.dumps(document).encode(), method="POST")
    request.add_header("Authorization", f"Bearer {served.api_key}")
    with urllib.request.urlopen(request) as answer:
        assert answer.status == 201, answer.status


def lift_quotas(data_dir: Path) -> None:
    """The default tenant's 1,000 requests a minute would be what is measured."""
    import sqlite3

    with sqlite3.connect(data_dir / "caio.db") as connection:
        connection.execute(
            "UPDATE tenants SET quota_per_minute = 1000000000, quota_per_hour = 1000000000, quota_per_day = 1000000000"
        )
    connection.close()


def main() -> int:
    report = Report("orchestrate")
    body = json.dumps({"request": {"capability": "text.sentiment", "payload": PAYLOAD}}).encode()
    with tempfile.TemporaryDirectory() as folder:
        data_dir = Path(folder)
        with serve(data_dir) as first:
            api_key = first.api_key
        lift_quotas(data_dir)
        with ExitStack() as running:
            upstream = running.enter_context(process("benchmarks.orchestrate.upstream"))
            relay = running.enter_context(process("benchmarks.orchestrate.relay", str(upstream)))
            again = running.enter_context(serve(data_dir))
            served = Served(again.url, api_key, again.pid)
            for number in range(SERVICES):
                post(served, "/api/v1/services", contract(number, upstream))
            for number in range(POLICIES):
                post(served, "/api/v1/policies", policy(number))
            sides = {
                "direct": (f"http://127.0.0.1:{upstream}", "/classify", json.dumps(PAYLOAD).encode()),
                "relay": (f"http://127.0.0.1:{relay}", "/classify", json.dumps(PAYLOAD).encode()),
                "caio": (served.url, "/api/v1/orchestrate", body),
            }
            measure(report, sides, api_key)
    return report.finish()


def measure(report: Report, sides: dict[str, tuple[str, str, bytes]], api_key: str) -> None:
    """Take turns, each side at 1 and at 16 connections, and state medians over the rounds."""
    singles: dict[str, list[load.Load]] = {name: [] for name in sides}
    crowds: dict[str, list[load.Load]] = {name: [] for name in sides}
    for side in sides.values():
        load.run(*side, api_key, 4, 1.0)
    for turn in range(ROUNDS):
        names = list(sides) if turn % 2 == 0 else list(sides)[::-1]
        for name in names:
            singles[name].append(load.run(*sides[name], api_key, 1, SECONDS))
            crowds[name].append(load.run(*sides[name], api_key, 16, SECONDS))

    def rate(name: str) -> float:
        return median(each.rate for each in crowds[name])

    def added(percent: int, name: str) -> float:
        pairs = zip(singles[name], singles["direct"], strict=True)
        return 1000 * median(one.percentile(percent) - other.percentile(percent) for one, other in pairs)

    for name in sides:
        report.note(f"{name}: throughput, 16 connections", rate(name), "calls/s")
    ratios = [caio.rate / relay.rate for caio, relay in zip(crowds["caio"], crowds["relay"], strict=True)]
    report.at_least("caio / relay, throughput", 100 * median(ratios), "% of the floor", bar=45)
    for name in ("relay", "caio"):
        for percent in (50, 99):
            stated = (f"{name}: added to the direct call, p{percent}", added(percent, name), "ms")
            if name == "caio":
                report.at_most(*stated, bar=0.7 if percent == 50 else 2.0)
            else:
                report.note(*stated)


if __name__ == "__main__":
    raise SystemExit(main())
