"""Stage 1, match: does a contract promise what the request needs?

Each clause is one comparison over the columns of those services that passed the clauses before, in
the order of ``docs/reference/routing-rules.md``. Laws: law 5 of DESIGN (a bound is met by the same
or a stronger statistic only) and correctness (the winner passes every clause).

All quantities are integers of 64 bits, which every contract's and request's fit. A price is the one
sum that may not: where it might not, it is computed in Python's own integers (``Tariff``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from caio.foundation.canonical import MAX_INTEGER
from caio.foundation.money import MILLIS_PER_SECOND, PICO_PER_NANO
from caio.routing.columns import UNLIMITED, Columns, Numbers, Offerings, Rows
from caio.routing.model import STRENGTH, Request
from caio.routing.questions import Questions
from caio.routing.sieve import Sieve

if TYPE_CHECKING:
    from caio.routing.bits import FewSieve, Field, Offered

#: Below this a sum of pico-units times milliseconds is exact in 64 bits, rounding up included.
_EXACT = 2**62
_ROUNDING = PICO_PER_NANO * MILLIS_PER_SECOND
#: Columns of tightest bounds that are kept beside the columns they follow from: in values, of all together, and in
#: number: the bounds' names are the callers', and of few services each column is little but what holds it.
_KEPT_VALUES = 2_000_000
_FEWEST_COLUMNS, _MOST_COLUMNS = 8, 256


@dataclass(frozen=True, slots=True)
class Needs:
    """A request prepared once, so that each service is only compared."""

    request: Request
    bounds: tuple[tuple[str, int], ...]
    features: tuple[str, ...]

    @classmethod
    def of(cls, request: Request) -> Needs:
        bounds: dict[str, int] = {}
        for stated, value in request.bounds:
            name = as_evaluated(stated, request.stream)
            tighter = max if name.endswith(".min") else min
            bounds[name] = tighter(value, bounds.get(name, value))
        features = request.features | {"streaming"} if request.stream else request.features
        return cls(request, tuple(sorted(bounds.items())), tuple(sorted(features)))


def price_limit(request: Request) -> int:
    """The largest price that clause ``cost`` lets pass, in nano-units."""
    return MAX_INTEGER if request.max_cost is None else min(request.max_cost, MAX_INTEGER)


def as_evaluated(bound: str, stream: bool) -> str:
    """The bound's name as it is compared: a stream's latency is its time to the first token."""
    return f"first_token_ms.{bound[11:]}" if stream and bound.startswith("latency_ms.") else bound


@lru_cache(maxsize=1024)  # the names are the callers'
def qualifying(name: str) -> tuple[tuple[str, str], ...]:
    """The bounds that may serve ``name``, weakest statistic first: (bound, statistic)."""
    prefix, statistic = name.rsplit(".", 1)
    usable = STRENGTH[STRENGTH.index(statistic) :] if statistic in STRENGTH else (statistic,)
    return tuple((f"{prefix}.{each}", each) for each in usable)


def undeclared(bound: str) -> int:
    """What stands for an undeclared value of ``bound`` in a column: it meets nothing."""
    return -UNLIMITED if bound.endswith(".min") else UNLIMITED


def tightest(columns: Columns, bound: str) -> Numbers:
    """For every row the tightest offered value that may serve ``bound``, in nanos, or ``undeclared``."""
    found = columns.derived.get(bound)
    if found is None:
        found = np.full(columns.rows.size, undeclared(bound), np.int64)
        for candidate, _ in qualifying(bound):
            if (promises := columns.bounds.get(candidate)) is not None:
                lower = candidate.endswith(".min")
                found[promises.rows] = promises.values if lower else np.minimum(found[promises.rows], promises.values)
        if len(columns.derived) >= max(_FEWEST_COLUMNS, min(_MOST_COLUMNS, _KEPT_VALUES // max(1, found.size))):
            columns.derived.clear()
        columns.derived[bound] = found
    return found


def match(
    sieve: Sieve | FewSieve, columns: Columns | Field, needs: Needs, asked: Questions, offered: Callable[[str], Any]
) -> None:
    """Ask the questions of this stage, but for the last: what a call may cost. ``offered`` is ``tightest`` of the
    columns."""
    request = needs.request
    if request.services:
        sieve.keep(asked["services"], columns.addressed(request.services, sieve.rows))
    if request.excluded_services:
        sieve.keep(asked["excluded_services"], ~columns.addressed(request.excluded_services, sieve.rows))
    for place, wanted in enumerate(request.capabilities):
        sieve.keep_only(asked["capability"] + place, columns.offering(wanted))
    if sieve.is_empty:
        return
    if request.protocols:
        sieve.keep(asked["protocol"], columns.dense.protocol.within(request.protocols, sieve.rows))
    _within_limits(sieve, [columns.capabilities[wanted] for wanted in request.capabilities], needs, asked)
    for place, (name, required) in enumerate(needs.bounds):
        bound = offered(name)[sieve.rows]
        sieve.keep(asked["guarantee"] + place, bound >= required if name.endswith(".min") else bound <= required)
    accepted = columns.dense.currency.within({request.currency}, sieve.rows)
    sieve.keep(asked["currency"], accepted | columns.dense.free[sieve.rows])


def _within_limits(
    sieve: Sieve | FewSieve, wanted: Sequence[Offerings | Offered], needs: Needs, asked: Questions
) -> None:
    request, number = needs.request, asked["feature"]
    for offering in wanted:
        for feature in needs.features:
            sieve.keep(number, offering.features.holds(feature, offering.at(sieve.rows)))
            number += 1
    if request.context_length is not None:
        for place, offering in enumerate(wanted):
            limit = offering.context_length[offering.at(sieve.rows)]
            sieve.keep(asked["context_length"] + place, limit >= request.context_length)
    if request.max_tokens is not None:
        for place, offering in enumerate(wanted):
            limit = offering.output_limit[offering.at(sieve.rows)]
            sieve.keep(asked["max_tokens"] + place, limit >= request.max_tokens)
    for place, offering in enumerate(wanted):
        if offering.least_input < request.input_bytes:
            limit = offering.input_limit[offering.at(sieve.rows)]
            sieve.keep(asked["input_size"] + place, limit >= request.input_bytes)


@dataclass(frozen=True, slots=True)
class Tariff:
    """What calls of some services can cost, for requests that differ only in their size and deadline.

    In pico-units times milliseconds: ``fixed`` for a call and its longest answer, ``token_in`` for a
    token of input, ``second`` for a millisecond. ``dearest`` are the greatest of the three.
    """

    fixed: NDArray[Any]
    token_in: Numbers
    second: Numbers
    timeout_ms: Numbers
    dearest: tuple[int, int, int]

    @classmethod
    def of(cls, rows: Rows, columns: Columns, request: Request) -> Self:
        dense = columns.dense
        output = _output_limits(rows, columns, request)
        call, token_in, token_out, second = columns.dearest
        tokens = output if isinstance(output, int) else int(output.max(initial=0))
        calls, answers = dense.per_request[rows], dense.per_output_token[rows]
        if (call + token_out * tokens) * MILLIS_PER_SECOND >= _EXACT:
            calls, answers = calls.astype(object), answers.astype(object)
        fixed: NDArray[Any] = (calls + answers * output) * MILLIS_PER_SECOND
        most = int(fixed.max(initial=0))
        given = (most, token_in * MILLIS_PER_SECOND, second)
        return cls(
            fixed if most >= _EXACT else fixed.astype(np.int64),
            dense.per_input_token[rows],
            dense.per_second[rows],
            dense.timeout_ms[rows],
            given,
        )

    def worst(self, input_bytes: int, deadline_ms: int) -> Numbers:
        """The most that one call of each service can cost, in nano-units, rounded up: every input byte
        a token, every limit reached. What is above MAX_INTEGER, which no request accepts, is
        MAX_INTEGER + 1."""
        call, token_in, second = self.dearest
        parts: Sequence[NDArray[Any]] = (self.fixed, self.token_in, self.second)
        exact = call + token_in * input_bytes + second * deadline_ms < _EXACT
        if not exact:
            parts = [part.astype(object) for part in parts]
        total = parts[0] + parts[1] * (input_bytes * MILLIS_PER_SECOND)
        if second:
            total = total + parts[2] * np.minimum(self.timeout_ms, deadline_ms)
        prices: NDArray[Any] = (total + (_ROUNDING - 1)) // _ROUNDING
        return prices if exact else np.minimum(prices, MAX_INTEGER + 1).astype(np.int64)


def _output_limits(rows: Rows, columns: Columns, request: Request) -> Numbers | int:
    """Tokens that the answers may have together, of each of ``rows`` or of all of them."""
    if request.max_tokens is not None:
        return request.max_tokens * request.answers
    most: Numbers | int = 0
    for wanted in request.capabilities if rows.size else ():
        offering = columns.capabilities[wanted]
        most = np.maximum(most, offering.output_limit[offering.at(rows)])
    return most * request.answers
