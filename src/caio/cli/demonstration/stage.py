"""What the demonstration plays on: CAIO on a fresh directory, the example services, and one client.

Everything goes over HTTP, as it would for any user: contracts are registered with the addresses at
which their services really listen, policies are saved, the verification keys are pinned before the
first decision.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from time import monotonic
from typing import Any

import msgspec

from caio.audit.shapes import Outcome
from caio.audit.signing import read_key_set
from caio.cli import files
from caio.cli.demonstration.api import Caio, Reply, Unexpected
from caio.cli.demonstration.examples import Examples
from caio.cli.demonstration.processes import Child, Children, DidNotStart
from caio.cli.demonstration.story import SCALE, Act, Candidate
from caio.foundation.errors import Reason
from caio.foundation.quantity import NANO

SERVER = "caio"
ORCHESTRATE = "/api/v1/orchestrate"

#: Told of each child: its name and, once it is ready, how long that took.
Progress = Callable[[str, float | None], None]


@dataclass(slots=True)
class Stage:
    """A running CAIO with its services.

    ``acts`` collects every request of the run, in order; ``verified`` counts their proved receipts.
    """

    data: Path
    port: int
    examples: Examples
    children: Children
    caio: Caio
    pinned: dict[str, bytes]
    services: dict[str, Child]
    acts: list[Act] = field(default_factory=list)
    verified: int = 0

    @property
    def installation(self) -> Path:
        """CAIO's own data directory."""
        return _installation(self.data)

    @property
    def receipts(self) -> Path:
        return self.data / "receipts"

    def receipt_of(self, decision_id: str) -> Path:
        return self.receipts / f"{decision_id}.receipt.json"

    def evidence_of(self, decision_id: str) -> Path:
        return self.receipts / f"{decision_id}.evidence.json"

    @property
    def currency(self) -> str:
        """What answers are charged in; empty while nothing was."""
        return next((act.answer["cost"]["currency"] for act in self.acts if "cost" in act.answer), "")

    @classmethod
    async def set(cls, data: Path, port: int, examples: Examples, children: Children, progress: Progress) -> Stage:
        """Start everything in parallel, register and pin; raises DidNotStart or Unexpected."""
        names = [SERVER, *examples.promises]
        for name in names:
            progress(name, None)
        tasks = [
            asyncio.ensure_future(_started(children, name, _command(data, port, examples, name), progress))
            for name in names
        ]
        try:
            server, *services = await asyncio.gather(*tasks)
        except BaseException:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            raise
        caio = Caio(server.url, str(server.ready["api_key"]))
        try:
            key_set = await caio.get("/.well-known/caio-keys.json")
            stage = cls(
                data, port, examples, children, caio, read_key_set(key_set), {each.name: each for each in services}
            )
            stage.receipts.mkdir()
            files.write_json(stage.receipts / "keys.json", key_set)
            await stage._register()
        except BaseException:
            await caio.close()
            raise
        return stage

    async def restart_server(self) -> float:
        """Start CAIO again on the same directory; seconds until it was ready."""
        command = _command(self.data, self.port, self.examples, SERVER)
        return (await self.children.start(SERVER, command)).seconds

    async def restart_service(self, name: str) -> None:
        """Start a service again where it was registered."""
        port = self.services[name].url.rpartition(":")[2]
        command = [sys.executable, str(self.examples.script(name)), "--port", port]
        self.services[name] = await self.children.start(name, command)

    async def orchestrate(self, body: Mapping[str, Any]) -> Act:
        """Ask for an answer, having asked who could give one and why the others could not."""
        found = await self.caio.ask("/api/v1/discover", body)
        started = monotonic()
        reply = await self.caio.post(ORCHESTRATE, dict(body))
        output = reply.body.get("output") if reply.status == 200 else None
        reasons = reply.body.get("reasons", found["excluded"])
        return await self.record(body, reply, output, reasons, monotonic() - started)

    async def record(self, body: Mapping[str, Any], reply: Reply, output: Any, reasons: Any, seconds: float) -> Act:
        """What came of a request, from its answer and its receipt. Raises Unexpected without a decision."""
        decision_id = reply.headers.get("x-caio-decision-id")
        if decision_id is None:
            raise Unexpected(f"answered {reply.status} without a decision: {reply.body}")
        receipt = await self.caio.get(f"/api/v1/decisions/{decision_id}/receipt")
        act = Act(
            request=body,
            status=reply.status,
            decision_id=decision_id,
            output=output,
            answer=reply.body,
            ranked=tuple(
                Candidate(service, score / SCALE, Decimal(price) / NANO)
                for service, _, score, price in receipt["decision"]["payload"]["certificate"]["ranked"]
            ),
            reasons=tuple(msgspec.convert(reasons, list[Reason])),
            outcome=msgspec.convert(receipt["outcome"]["payload"], Outcome) if receipt["outcome"] else None,
            seconds=seconds,
        )
        self.acts.append(act)
        return act

    async def _register(self) -> None:
        for name, child in self.services.items():
            await self.caio.create("/api/v1/services", self.examples.promises[name].at(child.url))
        for policy in self.examples.policies():
            await self.caio.create("/api/v1/policies", policy)


def free_port(wanted: int) -> int:
    """``wanted`` if nobody listens there, else a free port of 127.0.0.1."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", wanted))
        except OSError:
            probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def environment(private: tuple[str, ...]) -> dict[str, str]:
    """What children see: not this user's CAIO settings, which could point at real data, and no ``private`` keys."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CAIO_") and name not in private}
    # One thread for the small matrices of each: several services share few cores here.
    return {**kept, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "PYTHONUTF8": "1"}


async def _started(children: Children, name: str, command: list[str], progress: Progress) -> Child:
    child = await children.start(name, command)
    if name == SERVER and not child.ready.get("api_key"):
        raise DidNotStart("CAIO gave no API key: the data directory is not fresh")
    progress(name, child.seconds)
    return child


def _command(data: Path, port: int, examples: Examples, name: str) -> list[str]:
    if name != SERVER:
        return [sys.executable, str(examples.script(name)), "--port", "0"]
    serve = ["serve", "--json", "--port", str(port), "--data-dir", str(_installation(data))]
    return [sys.executable, "-m", "caio", *serve, "--allow-private", "127.0.0.0/8"]


def _installation(data: Path) -> Path:
    return data / "server"
