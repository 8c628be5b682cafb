"""The laws of admission over whole histories, against an exact log of every unit and every sum of money.

- never_more_than_the_limit: no rolling window of any subject ever holds more than its limit, however calls are
  moved and settled; nor are there more calls at once, or more money reserved and spent than the budget.
- nothing_is_refused_below_98_percent: a refusal names what is filled to 98 percent with what was asked for.
- the_ledger_sums_to_zero, after every step; charged never exceeds reserved.
- a_restart_lends_nothing: an adapter that knows the durable records alone keeps to the same limits. What was
  topped up by a move may count for longer.
"""

import asyncio
from random import Random

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from caio.foundation.errors import BudgetExhausted, LimitExceeded
from caio.gateway.ports import Actual, Grant, ServiceBusy, Slots
from caio.tenancy.rate_limit import MINUTE
from tests.support.admissions import NOW, Model, Records, ask, compute, requests, tokens

# Without shrinking: a history is as telling at any seed, and hunting for a smaller one takes minutes.
histories = settings(max_examples=15, phases=[Phase.explicit, Phase.reuse, Phase.generate], deadline=None)
seeds = st.integers(0, 2**32)

KEYS = ("key_1", "key_2")
SERVICES = ("a", "b", "c")


class World:
    """Limits drawn once, and asks that state them."""

    def __init__(self, rng: Random) -> None:
        self.rng = rng
        self.largest = rng.choice((3, 30, 400))
        some = rng.choice((5, 12, 40, 250))
        self.requests = {"minute": some, "hour": 4 * some}
        self.tokens = {"minute": some * self.largest // 3 + self.largest, "day": 20 * some * self.largest}
        self.key_tokens = {"minute": some * self.largest // 5 + self.largest}
        self.compute = {"hour": some * 2_000}
        self.budget = rng.choice((None, 60, 3_000))
        self.slots = rng.choice((3, 10))

    def ask(self, grant="", key=None, service=None):
        rng = self.rng
        key, service = key or rng.choice(KEYS), service or rng.choice(SERVICES)
        worst = rng.choice((0, 1, self.largest // 2, self.largest))
        meters = (
            requests("tenant", **self.requests),
            tokens("tenant", worst, **self.tokens),
            tokens(f"key:{key}", worst, **self.key_tokens),
            requests(f"service:{service}", minute=1 + self.requests["minute"] // 2),
            compute(f"service:{service}", rng.randint(1, 1_000), **self.compute),
        )
        slots = (Slots(f"key:{key}", 2 * self.slots), Slots(f"service:{service}", self.slots))
        price = rng.choice((0, 1, 7, 40))
        return ask(service, *meters, price=price, key=key, grant=grant, budget=self.budget, slots=slots)

    def actual(self, grant):
        rng, price = self.rng, grant.ask.price
        return Actual(
            rng.choice((0, price, rng.randint(0, price))), rng.randint(0, self.largest), rng.randint(0, 1_000)
        )


async def tried(step, model, asked, now, before, *, exact):
    """Do a step, and hold its answer to the exact log; a refusal only where the adapter's own can be ``exact``."""
    over, near = model.lacks(asked, now, 1.0, before), model.lacks(asked, now, 0.98 if exact else -1.0, before)
    try:
        answer = await step
    except LimitExceeded:
        answer = [each for each in near if not each.startswith("service") and each != "money"]
    except BudgetExhausted:
        answer = [each for each in over if each == "money"]
    if isinstance(answer, ServiceBusy):
        answer = [each for each in near if each.startswith("service")]
    assert answer, "refused below 98 percent"
    assert not isinstance(answer, Grant) or not over, over
    return answer if isinstance(answer, Grant) else None


async def history(opening, rng, steps, restarts):
    world, model, now, refusals = World(rng), Model(), NOW, 0
    for life in range(1 + restarts):
        records, running = model.restart() if life else Records(), []
        async with opening(records) as box:
            for _ in range(steps):
                if rng.random() < 0.25:
                    now += rng.choice((1, 1_000, 400_000, MINUTE // 15, MINUTE - 1, MINUTE))
                chance = rng.random()
                if chance < 0.55:
                    asked = world.ask()
                    grant = await tried(box.admission.admit(asked, now), model, asked, now, None, exact=not life)
                    if grant is not None:
                        model.admit(asked, now)
                        running.append(grant)
                    refusals += grant is None
                elif running and chance < 0.7:
                    place = rng.randrange(len(running))
                    before = model.running[running[place].grant_id]
                    asked = world.ask(before.ask.grant_id, before.ask.principal_id)
                    grant = await tried(
                        box.admission.move(running[place], asked, now), model, asked, now, before, exact=not life
                    )
                    if grant is not None:
                        model.move(asked, now)
                        running[place] = grant
                elif running:
                    grant = running.pop(rng.randrange(len(running)))
                    actual = world.actual(grant)
                    for _ in range(rng.choice((1, 1, 2))):
                        await box.admission.settle(grant, actual)
                    model.settle(grant.grant_id, actual)
            ledger = await box.books(world.ask())
            assert (ledger.sum, ledger.reserved, ledger.spent) == (0, model.reserved, model.spent)
            assert world.budget is None or ledger.reserved + ledger.spent <= world.budget
    return refusals


@histories
@given(seed=seeds)
def test_never_more_than_the_limit_and_nothing_is_refused_below_98_percent(opening, seed):
    asyncio.run(history(opening, Random(seed), 350, 0))


@histories
@given(seed=seeds)
def test_a_restart_lends_nothing(opening, seed):
    asyncio.run(history(opening, Random(seed), 120, 3))


@pytest.mark.parametrize("seed", range(3))
def test_these_histories_meet_refusals(opening, seed):
    assert asyncio.run(history(opening, Random(seed), 300, 0)) > 20
