"""What is measured: ten services for each of two capabilities, twenty policies, a thousand sorts of requests.

The requests differ in size, labels, bounds, sensitivity and classification, and each carries a number of its
own: no two that are sent are the same, and the winner is not always the same service.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

from benchmarks.gateway.load import Template
from benchmarks.server import Served

SERVICES, POLICIES, SORTS = 10, 20, 1_000
TEAMS = tuple(f"team-{number}" for number in range(8))
NUMBER = b"@NUMBER@"
NATIVE, CHAT = "/api/v1/orchestrate", "/v1/chat/completions"

_PROSE = "the hall was warm, the seats were fine, and the second half was better than the first"


def service(number: int, base_url: str) -> dict[str, Any]:
    """One of the competing classifiers; all are the same process, and differ in what they promise."""
    return {
        "service_id": f"classifier-{number}",
        "name": f"Classifier {number}",
        "version": "1.0.0",
        "capabilities": ["text.sentiment"],
        "guarantees": {
            "latency_ms": {"p95": 50 + 40 * (SERVICES - number), "max": 5000},
            "accuracy": {"min": f"0.{70 + 2 * number}"},
        },
        "cost": {"currency": "USD", "per_request": f"0.{number + 1:03}", "per_input_token": "0.0000001"},
        "privacy": {"data_locality": "on_device" if number % 2 else "private", "trains_on_data": False},
        "api": {"protocol": "http-json", "base_url": base_url, "endpoints": [{"path": "/classify"}]},
    }


def chat_service(number: int, base_url: str) -> dict[str, Any]:
    """One of the competing models, the same process again."""
    endpoint = {"path": CHAT, "method": "POST", "capability": "chat"}
    return service(number, base_url) | {
        "service_id": f"model-{number}",
        "name": f"Model {number}",
        "capabilities": [{"type": "chat", "features": ["streaming"], "limits": {"max_tokens": 100_000}}],
        "guarantees": {
            "first_token_ms": {"p95": 50 + 40 * (SERVICES - number)},
            "latency_ms": {"p95": 50 + 40 * (SERVICES - number)},
        },
        "cost": {"currency": "USD", "per_input_token": f"0.0000{number + 1:02}", "per_output_token": "0.00001"},
        "api": {
            "protocol": "openai",
            "base_url": base_url,
            "model": "mock",
            "endpoints": [endpoint],
            "timeout_ms": 300_000,  # streams are held for longer than half a minute, the default
        },
    }


def policy(number: int) -> dict[str, Any]:
    """Rules that have to be weighed for each request: in force for some, and never left without a service."""
    team = TEAMS[number % len(TEAMS)]
    when, effect, then = (
        ("request.sensitive", "require", 'service.privacy.data_locality in ["on_device", "private"]'),
        (
            f'has(request.labels.team) && request.labels.team == "{team}"',
            "prefer",
            "service.guarantees.latency_ms.p95 < 200",
        ),
        ('request.data_classification == "confidential"', "forbid", "service.privacy.trains_on_data"),
        (f"request.input_bytes > {200 + 40 * number}", "prefer", 'service.privacy.data_locality == "on_device"'),
        (
            f"request.sensitive && request.input_bytes > {100 * number}",
            "forbid",
            f'service.id.endsWith("-{number // 5}")',
        ),
    )[number % 5]
    return {
        "id": f"rule-{number}",
        "version": 1,
        "effect": effect,
        "when": when,
        "then": then,
        "message": "benchmark",
    }


def native(choice: random.Random) -> Template:
    """A request to ``/api/v1/orchestrate``."""
    wish = {"capability": "text.sentiment", "payload": {"text": _text(choice)}, **_wishes(choice, (8, 30))}
    if choice.random() < 0.5:
        wish["requirements"]["accuracy"] = {"min": f"0.{choice.randint(60, 74)}"}
    labels = {"team": choice.choice(TEAMS), "call": NUMBER.decode()}
    return _template({"request": wish, "context": {"labels": labels}})


def novel(choice: random.Random) -> Template:
    """A native request of a sort that was hardly ever seen: its bounds are some of a million, its labels, too."""
    wish = {"capability": "text.sentiment", "payload": {"text": _text(choice)}, **_wishes(choice, (8, 30))}
    wish["requirements"]["latency_ms"] = {"p95": 450 + choice.randrange(1_000_000)}
    wish["objective"] = {"weights": {"margin": choice.randint(1, 1_000), "cost": 5}}
    labels = {"team": choice.choice(TEAMS), f"of-{choice.randrange(1_000_000)}": NUMBER.decode()}
    return _template({"request": wish, "context": {"labels": labels}})


def payload(choice: random.Random) -> Template:
    """What a service of ours is sent for such a request."""
    return _template({"text": _text(choice), "number": NUMBER.decode()})


def chat(choice: random.Random, model: str = "auto:chat", *, wishes: bool = True, **more: Any) -> Template:
    """A request to ``/v1/chat/completions``; without wishes it is what any gateway takes."""
    messages = [{"role": "system", "content": "Answer in one line."}]
    messages.append({"role": "user", "content": f"{NUMBER.decode()} {_text(choice)}"})
    stated, most = {"caio": _wishes(choice, (40, 90))}, choice.choice((64, 256, 1024))
    body: dict[str, Any] = {"model": model, "messages": messages, "max_tokens": most, **more}
    return _template(body | ({"metadata": stated} if wishes else {}))


def held(model: str, tokens: int, *, wishes: bool) -> Template:
    """A request for a stream that is held at the services' pace until it is ended, or so many tokens have come."""
    more = {"stream": True, "user": "paced", "max_tokens": tokens}
    return chat(random.Random(tokens), model, wishes=wishes, **more)


def sorts(of: Callable[..., Template], *arguments: Any, **more: Any) -> list[Template]:
    """``SORTS`` requests, the same in each run."""
    choice = random.Random(20)
    return [of(choice, *arguments, **more) for _ in range(SORTS)]


def _wishes(choice: random.Random, mills: tuple[int, int]) -> dict[str, Any]:
    """Wishes about routing, among them now and then a price of so many thousandths at most."""
    needs: dict[str, Any] = {}
    if choice.random() < 0.6:
        needs["max_cost"] = f"0.{choice.randint(*mills):03}"
    if choice.random() < 0.5:
        needs["latency_ms"] = {"p95": choice.choice((250, 400, 600, 1000))}
    if choice.random() < 0.2:
        needs["data_locality"] = "private"
    weights = choice.choice(({}, {"cost": 5}, {"performance": 5}, {"margin": 3, "cost": 1}))
    return {
        **({"objective": {"weights": weights}} if weights else {}),
        "requirements": needs,
        "sensitive": choice.random() < 0.3,
        "data_classification": choice.choice(("public", "internal", "confidential")),
    }


def _text(choice: random.Random) -> str:
    return " ".join(choice.choices(_PROSE.split(), k=choice.choice((6, 12, 20, 40, 90, 250))))


def _template(document: dict[str, Any]) -> Template:
    return Template.of(json.dumps(document, separators=(",", ":")).encode(), NUMBER)


def furnish(served: Served, upstream_url: str) -> None:
    """Register the services and the policies with the tenant of ``served``."""
    for number in range(SERVICES):
        served.ask("/api/v1/services", service(number, upstream_url))
        served.ask("/api/v1/services", chat_service(number, upstream_url))
    for number in range(POLICIES):
        served.ask("/api/v1/policies", policy(number))
