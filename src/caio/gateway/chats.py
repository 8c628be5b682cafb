"""Chats as payloads: how long and how many answers they ask for, so that no service is asked for more than is reserved.

A body on OpenAI's surface says this in members that its surface reads. A payload of a native call, of a tool's call
or of a workflow's step says it in the same members, and whoever makes a call of it reads them with ``as_payload``.

Laws (each has a test of the same name)
---------------------------------------
- a_native_call_of_a_chat_reserves_what_it_asks_for: and so does a call of a tool, and a step of a workflow.
- what_was_produced_is_counted: what a model thought, and what it called tools with, as well as what it said.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from caio.foundation.errors import InvalidInput, Violation
from caio.routing.model import MAX_ANSWERS, Request

#: The members that bound an answer, the one in use first.
BOUNDS = ("max_completion_tokens", "max_tokens")

ANSWERS = "n"


def bounded(body: dict[str, Any], most: int | None) -> dict[str, Any]:
    """The body, asking for no longer answers than ``most`` tokens, where that is less than it asks for itself."""
    if most is None or (
        (stated := [name for name in BOUNDS if body.get(name) is not None])
        and all(body[name] <= most for name in stated)
    ):
        return body
    return {**body, **dict.fromkeys(stated or BOUNDS[:1], most)}


def as_payload(payload: Any, request: Request, at: str) -> tuple[Any, Request]:
    """A call's payload and request, where the payload is a chat: a service is told what is reserved, and every
    answer that it is asked for is. Raises InvalidInput for bounds that are none; pointers begin with ``at``."""
    if type(payload) is not dict or type(payload.get("messages")) is not list:
        return payload, request
    violations, most = [], request.max_tokens
    answers = 1 if payload.get(ANSWERS) is None else payload[ANSWERS]
    if type(answers) is not int or not 1 <= answers <= MAX_ANSWERS:
        violations.append(Violation(f"{at}/{ANSWERS}", f"must be a whole number from 1 to {MAX_ANSWERS}"))
    for name in BOUNDS:
        stated = payload.get(name)
        if stated is not None and not (type(stated) is int and 1 <= stated <= 10**9):
            violations.append(Violation(f"{at}/{name}", "must be a whole number from 1 to 1000000000"))
        elif stated is not None:
            most = stated if most is None else min(most, stated)
    if violations:
        first = violations[0]
        message = f"the request is not valid: {first.pointer}: {first.message}"
        raise InvalidInput(message, violations, code="invalid_request")
    return bounded(payload, most), replace(request, max_tokens=most, answers=answers)


def produced(message: Mapping[str, Any]) -> str:
    """All that a model wrote of an answer's message, or of a delta of one: for counting, where no service does."""
    return "".join(text for text in _produced(message) if isinstance(text, str))


def _produced(message: Mapping[str, Any]) -> Iterator[Any]:
    yield message.get("content")
    yield message.get("refusal")
    yield message.get("reasoning_content") or message.get("reasoning")  # two names of one text
    calls = message.get("tool_calls")
    for call in calls if isinstance(calls, list) else ():
        yield from _called(call.get("function") if isinstance(call, Mapping) else None)
    yield from _called(message.get("function_call"))


def _called(function: Any) -> Iterator[Any]:
    if isinstance(function, Mapping):
        yield function.get("name")
        yield function.get("arguments")
