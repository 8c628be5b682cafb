"""What admission's refusals say, alike for every adapter: what was full, by name, and when to come back.

A window is named ``minute`` for the tenant's requests, and otherwise by whose it is and what it counts:
``minute tokens``, ``key hour``, ``summarizer day compute_ms``, ``key concurrent``.
"""

from __future__ import annotations

from caio.foundation.errors import BudgetExhausted, LimitExceeded, NotReady
from caio.foundation.quantity import decimal_text
from caio.gateway.ports import Ask, Meter, ServiceBusy, Slots
from caio.tenancy.limits import Unit, Window

TENANT = "tenant"
KEY = "key:"
SERVICE = "service:"

#: What a window is called while what was admitted before is being looked up.
RECOVERING = "recovering"

_CONCURRENT = " concurrent"
_WORDS = {Unit.REQUESTS: "requests", Unit.TOKENS: "tokens", Unit.COMPUTE_MS: "milliseconds of compute"}


def is_service(subject: str) -> bool:
    """Whether another service may do when this subject has no room."""
    return subject.startswith(SERVICE)


def window_full(meter: Meter, window: Window, wait: int) -> ServiceBusy:
    """A window without room for ``wait`` microseconds. Raises LimitExceeded unless it is a service's."""
    name = " ".join(filter(None, (_short(meter.subject), window.name, _unit(meter.unit))))
    seconds = max(1, -(-wait // 1_000_000))
    if is_service(meter.subject):
        return ServiceBusy(name, window.limit, seconds)
    limit = f"limit of {window.limit} {_WORDS[meter.unit]} per {window.name}"
    if meter.amount > window.limit:
        message = f"the call may take {meter.amount}, more than {_whose(meter.subject)} {limit} ever allows"
    else:
        message = f"{_whose(meter.subject)} {limit} is reached"
    sure = wait if meter.unit is Unit.REQUESTS else None  # requests are never given back
    span = window.span // 1_000_000
    raise LimitExceeded(message, window=name, limit=window.limit, retry_after=seconds, span=span, wait=sure)


def slots_taken(slots: Slots) -> ServiceBusy:
    """As many calls at once as may be. Raises LimitExceeded unless they are a service's."""
    name = (_short(slots.subject) + _CONCURRENT).strip()
    if is_service(slots.subject):
        return ServiceBusy(name, slots.limit, 1)
    message = f"{_whose(slots.subject)} limit of {slots.limit} calls at once is reached"
    raise LimitExceeded(message, window=name, limit=slots.limit, retry_after=1)


def is_for_slots(busy: ServiceBusy) -> bool:
    """Whether a service is refused only until one of its calls ends."""
    return busy.window.endswith(_CONCURRENT)


def out_of_money(ask: Ask, available: int) -> BudgetExhausted:
    """The error for a call whose worst price the budget does not cover."""
    return BudgetExhausted(
        f"the call may cost {decimal_text(ask.price)}, and {decimal_text(available)} of the budget is left"
    )


def recovering(seconds: int) -> LimitExceeded:
    """The error while the windows count as full because what they held is not known yet."""
    message = "the tenant's limits are being rebuilt from the records; until then nothing is admitted"
    return LimitExceeded(message, window=RECOVERING, limit=0, retry_after=seconds)


def grant_ended() -> NotReady:
    """The error for moving a call that admission does not know any more."""
    return NotReady("this call's reservation has ended; send the request again", code="grant_ended")


def _unit(unit: Unit) -> str:
    return "" if unit is Unit.REQUESTS else unit.value


def _short(subject: str) -> str:
    return "" if subject == TENANT else "key" if subject.startswith(KEY) else subject.removeprefix(SERVICE)


def _whose(subject: str) -> str:
    return "the tenant's" if subject == TENANT else "the key's"
