"""Start-up: from the command to the first answered readiness probe, on a fresh and on a used data directory.

The floor is an interpreter that imports the web server and nothing of CAIO. A fresh start also makes keys,
creates the database and migrates it in a process of its own.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from statistics import median

import psutil

from benchmarks.frame import Report
from benchmarks.server import serve

ROUNDS = 7
MEGABYTE = 1_000_000


def ready_after(data_dir: Path) -> tuple[float, float]:
    """Seconds from the command to a 200 of the readiness probe, and the server's resident megabytes then."""
    started = time.perf_counter()
    with serve(data_dir) as served:
        with urllib.request.urlopen(f"{served.url}/health/ready") as answer:
            assert answer.status == 200
        return time.perf_counter() - started, psutil.Process(served.pid).memory_info().rss / MEGABYTE


def floor() -> float:
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import uvicorn, uvloop, httptools, fastapi"], check=True)
    return time.perf_counter() - started


def main() -> int:
    report = Report("start-up")
    fresh, used, floors, resident = [], [], [], []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(ROUNDS):
            data_dir = Path(folder) / str(number)
            data_dir.mkdir()
            fresh.append(ready_after(data_dir)[0])
            seconds, megabytes = ready_after(data_dir)
            used.append(seconds)
            resident.append(megabytes)
            floors.append(floor())
    report.note("floor: an interpreter that imports the web server", median(floors), "s")
    report.note("ready on a used data directory", median(used), "s")
    report.note("ready on a fresh one: keys, database, migration", median(fresh), "s")
    report.at_most("resident when ready, idle", median(resident), "MB", bar=150)
    return report.finish()


if __name__ == "__main__":
    raise SystemExit(main())
