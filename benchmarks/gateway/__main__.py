"""The gateway: the direct call, a bare relay, CAIO and its peers, taking turns in one run.

CAIO runs as users run it: authentication, limits, the decision over ten services and twenty policies for requests
of which no two are the same, both journal entries durable (SQLite with synchronous=FULL; PostgreSQL with fsync),
metering, a log line a request. ``--quick`` takes less than a minute: fewer and shorter turns, no PostgreSQL, no peers.
"""

from __future__ import annotations

import signal
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from benchmarks.frame import Report
from benchmarks.gateway import peers, world
from benchmarks.gateway.exactness import exactness
from benchmarks.gateway.held import MOST_TOKENS, Held, hold
from benchmarks.gateway.load import Target
from benchmarks.gateway.memory import Memory
from benchmarks.gateway.processes import module, resident_mb
from benchmarks.gateway.sides import Side, take_turns
from benchmarks.postgres import postgres
from benchmarks.server import Served, serve

DIRECT, RELAY, NATIVE, POSTGRES = "direct call", "floor: bare relay", "CAIO, native", "CAIO, native, PostgreSQL"
CHAT_RELAY, CHAT, STREAM = "floor: bare relay, chat", "CAIO, chat", "CAIO, chat, streamed"
FLOOR_BAR = 45
PEER_BARS = {"LiteLLM": 25.0, "Portkey": 2.0}
IDLE_SECONDS = 2.0


class Run:
    """One run: what is started for it, the sides, and the report."""

    def __init__(self, running: ExitStack, folder: Path, quick: bool) -> None:
        self.report = Report("gateway")
        self._running, self._folder, self._quick = running, folder, quick
        self._upstream = running.enter_context(module("benchmarks.gateway.upstream"))
        self._relay = running.enter_context(module("benchmarks.gateway.relay", str(self._upstream.port)))
        self._sides: dict[str, Side] = {}
        self._memory: Memory | None = None

    def whole(self) -> None:
        served = self._served("sqlite")
        time.sleep(IDLE_SECONDS)
        self.report.at_most("CAIO: resident when idle", resident_mb(served.pid), "MB", bar=150)
        tenant = self._furnished(served)
        self._memory = Memory(served.pid)
        self._add_floor()
        self._add_caio(tenant)
        if self._quick:
            for measure in ("CAIO on PostgreSQL", *peers.PEERS, "several processes"):
                self.report.leave_out(measure, "--quick leaves it out")
        else:
            self._add_postgres()
            self._add_peers()
        self._take_turns()
        self._state_rates()
        self._state_latencies()
        self._hold_streams(tenant)
        self._memory.state(self.report)
        if not self._quick:
            exactness(self.report)

    def _served(self, name: str, **settings: str) -> Served:
        folder = self._folder / name
        folder.mkdir()
        return self._running.enter_context(serve(folder, **settings))

    def _furnished(self, served: Served) -> Served:
        tenant = served.tenant("bench")
        world.furnish(tenant, self._upstream.url)
        return tenant

    def _add(self, name: str, target: Target, pid: int) -> None:
        self._sides[name] = Side(name, target, pid)

    def _add_floor(self) -> None:
        payloads = world.sorts(world.payload)
        self._add(DIRECT, Target(self._upstream.url, "/classify", payloads), self._upstream.pid)
        self._add(RELAY, Target(self._relay.url, "/classify", payloads), self._relay.pid)
        plain = world.sorts(world.chat, "mock", wishes=False)
        self._add(CHAT_RELAY, Target(self._relay.url, world.CHAT, plain), self._relay.pid)

    def _add_caio(self, tenant: Served) -> None:
        surfaces = {
            NATIVE: (world.NATIVE, world.sorts(world.native)),
            CHAT: (world.CHAT, world.sorts(world.chat)),
            STREAM: (world.CHAT, world.sorts(world.chat, stream=True)),
        }
        for name, (path, templates) in surfaces.items():
            self._add(name, Target(tenant.url, path, templates, tenant.api_key), tenant.pid)

    def _add_postgres(self) -> None:
        served = self._served("postgresql", database_url=self._running.enter_context(postgres()))
        tenant = self._furnished(served)
        self._add(POSTGRES, Target(tenant.url, world.NATIVE, world.sorts(world.native), tenant.api_key), served.pid)

    def _add_peers(self) -> None:
        """Each peer that can be had, whole answers and streams; one that cannot be is told of."""
        for name, start in peers.PEERS.items():
            try:
                peer = self._running.enter_context(start(self._upstream.url, self._folder))
            except peers.Unavailable as why:
                self.report.leave_out(name, str(why))
                continue
            for side, more in ((name, {}), (f"{name}, streamed", {"stream": True})):
                templates = world.sorts(world.chat, "mock", wishes=False, **more)
                self._add(side, Target(peer.url, world.CHAT, templates, headers=peer.headers), peer.pid)

    def _take_turns(self) -> None:
        for name, side in list(self._sides.items()):
            try:
                side.warm_up()
            except RuntimeError as why:
                if name in self._caio():
                    raise
                self.report.leave_out(name, str(why))  # a peer that fails is not compared
                del self._sides[name]
        rounds, seconds = (3, 0.5) if self._quick else (5, 2.0)
        crowd = [*self._sides.values()]
        single = [self._sides[name] for name in (DIRECT, RELAY, NATIVE, POSTGRES, CHAT) if name in self._sides]
        for turn in range(rounds):
            take_turns(crowd, turn, seconds, after=self._note_memory)
            take_turns(single, turn, seconds, single=True, after=self._note_memory)

    def _caio(self) -> list[str]:
        return [name for name in (NATIVE, CHAT, STREAM) if name in self._sides]

    def _note_memory(self) -> None:
        assert self._memory is not None
        self._memory.note(sum(self._sides[name].answered for name in self._caio()))

    def _state_rates(self) -> None:
        for name, side in self._sides.items():
            self.report.note(f"{name}: throughput, 16 connections", side.rate, "calls/s")
        for name, side in self._sides.items():
            self.report.note(f"{name}: processor", side.cost, "µs a call")
        caio = [side for name, side in self._sides.items() if name.startswith("CAIO")]
        failed, answered = sum(side.failed for side in caio), sum(side.answered for side in caio)
        self.report.at_most("CAIO: calls not answered 200", 100 * failed / (failed + answered), "% of the calls", bar=0)
        for name, floor in ((NATIVE, RELAY), (CHAT, CHAT_RELAY)):
            mine, its = self._sides[name], self._sides[floor]
            unit = "% of the floor"
            self.report.at_least(f"{name}: throughput", 100 * mine.rate_to(its), unit, bar=FLOOR_BAR)
            self.report.at_least(f"{name}: calls a processor second", 100 * mine.cost_to(its), unit, bar=FLOOR_BAR)
        for peer, bar in PEER_BARS.items():
            if peer in self._sides:
                mine, its = self._sides[CHAT], self._sides[peer]
                self.report.at_least(f"{CHAT} / {peer}: throughput", mine.rate_to(its), "times", bar=bar)
                self.report.at_least(f"{CHAT} / {peer}: calls a processor second", mine.cost_to(its), "times", bar=bar)

    def _state_latencies(self) -> None:
        bars = {(NATIVE, 50): 0.7, (NATIVE, 99): 2.0, (POSTGRES, 50): 1.2}
        for name in (RELAY, NATIVE, CHAT, POSTGRES):
            for percent in (50, 99) if name in self._sides else ():
                added = self._sides[name].added(percent, self._sides[DIRECT])
                measure = f"{name}: added to the direct call, p{percent}"
                if added is None:
                    self.report.leave_out(measure, "hardly a call was answered in a turn")
                    continue
                stated = (measure, added, "ms")
                bar = bars.get((name, percent))
                self.report.note(*stated) if bar is None else self.report.at_most(*stated, bar=bar)

    def _hold_streams(self, tenant: Served) -> None:
        streams, seconds = (50, 2.0) if self._quick else (1_000, 5.0)
        service, watched = self._upstream.url, {"server": tenant.pid, "service": self._upstream.pid}
        plain = Target(service, world.CHAT, [world.held("mock", MOST_TOKENS, wishes=False)])
        wishing = Target(tenant.url, world.CHAT, [world.held("auto:chat", MOST_TOKENS, wishes=True)], tenant.api_key)
        direct, through = (hold(target, streams, seconds, service, watched) for target in (plain, wishing))
        self._state_streams(through, direct)

    def _state_streams(self, held: Held, direct: Held) -> None:
        of = f"{held.wanted:,} streams"
        self.report.at_least(f"{of}: held at once", held.at_once, "streams", bar=held.wanted)
        self.report.at_least(f"{of}: complete, every token in its order", held.ended, "streams", bar=held.wanted)
        self.report.note(f"{of}: between tokens, direct, p99", direct.gap(99), "ms")
        self.report.note(f"{of}: between tokens, p50", held.gap(50), "ms")
        self.report.at_most(f"{of}: between tokens, added, p99", held.gap(99) - direct.gap(99), "ms", bar=20)
        self.report.note(f"{of}: a token's way, added, p99", held.way(99) - direct.way(99), "ms")
        self.report.note(f"{of}: opened in", held.opening_seconds, "s")
        self.report.note(f"{of}: refused and asked for again", held.refused, "calls")
        self.report.note(f"{of}: processor a token, the server", held.costs["server"], "µs")


def main(quick: bool) -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # whoever ends this ends what it has started
    with tempfile.TemporaryDirectory() as folder, ExitStack() as running:
        run = Run(running, Path(folder), quick)
        run.whole()
    return run.report.finish()


if __name__ == "__main__":
    raise SystemExit(main(quick="--quick" in sys.argv))
