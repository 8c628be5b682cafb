"""One run of the demonstration, from the first process to the last."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable
from decimal import Decimal
from pathlib import Path
from time import monotonic
from typing import Any

from caio.cli import output
from caio.cli.demonstration import offers, proofs, steps
from caio.cli.demonstration.examples import Examples
from caio.cli.demonstration.offers import Offer
from caio.cli.demonstration.processes import Children, DidNotStart
from caio.cli.demonstration.screen import Screen
from caio.cli.demonstration.stage import Stage, environment, free_port
from caio.cli.demonstration.story import Step
from caio.foundation.errors import Misconfigured

Tell = Callable[[Stage], Awaitable[Step]]


class Run:
    """Tells the story once, in ``data``. ``end`` must be called, whatever happened."""

    def __init__(self, data: Path, port: int, *, once: bool, as_json: bool, keep: bool) -> None:
        self._data = data
        self._port = free_port(port)
        self._once = once
        self._as_json = as_json
        self._keep = keep
        self._screen = Screen.standard(quiet=as_json)
        self._examples = Examples.find()
        self._environment = environment(tuple(offers.KEYS))
        logs = data / "logs"
        logs.mkdir()
        self._logs = logs
        self._children = Children(logs, self._environment)
        self._stage: Stage | None = None
        self._offers: list[Offer] = []
        self._steps: list[Step] = []
        self._invited = False

    async def tell(self) -> bool:
        """Start, ask, prove; whether every step held. Raises Misconfigured when something did not start."""
        started = monotonic()
        self._screen.title("CAIO", "routes AI requests by contract, and proves every decision")
        try:
            with self._screen.starting() as progress:
                stage = await Stage.set(self._data, self._port, self._examples, self._children, progress)
        except DidNotStart as error:
            raise Misconfigured(str(error), code="did_not_start") from error
        self._stage = stage
        self._screen.cast(list(stage.examples.promises.values()), self._opening(monotonic() - started))
        for tell in (*steps.STEPS, proofs.receipts, proofs.restart):
            with output.waiting(tell.__name__.replace("_", " ")):
                step = await _told(tell, stage)
            self._steps.append(step)
            self._screen.step(len(self._steps), step)
        self._offers = await offers.found_here(stage.examples)
        self._conclude(stage, monotonic() - started)
        return all(step.holds for step in self._steps)

    async def invite(self) -> None:
        """Offer the providers found here, then say how to go on."""
        stage = self._stage
        assert stage is not None  # noqa: S101 - the story has been told
        for offer in self._offers if self._asking else ():
            await self._offered(stage, offer)
        receipt = stage.acts[-1].decision_id if stage.verified else None
        self._screen.invitation(stage.caio.url, stage.caio.api_key, self._data, receipt, keep=self._keeping)
        self._invited = True

    async def end(self) -> None:
        """Stop every process that was started."""
        if self._stage is not None:
            await self._stage.caio.close()
        await self._children.stop()
        if self._invited:
            self._screen.farewell(self._data, keep=self._keeping)

    @property
    def _keeping(self) -> bool:
        """Whether the data outlives the run: it was asked to, or somebody will want to look."""
        return self._keep or any(not step.holds for step in self._steps)

    @property
    def _asking(self) -> bool:
        """Whether there is somebody to ask."""
        return not self._once and self._screen.interactive and sys.stdin.isatty()

    def _opening(self, seconds: float) -> list[str]:
        assert self._stage is not None  # noqa: S101 - the stage has been set
        policies = len(self._examples.policies())
        return [
            f"CAIO and {len(self._stage.services)} services run in processes of their own, ready in {seconds:.1f} s.",
            f"Registered by contract, {policies} policies saved, key {', '.join(self._stage.pinned)} pinned.",
        ]

    def _conclude(self, stage: Stage, seconds: float) -> None:
        failed = [step for step in self._steps if not step.holds]
        if self._as_json:
            output.print_json(self._document(stage, seconds))
            return
        self._screen.totals(_by_service(stage), self._summary(stage, seconds))
        self._screen.verdict(failed, len(self._steps))
        if failed:
            self._screen.say(f"  what the processes said: {self._logs}", f"  receipts: {stage.receipts}")
        for offer in () if self._asking else self._offers:
            self._screen.offer(offer)

    def _summary(self, stage: Stage, seconds: float) -> str:
        charged = sum((act.charged for act in stage.acts), Decimal(0))
        return " · ".join(
            (
                f"{len(stage.acts)} decisions",
                f"{len(stage.services)} services",
                f"{charged:f} {stage.currency} charged",
                f"{stage.verified} of {len(stage.acts)} receipts verified",
                f"{seconds:.1f} s",
            )
        )

    def _document(self, stage: Stage, seconds: float) -> dict[str, Any]:
        charged = sum((act.charged for act in stage.acts), Decimal(0))
        return {
            "holds": all(step.holds for step in self._steps),
            "failed": [step.name for step in self._steps if not step.holds],
            **({} if self._once else {"url": stage.caio.url, "api_key": stage.caio.api_key}),
            "data": str(self._data),
            "offers": [offer.provider for offer in self._offers],
            "totals": {
                "decisions": len(stage.acts),
                "services": len(stage.services),
                "charged": f"{charged:f}",
                "currency": stage.currency,
                "receipts_verified": stage.verified,
                "seconds": round(seconds, 3),
            },
            "steps": [step.document() for step in self._steps],
        }

    async def _offered(self, stage: Stage, offer: Offer) -> None:
        price = " Its answers cost money." if offer.variable else ""
        self._screen.ask(f"{offer.found}. Add {offer.provider} to this run?{price}")
        if await _line() in ("y", "yes"):
            await offer.add(stage.caio, stage.installation, self._environment)
            self._screen.say(f"  {offer.provider} is registered: ask with model “{offer.provider}”.")


async def _told(tell: Tell, stage: Stage) -> Step:
    started = monotonic()
    try:
        step = await tell(stage)
    except Exception as error:  # noqa: BLE001 - a step that breaks has failed; the others are told all the same
        step = steps.broken(tell, error)
    step.seconds = monotonic() - started
    return step


def _by_service(stage: Stage) -> list[tuple[str, ...]]:
    """What each service did over the run: answers released, faults, broken promises, money."""
    answered: Counter[str] = Counter()
    failed: Counter[str] = Counter()
    broke: Counter[str] = Counter()
    charged: defaultdict[str, Decimal] = defaultdict(Decimal)
    for act in stage.acts:
        if act.answered_by is not None:
            answered[act.answered_by] += 1
            charged[act.answered_by] += act.charged
        for each in act.outcome.attempts if act.outcome else ():
            failed[each.service] += isinstance(each.fault, str)
            broke[each.service] += bool(each.violations)
    return [
        (name, str(answered[name]), str(failed[name]), str(broke[name]), f"{charged[name]:f}")
        for name in stage.services
    ]


async def _line() -> str:
    """A line from the terminal, without keeping the loop from its signals."""
    loop = asyncio.get_running_loop()
    typed = asyncio.Event()
    loop.add_reader(sys.stdin, typed.set)
    try:
        await typed.wait()
        return sys.stdin.readline().strip().lower()
    finally:
        loop.remove_reader(sys.stdin)
