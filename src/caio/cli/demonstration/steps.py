"""The requests of the demonstration, in order. Each step asks over HTTP and has its answers judged.

The bodies come from ``examples/requests``; nothing is switched on in a service to make a step work.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import httpx2

from caio.cli.demonstration import expectations
from caio.cli.demonstration.api import PATIENCE, Reply, Unexpected
from caio.cli.demonstration.stage import Stage
from caio.cli.demonstration.story import Check, Step

CHAT = "/v1/chat/completions"
EMBEDDINGS = "/v1/embeddings"
FORBIDDEN_REGION = "us"  # as in examples/policies/no-us-region.yaml


async def cost_optimal(stage: Stage) -> Step:
    act = await stage.orchestrate(stage.examples.request("cost-optimal"))
    step = Step("cost-optimal", "The cheapest service that is good enough", [act])
    step.checks = expectations.cost_optimal(act, stage.examples.promises)
    return step


async def latency_bound(stage: Stage) -> Step:
    act = await stage.orchestrate(stage.examples.request("latency-bound"))
    step = Step("latency-bound", "A bound on latency, met by a promise at least as strong", [act])
    step.checks = expectations.latency_bound(act, stage.examples.promises)
    return step


async def sensitive(stage: Stage) -> Step:
    body = stage.examples.request("sensitive")
    act = await stage.orchestrate(body)
    step = Step("sensitive", "A medical note stays on the device", [act])
    step.checks = expectations.kept_inside(act, stage.examples.promises, body["policies"][0])
    return step


async def fallback(stage: Stage) -> Step:
    """Kill the service that would answer, ask, and start it again for whoever comes after."""
    body = stage.examples.request("fallback")
    first: str = (await stage.caio.ask("/api/v1/discover", body))["ranked"][0]["service"]
    status = await stage.children.kill(first)
    act = await stage.orchestrate(body)
    await stage.restart_service(first)
    step = Step("fallback", "A service is killed, the next one inside the policy answers", [act])
    step.notes = [f"{first} has just been killed (SIGKILL, exit status {status}); it is started again afterwards"]
    step.checks = expectations.fell_back(act, stage.examples.promises, first, FORBIDDEN_REGION)
    return step


async def refusal(stage: Stage) -> Step:
    act = await stage.orchestrate(stage.examples.request("refusal-reasons"))
    step = Step("refusal", "Nobody qualifies: a refusal that says why, service by service", [act])
    step.checks = expectations.refused(act, stage.examples.promises)
    return step


async def violation(stage: Stage) -> Step:
    """The same question twice: once to be told of a broken promise, once to be spared it."""
    body = stage.examples.request("violation")
    told = await stage.orchestrate(body)
    spared = await stage.orchestrate({**body, "request": {**body["request"], "on_violation": "fallback"}})
    step = Step("violation", "A broken guarantee is caught, and with fallback repaired", [told, spared])
    step.checks = [
        *expectations.caught(told, stage.examples.promises),
        *expectations.recovered(spared, stage.examples.promises, told.answered_by),
    ]
    return step


async def openai_chat(stage: Stage) -> Step:
    """A streamed completion through ``/v1``, compared with what the service itself says."""
    body = stage.examples.request("chat")
    asked = {"model": "auto", "stream": True, **body["request"]["payload"]}
    headers: dict[str, str] = {}
    data = [event async for event in stage.caio.events(CHAT, asked, headers)]
    pieces = [text for event in data if event != "[DONE]" if (text := _delta(json.loads(event)))]
    act = await stage.record(body, Reply(200, headers, {}), "".join(pieces), [], 0.0)
    step = Step("openai-chat", "OpenAI's API, streamed: POST /v1/chat/completions, model “auto”", [act])
    direct = await _asked_directly(stage, act.answered_by, body["request"]["payload"])
    step.checks = expectations.streamed(act, pieces, data[-1:] == ["[DONE]"], direct)
    return step


async def openai_embeddings(stage: Stage) -> Step:
    body = stage.examples.request("embeddings")
    reply = await stage.caio.post(EMBEDDINGS, {"model": "auto", **body["request"]["payload"]})
    vectors = [item["embedding"] for item in reply.body.get("data", [])]
    shown = f"{len(vectors)} vectors of {len(vectors[0])} numbers" if vectors else None
    act = await stage.record(body, reply, shown, [], 0.0)
    step = Step("openai-embeddings", "OpenAI's API: POST /v1/embeddings, model “auto”", [act])
    step.checks = expectations.embedded(act, vectors)
    return step


STEPS = (
    cost_optimal,
    latency_bound,
    sensitive,
    fallback,
    refusal,
    violation,
    openai_chat,
    openai_embeddings,
)


def broken(tell: Callable[[Stage], Awaitable[Step]], error: Exception) -> Step:
    """A step that could not be told to its end."""
    name = tell.__name__.replace("_", "-")
    return Step(name, name, checks=[Check("the step ran to its end", False, f"{type(error).__name__}: {error}")])


def _delta(chunk: Mapping[str, Any]) -> str:
    choices = chunk.get("choices") or [{}]
    return str(choices[0].get("delta", {}).get("content") or "")


async def _asked_directly(stage: Stage, service: str | None, payload: Mapping[str, Any]) -> str:
    """The service's own answer to a chat, without CAIO between."""
    if service is None:
        return ""
    model = stage.examples.promises[service].document["api"]["model"]
    url = f"{stage.services[service].url}{CHAT}"
    async with httpx2.AsyncClient(timeout=PATIENCE, trust_env=False) as http:
        response = await http.post(url, json={"model": model, **payload})
    if response.status_code != 200:
        raise Unexpected(f"{service} answered {response.status_code} when asked directly")
    return str(response.json()["choices"][0]["message"]["content"])
