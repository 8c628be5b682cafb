"""What changed between two versions of a contract, and for whom that is good.

A change makes the promise *weaker* when some request that the old version served could now be
refused, or served on worse terms; *stronger* in the opposite case. Where that cannot be told from
the change alone (a new address, unrelated regions, another currency) it is *other*. A field that
the contract leaves out is read as the kernel reads it: no bound, a price of nothing, no limit on
callers, training on data.

Laws (each has a test of the same name)
---------------------------------------
- equal_contracts_do_not_differ: and unequal ones do.
- going_back_undoes: the reverse comparison finds the same changes, with the promise reversed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Any

from caio.contracts.model import Contract
from caio.contracts.tree import escape
from caio.contracts.vocabulary import LOCALITIES, STRENGTH, TRUST_LEVELS

Path = tuple[str, ...]


class Promise(StrEnum):
    """What became of the promise."""

    WEAKER = "weaker"
    STRONGER = "stronger"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Change:
    """One place that differs; None stands for absent. Capabilities are matched by type, and
    ``pointer`` leads into the new document, or into the old one for what is gone."""

    pointer: str
    old: Any
    new: Any
    promise: Promise


def diff_contracts(old: Contract, new: Contract) -> tuple[Change, ...]:
    """Every difference, in order of its place."""
    before, after = old.document(), new.document()
    changes = list(_capabilities(before.pop("capabilities"), after.pop("capabilities")))
    changes += _differences((), "", before, after)
    return tuple(sorted(changes, key=lambda change: change.pointer))


def _capabilities(old: list[dict[str, Any]], new: list[dict[str, Any]]) -> Iterator[Change]:
    before, after = {each["type"]: each for each in old}, {each["type"]: each for each in new}
    for index, capability in enumerate(new):
        was = before.get(capability["type"])
        yield from _differences(("capabilities", "*"), f"/capabilities/{index}", was, capability)
    for index, capability in enumerate(old):
        if capability["type"] not in after:
            yield from _differences(("capabilities", "*"), f"/capabilities/{index}", capability, None)
    if [name for name in before if name in after] != [name for name in after if name in before]:
        yield Change("/capabilities", list(before), list(after), Promise.OTHER)


def _differences(path: Path, pointer: str, old: Any, new: Any) -> Iterator[Change]:
    """The differences at ``path``: inside two mappings, or the whole of anything else."""
    if isinstance(old, dict) and isinstance(new, dict) and path not in _FREE_FORM:
        for key in sorted({*old, *new}):
            yield from _differences((*path, key), f"{pointer}/{escape(key)}", old.get(key), new.get(key))
    elif old != new:
        sense = next((sense for pattern, sense in _SENSES if _matches(pattern, path)), _unknown)
        direction = sense(old, new)
        promise = Promise.STRONGER if direction > 0 else Promise.WEAKER if direction < 0 else Promise.OTHER
        yield Change(pointer, old, new, promise)


def _matches(pattern: Path, path: Path) -> bool:
    return len(pattern) == len(path) and all(wanted in {"*", step} for wanted, step in zip(pattern, path, strict=True))


#: Compares two different values of one field: above 0 if the second promises more, below if less.
Sense = Callable[[Any, Any], int]


def _unknown(old: Any, new: Any) -> int:
    return 0


def _sign(old: Any, new: Any) -> int:
    return int(new > old) - int(new < old)


def _rising(absent: str) -> Sense:
    """More is better; ``absent`` is the number that a missing value stands for."""

    def sense(old: Any, new: Any) -> int:
        return _sign(Decimal(absent if old is None else old), Decimal(absent if new is None else new))

    return sense


def _falling(absent: str) -> Sense:
    rising = _rising(absent)
    return lambda old, new: -rising(old, new)


def _later(words: Sequence[str | None]) -> Sense:
    """A later word is better."""
    return lambda old, new: _sign(words.index(old), words.index(new))


def _present(old: Any, new: Any) -> int:
    return _sign(old is not None, new is not None)


def _superset(old: list[str], new: list[str]) -> int:
    return _sign(frozenset(old), frozenset(new))


def _subset(old: list[str], new: list[str]) -> int:
    return -_superset(old, new)


def _any_of(old: list[str], new: list[str]) -> int:
    """One of more permissions is easier to hold; an empty list asks for none."""
    return _superset(old, new) if old and new else _sign(len(new), len(old))


def _locality(old: str | list[str], new: str | list[str]) -> int:
    if isinstance(old, list) and isinstance(new, list):
        return _subset(old, new)
    before, after = ("regions" if isinstance(value, list) else value for value in (old, new))
    return _sign(LOCALITIES.index(after), LOCALITIES.index(before))


#: Tenants' own content, compared as a whole.
_FREE_FORM = frozenset({("metadata",), ("capabilities", "*", "parameters")})

_SENSES: tuple[tuple[Path, Sense], ...] = (
    (("capabilities", "*"), _present),
    (("capabilities", "*", "features"), _superset),
    (("capabilities", "*", "limits"), _present),
    (("capabilities", "*", "limits", "*"), _rising("-Infinity")),
    (("guarantees", "*"), _present),
    (("guarantees", "determinism", "seed_required"), _falling("0")),
    (("guarantees", "*", "min"), _rising("-Infinity")),
    *((("guarantees", "*", statistic), _falling("Infinity")) for statistic in STRENGTH),
    (("guarantees", "*", "verified"), _later((None, "declared", "measured"))),
    (("constraints", "rate_limit"), lambda old, new: -_present(old, new)),
    (("constraints", "rate_limit", "*"), _rising("Infinity")),
    (("constraints", "max_concurrent_requests"), _rising("Infinity")),
    (("constraints", "context_length"), _rising("Infinity")),
    (("constraints", "requires", "*"), _falling("0")),
    (("cost", "per_request"), _falling("0")),
    (("cost", "per_input_token"), _falling("0")),
    (("cost", "per_output_token"), _falling("0")),
    (("cost", "per_second"), _falling("0")),
    (("privacy", "data_locality"), _locality),
    (("privacy", "encryption", "in_transit"), _rising("0")),
    (("privacy", "encryption", "at_rest"), _rising("0")),
    (("privacy", "data_retention_days"), _falling("Infinity")),
    (("privacy", "trains_on_data"), _falling("1")),
    (("privacy", "compliance"), _superset),
    (("alignment",), _present),
    (("alignment", "content_filtering"), _rising("0")),
    (("alignment", "bias_mitigation"), _rising("0")),
    (("alignment", "toxicity_filtering"), _rising("0")),
    (("access", "required_permissions", "all_of"), _subset),
    (("access", "required_permissions", "any_of"), _any_of),
    (("access", "required_trust_level"), lambda old, new: -_later((None, *TRUST_LEVELS))(old, new)),
    (("access", "visibility"), _later(("tenant", "shared"))),
)
