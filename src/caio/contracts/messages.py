"""Pydantic's findings in plain language: what is wrong, and what was meant where that is clear."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from typing import Any

from pydantic_core import ErrorDetails

from caio.contracts.fields import describe

_WORDS_FOR_TRUTH = {"yes": "true", "on": "true", "y": "true", "no": "false", "off": "false", "n": "false"}


def explain(finding: ErrorDetails) -> str:
    """One sentence that continues after the field's name."""
    wording = _WORDINGS.get(finding["type"])
    if wording is None:
        return finding["msg"]
    return wording(finding["input"], finding.get("ctx", {}))


def did_you_mean(word: object, known: Iterable[str], closeness: float = 0.6) -> str:
    """A closing clause that names the likeliest word, or nothing when none is that close (0 to 1)."""
    close = get_close_matches(word, list(known), n=1, cutoff=closeness) if isinstance(word, str) else []
    return f"; did you mean '{close[0]}'?" if close else ""


def _text(value: Any, _: Mapping[str, Any]) -> str:
    quotes = "; put it in quotes" if not isinstance(value, list | dict) and value is not None else ""
    return f"must be text, got {describe(value)}{quotes}"


def _truth(value: Any, _: Mapping[str, Any]) -> str:
    meant = _WORDS_FOR_TRUTH.get(value.lower()) if isinstance(value, str) else None
    return f"must be true or false, got {describe(value)}" + (f"; did you mean {meant}?" if meant else "")


def _choice(value: Any, context: Mapping[str, Any]) -> str:
    choices = str(context["expected"]).replace("'", "").replace(" or ", ", ").split(", ")
    return f"must be one of {', '.join(choices)}, got {describe(value)}{did_you_mean(value, choices)}"


def _kind(name: str) -> Callable[[Any, Mapping[str, Any]], str]:
    return lambda value, _: f"must be {name}, got {describe(value)}"


def _size(limit: str, template: str) -> Callable[[Any, Mapping[str, Any]], str]:
    return lambda _, context: template.format(context[limit])


_WORDINGS: dict[str, Callable[[Any, Mapping[str, Any]], str]] = {
    "missing": lambda *_: "is required",
    "string_type": _text,
    "int_type": _kind("a whole number"),
    "bool_type": _truth,
    "dict_type": _kind("a mapping of fields"),
    "model_type": _kind("a mapping of fields"),
    "list_type": _kind("a list"),
    "tuple_type": _kind("a list"),
    "literal_error": _choice,
    "enum": _choice,
    "string_too_short": lambda *_: "must not be empty",
    "string_too_long": _size("max_length", "may have at most {} characters"),
    "too_short": _size("min_length", "needs at least {} entry"),
    "too_long": _size("max_length", "may have at most {} entries"),
    "greater_than_equal": _size("ge", "must be at least {}"),
    "less_than_equal": _size("le", "must be at most {}"),
}
