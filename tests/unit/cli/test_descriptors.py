"""A server may have as many connections as the system gives it, and says so where they are few."""

import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.server import serve
from caio.cli.descriptors import ENOUGH, MOST

RAISE = """
import resource
from caio.cli.descriptors import raise_limit
from caio.observability.logging import configure_logging
configure_logging("warning")
raise_limit()
print(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
"""

HARD = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
ALL = MOST if HARD == resource.RLIM_INFINITY else min(HARD, MOST)


@pytest.mark.parametrize(
    ("soft", "hard", "raised"), [(256, 1_024, 1_024), (300, 300, 300), (256, ENOUGH, ENOUGH), (256, HARD, ALL)]
)
def test_the_limit_is_raised_as_far_as_it_goes(soft: int, hard: int, raised: int) -> None:
    limits = f"import resource; resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, {hard}))\n"
    done = subprocess.run([sys.executable, "-c", limits + RAISE], capture_output=True, text=True, check=True)
    told = [line for line in (done.stdout + done.stderr).splitlines() if "few_connections" in line]
    assert done.stdout.splitlines()[-1] == str(raised)
    assert [json.loads(line)["open_files"] for line in told] == ([raised] if raised < ENOUGH else [])


def test_a_server_raises_its_limit(tmp_path: Path) -> None:
    start = tmp_path / "start.py"
    start.write_text(
        "import resource, runpy\n"
        "hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (512, hard))\n"
        "runpy.run_module('caio', run_name='__main__', alter_sys=True)\n"
    )
    with serve(tmp_path, program=(str(start),)) as served:
        limits = Path(f"/proc/{served.pid}/limits").read_text(encoding="ascii")
    [line] = [line for line in limits.splitlines() if line.startswith("Max open files")]
    assert int(line.split()[3]) == ALL
