"""What may be used, and how fast: limits of a tenant, a key or member, or one of a tenant's services.

A limit that is None does not exist. Windows are rolling (``rate_limit``); tokens are input and output
together and, like compute, are taken at the worst case before a call and settled at what it used.
Compute is the time that services worked for a call, in seconds here and milliseconds where it is counted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any

from caio.foundation.errors import InvalidInput, Violation
from caio.tenancy.rate_limit import DAY, HOUR, MINUTE

#: The largest limit there is: what a JSON number and a database column hold exactly.
MOST = 2**53 - 1


class Unit(StrEnum):
    """What is counted."""

    REQUESTS = "requests"
    TOKENS = "tokens"
    COMPUTE_MS = "compute_ms"


@dataclass(frozen=True, slots=True)
class Window:
    """At most ``limit`` of a unit in any ``span`` microseconds; ``name`` is minute, hour or day."""

    name: str
    limit: int
    span: int


_SPANS = (("minute", MINUTE), ("hour", HOUR), ("day", DAY))


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one subject; each positive or None. Raises InvalidInput for anything else."""

    requests_per_minute: int | None = None
    requests_per_hour: int | None = None
    requests_per_day: int | None = None
    tokens_per_minute: int | None = None
    tokens_per_hour: int | None = None
    tokens_per_day: int | None = None
    compute_seconds_per_minute: int | None = None
    compute_seconds_per_hour: int | None = None
    compute_seconds_per_day: int | None = None
    concurrent: int | None = None

    def __post_init__(self) -> None:
        message = f"must be a whole number from 1 to {MOST}, or absent"
        wrong = [
            Violation(f"/{field.name}", message)
            for field in fields(self)
            if (value := getattr(self, field.name)) is not None and (type(value) is not int or not 1 <= value <= MOST)
        ]
        if wrong:
            raise InvalidInput("the limits are not valid", wrong)

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> Limits:
        """The limits of a JSON object as ``document`` writes it, UNLIMITED where it has none. Raises InvalidInput,
        naming each unknown member."""
        known = {field.name for field in fields(cls)}
        unknown = [Violation(f"/{name}", "is not a limit") for name in document if name not in known]
        if unknown:
            raise InvalidInput("the limits are not valid", unknown)
        return cls(**document) if document else UNLIMITED

    def document(self) -> dict[str, int]:
        """The limits that exist, as a JSON object."""
        return {field.name: value for field in fields(self) if (value := getattr(self, field.name)) is not None}

    def windows(self, unit: Unit) -> tuple[Window, ...]:
        """The unit's windows, shortest first; those of compute are in milliseconds."""
        return tuple(self._windows(unit))

    def _windows(self, unit: Unit) -> Iterator[Window]:
        prefix, factor = ("compute_seconds", 1000) if unit is Unit.COMPUTE_MS else (unit.value, 1)
        for name, span in _SPANS:
            limit = getattr(self, f"{prefix}_per_{name}")
            if limit is not None:
                yield Window(name, limit * factor, span)


#: No limit at all.
UNLIMITED = Limits()
