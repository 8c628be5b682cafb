"""Starting `caio serve` for a benchmark, and what a benchmark asks of it before it measures."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

#: More than any benchmark asks for, so that limits are counted and never reached.
UNREACHED = {"per_minute": 10**9, "per_hour": 10**9, "per_day": 10**9}


@dataclass(frozen=True, slots=True)
class Served:
    """A running server: where it answers, a key (empty when it made none at this start), its process id."""

    url: str
    api_key: str
    pid: int

    def ask(self, path: str, document: object = None) -> Any:
        """What the server answers to a GET, or to a POST of the document; raises HTTPError."""
        body = None if document is None else json.dumps(document).encode()
        request = urllib.request.Request(self.url + path, body)
        request.add_header("Authorization", f"Bearer {self.api_key}")
        with urllib.request.urlopen(request) as answer:
            return json.loads(answer.read())

    def tenant(self, name: str, quotas: dict[str, Any] | None = None) -> Served:
        """The server as the admin of a new tenant sees it; its limits are far away unless others are given."""
        wish = {"tenant_id": name, "name": name, "quotas": quotas or UNREACHED, "invite": {}}
        invited = replace(self, api_key=self.ask("/api/v1/tenants", wish)["invitation"]["token"])
        return replace(self, api_key=str(invited.ask("/api/v1/invitations/accept", {"name": "load"})["token"]))


@contextmanager
def serve(data_dir: Path, *, program: Sequence[str] = ("-m", "caio"), **settings: str) -> Iterator[Served]:
    """Run ``caio serve`` on ``data_dir`` and a free port until the block ends; ``settings`` by their names."""
    command = [sys.executable, *program, "serve", "--json", "--port", "0"]
    command += ["--data-dir", str(data_dir), "--allow-private", "127.0.0.0/8"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CAIO_")}
    environment |= {f"CAIO_{name.upper()}": value for name, value in settings.items()}
    with (data_dir / "server.log").open("ab") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, env=environment)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        ready = json.loads(line or "{}")
        if "url" not in ready:
            raise RuntimeError(f"caio serve did not start: {line!r} {(data_dir / 'server.log').read_text()}")
        yield Served(ready["url"], ready.get("api_key") or "", process.pid)
    finally:
        process.terminate()
        process.communicate(timeout=30)
