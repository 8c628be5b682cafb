"""Requests of one sort: those that differ in nothing but their size, deadline, price limit, seed and labels.

Callers send the same sort of request again and again. What its members have in common is looked up by those
members once a call; what follows from them, and how they are written, is worked out once a sort.

Law (has a test of the same name): a_request_is_written_as_its_document.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from operator import attrgetter
from typing import Any, Self

from caio.foundation.canonical import canonical_plain
from caio.foundation.quantity import decimal_text
from caio.routing.columns import UNLIMITED, Columns
from caio.routing.matching import Needs
from caio.routing.model import Request

#: What differs from one request to the next, in canonical order.
VARYING = ("deadline_ms", "input_bytes", "labels", "max_cost", "seed")

#: All else that a request says: equal for two requests of one sort, and for no others.
sort_key = attrgetter(*(each.name for each in fields(Request) if each.name not in VARYING))

#: A sort that takes more characters to write is not worth keeping: lists of services may have a thousand names.
_LONGEST = 4_096


class Sort:
    """One sort of request over one tenant's services. Equal to itself alone, so that it is a cheap key.

    ``needs`` were made of the first request seen: only what its sort says may be read of it. No service that offers
    what is wanted refuses an input of ``least_input`` bytes for its size.
    """

    __slots__ = ("_pieces", "least_input", "needs")

    def __init__(self, needs: Needs, least_input: int, pieces: tuple[str, str, str, str]) -> None:
        self.needs = needs
        self.least_input = least_input
        self._pieces = pieces

    @classmethod
    def of(cls, request: Request, columns: Columns) -> Self:
        offered = (columns.capabilities.get(wanted) for wanted in request.capabilities)
        least = min((each.least_input for each in offered if each is not None), default=UNLIMITED)
        return cls(Needs.of(request), least, _pieces(request.document()))

    @property
    def is_worth_keeping(self) -> bool:
        return sum(map(len, self._pieces)) <= _LONGEST

    def written(self, request: Request) -> bytes:
        """The canonical bytes of the document of ``request``, which is of this sort."""
        first, second, third, last = self._pieces
        labels = canonical_plain(dict(request.labels)).decode() if request.labels else "{}"
        cost = "null" if request.max_cost is None else f'"{decimal_text(request.max_cost)}"'
        seed = "null" if request.seed is None else canonical_plain(request.seed).decode()
        written = (
            f'{first}{request.deadline_ms}{second}{request.input_bytes},"labels":{labels},"max_cost":{cost}{third}'
            f"{seed}{last}"
        )
        return written.encode()


def _pieces(document: Mapping[str, Any]) -> tuple[str, str, str, str]:
    """All but the values of what varies, and the names of labels and price, as it stands before, between and after
    these."""
    first, second, third, last = (
        canonical_plain({name: document[name] for name in names if name in document})[1:-1].decode()
        for names in _PIECES
    )
    return (
        f'{{{first},"deadline_ms":',
        f',{second},"input_bytes":',
        f',{third},"seed":',
        f",{last}}}",
    )


#: The names of the members in each piece.
_PIECES = [
    [each.name for each in fields(Request) if after < each.name < before]
    for after, before in (("", "deadline_ms"), ("deadline_ms", "input_bytes"), ("max_cost", "seed"), ("seed", "~"))
]
