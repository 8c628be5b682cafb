"""What the fields that expressions read can hold, cut into regions that no expression tells apart.

An expression that compares a path with constants can tell apart only finitely many kinds of value:
each constant, the numbers between two of them, the texts that begin with one of the prefixes it asks
for. ``numbers`` and ``texts`` give one value of every such region, so trying these values is trying all.

The tables at the top say what every request and every contract has, and between which limits. They
may promise too little, never too much: what is left out is taken as possible.

Law: every_region_has_its_value: for any value and constants, one of those given here fares the same in
every comparison with the constants.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import combinations, islice, pairwise
from math import ceil, floor, inf, nextafter
from typing import Final

from caio.contracts.vocabulary import LOCALITIES, STATISTICS, STRENGTH, TRUST_LEVELS, Protocol
from caio.routing.expressions import Bool, Double, Int, List, Map, Record, Schema, String, Type
from caio.routing.model import CLASSIFICATIONS
from caio.routing.policies import REQUEST_SCHEMA, SERVICE_SCHEMA

Path = tuple[str, ...]
Value = bool | int | float | str


class Absent:
    """The one value ABSENT: the field is not there, and reading it is an error."""

    def __repr__(self) -> str:
        return "ABSENT"


ABSENT: Final = Absent()

SCHEMA: Schema = {**REQUEST_SCHEMA, **SERVICE_SCHEMA}

#: Regions of one text path beyond which it is not cut any more.
MAX_TEXTS = 64

_OPTIONAL_IN_REQUESTS = frozenset({"data_locality", "max_cost", "max_tokens", "context_length"})

_IN_EVERY_CONTRACT = frozenset(
    tuple(path.split("."))
    for path in (
        "service id|service service_id|service name|service version|service tags|service capabilities|"
        "service features|service guarantees|service constraints|service constraints requires|"
        "service constraints requires gpu|service constraints requires internet|service cost|"
        "service cost currency|service privacy|service privacy data_locality|service privacy encryption|"
        "service privacy encryption in_transit|service privacy encryption at_rest|service privacy compliance|"
        "service access|service access required_permissions|service access required_permissions all_of|"
        "service access required_permissions any_of|service access visibility|service api|service api protocol|"
        "service api timeout_ms"
    )
    .replace(" ", ".")
    .split("|")
)

_WORDS: dict[Path, tuple[str, ...]] = {
    ("request", "data_classification"): CLASSIFICATIONS,
    ("request", "data_locality"): LOCALITIES,
    ("principal", "trust_level"): TRUST_LEVELS,
    ("service", "privacy", "data_locality"): LOCALITIES,
    ("service", "access", "required_trust_level"): TRUST_LEVELS,
    ("service", "access", "visibility"): ("tenant", "shared"),
    ("service", "api", "protocol"): Protocol.__args__,  # type: ignore[attr-defined]
}

_SHARE = (0, 1)
_LIMITS: dict[Path, tuple[float, float | None]] = {
    ("request", "input_bytes"): (0, None),
    ("request", "deadline_ms"): (1, None),
    ("request", "max_tokens"): (1, None),
    ("request", "context_length"): (1, None),
    ("request", "max_cost"): (0, None),
    ("service", "guarantees", "accuracy", "min"): _SHARE,
    ("service", "guarantees", "availability", "min"): _SHARE,
    ("service", "guarantees", "error_rate", "max"): _SHARE,
    ("service", "guarantees", "determinism", "min"): (1, 1),
    **{("service", "guarantees", "latency_ms", name): (0, None) for name in ("p50", "p95", "p99", "max")},
    **{("service", "guarantees", "first_token_ms", name): (0, None) for name in ("p50", "p95", "p99", "max")},
    **{("service", "cost", name): (0, None) for name in ("per_request", "per_input_token", "per_output_token")},
    ("service", "cost", "per_second"): (0, None),
    ("service", "privacy", "data_retention_days"): (0, 36_500),
    ("service", "api", "timeout_ms"): (1, 3_600_000),
}


#: Statistics that contracts cannot state of these guarantees.
_NOT_STATED: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("accuracy", "availability", "throughput", "determinism"), STRENGTH),
    "error_rate": ("min", *STRENGTH[:-1]),
    "latency_ms": ("min",),
    "first_token_ms": ("min",),
}


def never_there(path: Path) -> bool:
    """Whether no request or contract can have a value at ``path``, although the schema knows it."""
    match path:
        case ("request", "bounds", name):
            return name.rpartition(".")[2] not in STATISTICS
        case ("service", "guarantees", name, statistic):
            return statistic in _NOT_STATED.get(name, ())
    return False


def type_at(path: Path) -> Type | None:
    """The type of what the path reads; None for a path that the schema does not know."""
    here: Type | None = SCHEMA.get(path[0])
    for name in path[1:]:
        match here:
            case Record(fields=fields):
                here = fields.get(name)
            case Map(value=value):
                here = value
            case _:
                return None
    return here


def always_there(path: Path) -> bool:
    """Whether every request and principal, or every contract, has a value at ``path``."""
    if len(path) == 1 or path[0] == "principal":
        return True
    if path[0] == "request":
        return len(path) == 2 and path[1] not in _OPTIONAL_IN_REQUESTS
    return path in _IN_EVERY_CONTRACT


@dataclass(slots=True)
class Constants:
    """What expressions compare one path, or the elements of one list, with."""

    equal: set[Value] = field(default_factory=set)
    prefixes: set[str] = field(default_factory=set)
    suffixes: set[str] = field(default_factory=set)
    parts: set[str] = field(default_factory=set)

    def add(self, other: Constants) -> None:
        self.equal |= other.equal
        self.prefixes |= other.prefixes
        self.suffixes |= other.suffixes
        self.parts |= other.parts


def values_at(path: Path, constants: Constants) -> tuple[list[Value | Absent], bool]:
    """One value of each region at a scalar path, and whether these are all the regions."""
    if never_there(path):
        return [ABSENT], True
    kind, exhaustive = type_at(path), True
    values: list[Value]
    if kind == Bool:
        values = [True, False]
    elif kind == String:
        stated = _WORDS.get(path)
        if stated is None:
            values, exhaustive = texts(constants)
        else:
            values = list(stated)
    else:
        least, most = _LIMITS.get(path, (None, None))
        given = [each for each in constants.equal if type(each) in (int, float)]
        values = numbers(given, whole=kind == Int, least=least, most=most)
    return [*([] if always_there(path) else [ABSENT]), *values], exhaustive


def numbers(
    constants: Iterable[Value], *, whole: bool, least: float | None = None, most: float | None = None
) -> list[Value]:
    """Each constant, a number between any two neighbours, and one on either side; within the limits."""
    cuts = sorted({each for each in (*constants, least, most) if each is not None and not isinstance(each, str)})
    if not cuts:
        return [1 if whole else 1.0]
    if whole:
        found: set[int | float] = {
            near for cut in cuts for near in (floor(cut) - 1, floor(cut), ceil(cut), ceil(cut) + 1)
        }
    else:
        found = {float(cut) for cut in cuts} | {_beside(float(cuts[0]), -1.0), _beside(float(cuts[-1]), 1.0)}
        found |= {_between(float(low), float(high)) for low, high in pairwise(cuts)}
    return [each for each in sorted(found) if (least is None or each >= least) and (most is None or each <= most)]


def _beside(cut: float, step: float) -> float:
    """A number beyond ``cut``: one further, or where doubles lie too far apart for that, the next one."""
    return cut + step if cut + step != cut else nextafter(cut, step * inf)


def _between(low: float, high: float) -> float:
    """A number strictly between, with few digits; ``low`` when there is none."""
    middle = low + (high - low) / 2
    for digits in range(16):
        near = round(middle, digits)
        if low < near < high:
            return near
    return middle if low < middle < high else low


def texts(constants: Constants) -> tuple[list[Value], bool]:
    """Each equal text, and for every way to begin, end and contain the others one text that does so.

    Such a text is glued together with a character that no constant has, so that nothing arises by
    accident. Whether it is all of them: beyond MAX_TEXTS only the simpler ones are given.
    """
    equal = sorted(each for each in constants.equal if isinstance(each, str))
    everything = "".join([*equal, *constants.prefixes, *constants.suffixes, *constants.parts])
    glue = next(letter for letter in _letters() if letter not in everything)
    begins, ends = ["", *sorted(constants.prefixes - {""})], ["", *sorted(constants.suffixes - {""})]
    parts = sorted(constants.parts - {""})
    exhaustive = len(begins) * len(ends) * 2 ** len(parts) <= MAX_TEXTS
    most = len(parts) if exhaustive else 1
    within = [some for size in range(most + 1) for some in combinations(parts, size)]
    made = (glue.join([begin, *some, end]) for begin in begins for some in within for end in ends)
    return [*equal, *islice(made, MAX_TEXTS)], exhaustive


def _letters() -> Iterable[str]:
    yield from "xzqjkvwy0123456789"
    yield from (chr(code) for code in range(0x4E00, 0x9FFF))


def is_list(path: Path) -> bool:
    """Whether the path reads a list of texts, the only lists there are."""
    return isinstance(type_at(path), List)


def is_scalar(path: Path) -> bool:
    return type_at(path) in (Bool, Int, Double, String)
