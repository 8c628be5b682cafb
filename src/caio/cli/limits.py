"""``--limit NAME=NUMBER``, and limits as they are shown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from caio.foundation.errors import InvalidInput

Limit = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME=N", help="A limit, such as requests_per_minute=60 or concurrent=4; may be repeated."),
]


def limits_of(stated: Sequence[str] | None) -> dict[str, int]:
    """The limits as the API takes them. Raises InvalidInput for what is not of the form NAME=N."""
    limits = {}
    for each in stated or ():
        name, _, number = each.partition("=")
        if not number.isascii() or not number.isdecimal():
            raise InvalidInput(f"--limit {each!r} is not of the form requests_per_minute=60")
        limits[name] = int(number)
    return limits


def shown(limits: dict[str, Any]) -> str:
    """The limits that there are, for people."""
    return ", ".join(f"{name}={value}" for name, value in limits.items() if value is not None)
