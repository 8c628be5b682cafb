"""From an HTTP body to what the gateway is asked for, for each surface."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Annotated, Any

import msgspec
from pydantic import BaseModel, ConfigDict, Field

from caio.foundation.errors import InvalidInput, Violation
from caio.gateway.frames import ChatFrames
from caio.gateway.intake import OrchestrateBody, Wishes, kernel_request, read
from caio.gateway.ports import PROTOCOLS_OF, Operation
from caio.gateway.run import Wanted
from caio.tenancy.principals import Caller

AUTO = "auto"
RECEIPT = "x-caio-receipt"
LONGEST_IDEMPOTENCY_KEY = 255

_NO_BODY = b"null"


class OpenAIBody(BaseModel):
    """What CAIO itself reads of an OpenAI-shaped body; everything else passes through."""

    model_config = ConfigDict(extra="allow", frozen=True)

    model: Annotated[str, Field(min_length=1, max_length=128)]
    metadata: dict[str, Any] | None = None


class ChatBody(OpenAIBody):
    """``POST /v1/chat/completions``. ``model`` is a service id, ``auto`` or ``auto:<capability>``."""

    messages: Annotated[list[dict[str, Any]], Field(min_length=1)]
    stream: bool | None = None
    stream_options: dict[str, Any] | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    tools: list[dict[str, Any]] | None = None


class EmbeddingsBody(OpenAIBody):
    """``POST /v1/embeddings``."""

    input: str | list[Any]


def from_orchestrate(raw: bytes, caller: Caller, idempotency_key: str | None = None, fingerprint: str = "") -> Wanted:
    """Raises InvalidInput with every violation."""
    body = read(OrchestrateBody, raw)
    payload = _NO_BODY if body.request.payload is None else msgspec.json.encode(body.request.payload)
    labels = dict(body.context.labels)
    if body.context.session is not None:
        labels["session"] = body.context.session
    request = kernel_request(
        body.request,
        tenant_id=caller.scope.tenant_id,
        currency=caller.tenant.currency,
        input_bytes=len(payload),
        labels=labels,
        protocols=PROTOCOLS_OF[Operation.JSON],
    )
    return Wanted(
        caller,
        request,
        Operation.JSON,
        body.request.payload,
        raw,
        body.policy_references(),
        idempotency_key,
        fingerprint,
    )


def from_chat(raw: bytes, headers: Mapping[str, str], caller: Caller, key: str | None, fingerprint: str) -> Wanted:
    body = read(ChatBody, raw)
    stream = bool(body.stream)
    if stream and key is not None:
        raise InvalidInput("a stream cannot be replayed: leave out Idempotency-Key", code="idempotency_not_for_streams")
    features = ["tools"] if body.tools else []
    tokens = body.max_completion_tokens or body.max_tokens
    wishes = _wishes(body, headers, "chat", features, tokens)
    wanted = _openai(raw, wishes, caller, Operation.CHAT, stream, key, fingerprint)
    include_usage = bool((body.stream_options or {}).get("include_usage"))
    return replace(wanted, frames=partial(ChatFrames, usage=include_usage))


def from_embeddings(
    raw: bytes, headers: Mapping[str, str], caller: Caller, key: str | None, fingerprint: str
) -> Wanted:
    body = read(EmbeddingsBody, raw)
    wishes = _wishes(body, headers, "embeddings", [], None)
    return _openai(raw, wishes, caller, Operation.EMBEDDINGS, False, key, fingerprint)


def fingerprint_of(path: str, raw: bytes, headers: Mapping[str, str], caller: Caller) -> str:
    """What an idempotency key is bound to: the operation, who asks, the wishes in headers, the exact body."""
    wishes = sorted(item for item in headers.items() if item[0].startswith("x-caio-"))
    bound = msgspec.json.encode([path, caller.principal.principal_id, wishes])
    return hashlib.sha256(bound + b"\0" + raw).hexdigest()


def idempotency_key(headers: Mapping[str, str]) -> str | None:
    """The ``Idempotency-Key`` header; raises InvalidInput for an unusable one."""
    key = headers.get("idempotency-key")
    if key is not None and not (0 < len(key) <= LONGEST_IDEMPOTENCY_KEY and key.isascii() and key.isprintable()):
        rule = "must be 1 to 255 printable ASCII characters"
        violations = [Violation("/header/idempotency-key", rule)]
        raise InvalidInput(f"Idempotency-Key {rule}", violations, code="invalid_header")
    return key


def receipt_in_body(headers: Mapping[str, str]) -> bool:
    """Whether the ``x-caio-receipt`` header asks for the receipt itself; raises InvalidInput for another wish."""
    wish = headers.get(RECEIPT)
    if wish not in (None, "body"):
        raise InvalidInput(
            f"{RECEIPT} may only be: body", [Violation(f"/header/{RECEIPT}", "must be body")], code="invalid_header"
        )
    return wish == "body"


#: Routing wishes as headers, and where they stand in ``metadata.caio``.
_HEADERS = {
    "x-caio-max-cost": ("requirements", "max_cost"),
    "x-caio-max-latency-ms": ("requirements", "max_latency_ms"),
    "x-caio-data-locality": ("requirements", "data_locality"),
    "x-caio-data-classification": ("data_classification",),
    "x-caio-seed": ("seed",),
}


def _wishes(
    body: OpenAIBody, headers: Mapping[str, str], capability: str, features: Sequence[str], tokens: int | None
) -> Wishes:
    """Routing wishes from ``metadata.caio`` and ``x-caio-*`` headers; a header wins."""
    stated = (body.metadata or {}).get("caio") or {}
    if not isinstance(stated, dict):
        raise InvalidInput(
            "metadata.caio must be an object",
            [Violation("/metadata/caio", "must be an object")],
            code="invalid_request",
        )
    wishes: dict[str, Any] = {**stated, "requirements": {**_object(stated, "requirements")}}
    for header, path in _HEADERS.items():
        if (value := headers.get(header)) is not None:
            place = wishes if len(path) == 1 else wishes[path[0]]
            place[path[-1]] = value
    if (value := headers.get("x-caio-sensitive")) is not None:
        # Anything but a plain truth value fails validation: a misspelt wish for care is not a "no".
        wishes["sensitive"] = {"true": True, "false": False}.get(value.lower(), value)
    if (value := headers.get("x-caio-policy")) is not None:
        wishes["policies"] = _with(wishes.get("policies", []), [part.strip() for part in value.split(",")])
    if features:
        wishes["requirements"]["features"] = _with(wishes["requirements"].get("features", []), features)
    if tokens is not None:
        wishes["requirements"].setdefault("max_tokens", tokens)
    if body.model == AUTO or body.model.startswith(AUTO + ":"):
        wishes.setdefault("capability", body.model.partition(":")[2] or capability)
    else:
        wishes.setdefault("capability", capability)
        wishes["constraints"] = {**_object(stated, "constraints"), "services": [body.model]}
    return read(Wishes, wishes)


def _with(stated: Any, more: Sequence[str]) -> Any:
    """The list with more in it; what is no list stays as it is, for validation to say so."""
    return [*stated, *more] if isinstance(stated, list) else stated


def _object(stated: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = stated.get(name, {})
    if not isinstance(value, dict):
        pointer = f"/metadata/caio/{name}"
        raise InvalidInput(
            f"{pointer} must be an object", [Violation(pointer, "must be an object")], code="invalid_request"
        )
    return value


def _openai(
    raw: bytes, wishes: Wishes, caller: Caller, operation: Operation, stream: bool, key: str | None, fingerprint: str
) -> Wanted:
    request = kernel_request(
        wishes,
        tenant_id=caller.scope.tenant_id,
        currency=caller.tenant.currency,
        input_bytes=len(raw),
        labels={},
        stream=stream,
        protocols=PROTOCOLS_OF[operation],
    )
    return Wanted(caller, request, operation, msgspec.json.decode(raw), raw, wishes.policies, key, fingerprint)
