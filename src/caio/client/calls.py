"""What each method of the clients asks for: the request, and how its answer is read. Both clients send these."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from functools import partial
from typing import Any, Literal, TypedDict, TypeVar
from urllib.parse import quote

import msgspec

from caio.client import answers
from caio.client.errors import Misused, NotCaio
from caio.client.exchange import Call, Received, Repeats, query

T = TypeVar("T")

Document = str | bytes | Mapping[str, Any]


class Wishes(TypedDict, total=False):
    """What a request may wish for; ``docs/reference/routing-rules.md`` says what each means."""

    requirements: Mapping[str, Any]
    constraints: Mapping[str, Any]
    data_classification: Literal["public", "internal", "confidential", "restricted"]
    sensitive: bool
    objective: Mapping[str, Any]
    policies: Sequence[str | Mapping[str, Any]]
    on_violation: str
    seed: str | int
    deadline_ms: int


class Request(Wishes, total=False):
    """Wishes, and whom the call belongs to."""

    session: str
    labels: Mapping[str, str]


def orchestrate(
    capability: str,
    payload: Any,
    request: Request,
    *,
    idempotency_key: str | None,
    timeout: float | None,
    with_receipt: bool,
) -> Call[answers.Orchestrated]:
    headers = _keyed(idempotency_key) | ({"x-caio-receipt": "body"} if with_receipt else {})
    body = _request(capability, payload, request)
    return Call("POST", "/api/v1/orchestrate", _orchestrated, body, _json(headers), timeout=timeout)


def route(capability: str, payload: Any, request: Request) -> Call[answers.Routed]:
    body = _request(capability, payload, request)
    return Call("POST", "/api/v1/route", _as(answers.Routed), body, _json(), Repeats.TWICE)


def discover(capability: str, payload: Any, request: Request) -> Call[answers.Discovered]:
    body = _request(capability, payload, request)
    return Call("POST", "/api/v1/discover", _as(answers.Discovered), body, _json())


def chat(
    messages: Sequence[Mapping[str, Any]],
    model: str,
    wishes: Wishes | None,
    fields: Mapping[str, Any],
    *,
    idempotency_key: str | None,
    timeout: float | None,
) -> Call[answers.Chat]:
    if fields.get("stream"):
        raise Misused("chat.create answers as a whole: use chat.stream for a stream")
    body = _openai({"model": model, "messages": messages, **fields}, wishes)
    return Call("POST", "/v1/chat/completions", _chat, body, _json(_keyed(idempotency_key)), timeout=timeout)


def chat_stream(
    messages: Sequence[Mapping[str, Any]],
    model: str,
    wishes: Wishes | None,
    fields: Mapping[str, Any],
    *,
    timeout: float | None,
) -> Call[Received]:
    body = _openai({"model": model, "messages": messages, **fields, "stream": True}, wishes)
    headers = _json({"accept": "text/event-stream"})
    return Call("POST", "/v1/chat/completions", _stream, body, headers, Repeats.STREAM, timeout, True)


def embeddings(
    texts: str | Sequence[Any],
    model: str,
    wishes: Wishes | None,
    fields: Mapping[str, Any],
    *,
    idempotency_key: str | None,
    timeout: float | None,
) -> Call[answers.Embeddings]:
    body = _openai({"model": model, "input": texts, **fields}, wishes)
    return Call("POST", "/v1/embeddings", _embeddings, body, _json(_keyed(idempotency_key)), timeout=timeout)


def list_models() -> Call[list[answers.Model]]:
    return Call("GET", "/v1/models", lambda received: _as(answers.Models)(received).data)


def publications(
    kind: str, after: str | None, limit: int, retired: bool, tag: str | None = None
) -> Call[answers.Page[answers.Publication]]:
    stated = {"after": after, "limit": limit, "retired": "true" if retired else None, "tag": tag}
    return Call("GET", query(f"/api/v1/{kind}", stated), _as(answers.Page[answers.Publication]))


def publication(kind: str, name: str, version: str | None) -> Call[answers.Publication]:
    return Call("GET", query(_address(kind, name), {"version": version}), _as(answers.Publication))


def register(kind: str, document: Document) -> Call[answers.Publication]:
    body, headers = _document(document)
    return Call("POST", f"/api/v1/{kind}", _as(answers.Publication), body, headers, Repeats.TWICE)


def validate(kind: str, document: Document) -> Call[answers.Validation]:
    body, headers = _document(document)
    return Call("POST", f"/api/v1/{kind}/validate", _as(answers.Validation), body, headers)


def publish(kind: str, name: str, document: Document, revision: int) -> Call[answers.Publication]:
    body, headers = _document(document)
    stated = headers | {"if-match": f'"{revision}"'}
    return Call("PUT", _address(kind, name), _as(answers.Publication), body, stated, Repeats.TWICE)


def retire(kind: str, name: str, revision: int | None) -> Call[answers.Publication]:
    headers = {} if revision is None else {"if-match": f'"{revision}"'}
    return Call("DELETE", _address(kind, name), _as(answers.Publication), None, headers, Repeats.TWICE)


def decisions(before: str | None, limit: int) -> Call[answers.Page[answers.DecisionSummary]]:
    path = query("/api/v1/decisions", {"before": before, "limit": limit})
    return Call("GET", path, _as(answers.Page[answers.DecisionSummary]))


def decision(decision_id: str) -> Call[answers.Decision]:
    return Call("GET", _address("decisions", decision_id), _as(answers.Decision))


def of_decision(decision_id: str, part: str) -> Call[dict[str, Any]]:
    """A decision's ``evidence``, ``explanation`` or ``receipt``."""
    return Call("GET", f"{_address('decisions', decision_id)}/{part}", _as(dict[str, Any]))


def published_keys() -> Call[dict[str, Any]]:
    return Call("GET", "/.well-known/caio-keys.json", _as(dict[str, Any]))


def usage(
    since: date | None, until: date | None, group_by: Sequence[str], filters: Mapping[str, str | None]
) -> Call[answers.UsageStatement]:
    stated = {"from": since, "to": until, "group_by": ",".join(group_by), **filters}
    return Call("GET", query("/api/v1/usage", stated), _as(answers.UsageStatement))


def run_workflow(workflow: Mapping[str, Any], given: Any, idempotency_key: str | None) -> Call[answers.Run]:
    body = _encoded({"workflow": workflow, "input": given})
    return Call("POST", "/api/v1/workflows/runs", _as(answers.Run), body, _json(_keyed(idempotency_key)))


def runs(before: str | None, limit: int) -> Call[answers.Page[answers.Run]]:
    path = query("/api/v1/workflows/runs", {"before": before, "limit": limit})
    return Call("GET", path, _as(answers.Page[answers.Run]))


def run_of(run_id: str) -> Call[answers.Run]:
    return Call("GET", _address("workflows/runs", run_id), _as(answers.Run))


def cancel_run(run_id: str) -> Call[answers.Run]:
    return Call("POST", f"{_address('workflows/runs', run_id)}/cancel", _as(answers.Run))


def run_events(run_id: str, after: str) -> Call[Received]:
    headers = {"accept": "text/event-stream", **({"last-event-id": after} if after else {})}
    return Call("GET", f"{_address('workflows/runs', run_id)}/events", _stream, headers=headers, is_stream=True)


def _address(kind: str, name: str) -> str:
    if name in ("", ".", ".."):
        raise Misused(f"{name!r} is no id")
    return f"/api/v1/{kind}/{quote(name, safe='')}"


def _keyed(idempotency_key: str | None) -> dict[str, str]:
    """The caller's key or a new one, so that the server knows a repetition from a further call."""
    key = idempotency_key or os.urandom(16).hex()
    if len(key) > 255 or not key.isascii() or not key.isprintable():
        raise Misused("idempotency_key must be 1 to 255 printable ASCII characters")
    return {"idempotency-key": key}


def _json(headers: Mapping[str, str] | None = None) -> dict[str, str]:
    return {"content-type": "application/json", **(headers or {})}


def _encoded(document: object) -> bytes:
    try:
        return msgspec.json.encode(document)
    except (TypeError, ValueError, RecursionError) as error:
        raise Misused(f"the request cannot be written as JSON: {error}") from None


def _request(capability: str, payload: Any, request: Request) -> bytes:
    context = {name: request[name] for name in ("session", "labels") if name in request}
    wishes = {name: value for name, value in request.items() if name not in context}
    stated: dict[str, Any] = {"request": {**wishes, "capability": capability, "payload": payload}}
    return _encoded(stated | ({"context": context} if context else {}))


def _openai(body: dict[str, Any], wishes: Wishes | None) -> bytes:
    if wishes:
        body["metadata"] = {**(body.get("metadata") or {}), "caio": wishes}
    return _encoded(body)


def _document(document: Document) -> tuple[bytes, dict[str, str]]:
    """A contract or policy as it is sent: text as YAML, of which JSON is a part."""
    if isinstance(document, Mapping):
        return _encoded(document), _json()
    return document.encode() if isinstance(document, str) else document, {"content-type": "application/yaml"}


def _as(kind: type[T]) -> Callable[[Received], T]:
    return partial(_read, kind)


def _read(kind: type[T], received: Received) -> T:
    try:
        return msgspec.json.decode(received.body, type=kind, strict=False)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise NotCaio(f"the answer is not one that CAIO gives: {error}; check the URL") from None


def _orchestrated(received: Received) -> answers.Orchestrated:
    answer = _read(answers.Orchestrated, received)
    return msgspec.structs.replace(answer, replayed=_replayed(received))


def _chat(received: Received) -> answers.Chat:
    raw = _read(dict[str, Any], received)
    return _with(answers.Chat, {**raw, "raw": raw, "routing": routing_of(received)})


def _embeddings(received: Received) -> answers.Embeddings:
    raw = _read(dict[str, Any], received)
    return _with(answers.Embeddings, {**raw, "raw": raw, "routing": routing_of(received)})


def _stream(received: Received) -> Received:
    if not received.headers.get("content-type", "").startswith("text/event-stream"):
        raise NotCaio("the answer is not a stream; check the URL")
    return received


def _with(kind: type[T], document: Mapping[str, Any]) -> T:
    try:
        return msgspec.convert(document, kind, strict=False)
    except msgspec.ValidationError as error:
        raise NotCaio(f"the service's answer has not the form of its protocol: {error}") from None


def routing_of(received: Received) -> answers.Routing:
    """Which decision an answer came of, by its headers."""
    said = received.headers
    return answers.Routing(
        decision_id=said.get("x-caio-decision-id", ""),
        service=said.get("x-caio-service", ""),
        replayed=_replayed(received),
    )


def _replayed(received: Received) -> bool:
    return received.headers.get("idempotency-replayed") == "true"
