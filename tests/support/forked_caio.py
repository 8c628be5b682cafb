"""Runs ``caio`` commands in processes of their own without paying for their imports each time.

One process imports everything the command line may need and forks for each command: the child gets
its own arguments, environment, directory and standard streams, and runs ``caio.cli.main.main``.
"""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Lock
from typing import Any

PRELOADED = (
    "aiohttp",
    "caio.api.errors",
    "caio.api.wanted",
    "caio.audit.anchor_directory",
    "caio.audit.export",
    "caio.audit.log_monitor",
    "caio.audit.log_verify",
    "caio.audit.restart",
    "caio.audit.verify",
    "caio.aws.cost.estimate",
    "caio.bootstrap",
    "caio.cli.audit_custody",
    "caio.cli.audit_export",
    "caio.cli.audit_log",
    "caio.cli.audit_monitor",
    "caio.cli.audit_restart",
    "caio.cli.audit_verify",
    "caio.cli.db",
    "caio.cli.decide",
    "caio.cli.decisions",
    "caio.cli.events",
    "caio.cli.keys",
    "caio.cli.ops",
    "caio.cli.ops_cost",
    "caio.cli.ops_smoke",
    "caio.cli.policies",
    "caio.cli.requests",
    "caio.cli.secrets",
    "caio.cli.services",
    "caio.cli.signing_key",
    "caio.cli.tenants",
    "caio.cli.trust",
    "caio.cli.usage",
    "caio.cli.verify",
    "caio.cli.webhooks",
    "caio.cli.what_if",
    "caio.cli.workflows",
    "caio.registry.catalog",
    "caio.routing.engine",
    "caio.storage.sql.backup",
    "caio.storage.sql.copy",
    "rich.console",
    "rich.table",
    "yaml",
)


class ForkedCaio:
    """The parent of all commands, which run one at a time; close it when done."""

    def __init__(self, streams: Path) -> None:
        self._streams = streams
        self._running = Lock()
        self._process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def run(
        self, arguments: Sequence[str], stdin: bytes, environment: Mapping[str, str], directory: Path
    ) -> tuple[int, bytes, bytes]:
        """The exit code, standard output and standard error of one command."""
        job = {"arguments": [*arguments], "environment": {**environment}, "directory": str(directory)}
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with self._running:
            (self._streams / "0").write_bytes(stdin)
            self._process.stdin.write(json.dumps({**job, "streams": str(self._streams)}) + "\n")
            self._process.stdin.flush()
            code = int(self._process.stdout.readline())
            return code, (self._streams / "1").read_bytes(), (self._streams / "2").read_bytes()

    def close(self) -> None:
        self._process.communicate(timeout=10)


def _serve() -> None:
    from importlib import import_module

    from caio.cli.main import main

    for name in PRELOADED:
        import_module(name)
    gc.freeze()  # a child that collects would copy the pages it shares
    for line in sys.stdin:
        job = json.loads(line)
        child = os.fork()
        if child == 0:
            _become(job)
            try:
                main()
            except SystemExit as ended:
                sys.stdout.flush()
                os._exit(int(ended.code or 0))  # tearing down the modules would take longer than the command
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


def _become(job: Mapping[str, Any]) -> None:
    fresh = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    for number, flags in enumerate((os.O_RDONLY, fresh, fresh)):
        descriptor = os.open(f"{job['streams']}/{number}", flags, 0o600)
        os.dup2(descriptor, number)
        os.close(descriptor)
    sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w", buffering=1)  # noqa: SIM115
    os.environ.clear()
    os.environ.update(job["environment"])
    os.chdir(job["directory"])
    sys.argv = ["caio", *job["arguments"]]


if __name__ == "__main__":
    _serve()
