"""One OpenAPI document for both halves of the API.

FastAPI describes the control plane; the hot paths are described here, from the same models that
read their bodies. ``schemas/openapi.json`` is this document, checked for drift.
"""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema

from caio.api.hot_paths import CHAT, EMBEDDINGS, ORCHESTRATE, RESPONSES
from caio.api.openai.bodies import ChatBody, EmbeddingsBody, ResponsesBody
from caio.api.openai.wishes import PLACES
from caio.api.routes.audit_custody import ErasureWish, HoldWish, RetentionWish
from caio.api.routes.invitations import AcceptanceWish, InvitationWish
from caio.api.routes.keys import KeyWish, RotationWish
from caio.api.routes.members import MemberChange
from caio.api.routes.tenant import OwnTenantPatch
from caio.api.routes.tenants import AdminWish, CancellationWish, SuspensionWish, TenantPatch, TenantWish
from caio.api.routes.webhooks import SecretRotationWish, WebhookWish
from caio.gateway.aliases import AliasBody
from caio.gateway.answer_cache import LONGEST_SECONDS
from caio.gateway.intake import OrchestrateBody
from caio.gateway.plan_intake import PlanBody
from caio.gateway.workflows.definition import RunBody

_PROBLEM = {
    "type": "object",
    "title": "Problem",
    "description": "RFC 9457. `code` is stable; `errors` lists every violation, `reasons` what each service lacked.",
    "required": ["type", "title", "status", "detail", "code"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "code": {"type": "string"},
        "retryable": {"type": "boolean"},
        "decision_id": {"type": "string"},
        "fault": {"type": "string"},
        "errors": {"type": "array", "items": {"type": "object"}},
        "reasons": {"type": "array", "items": {"type": "object"}},
    },
}
_OPENAI_ERROR = {
    "type": "object",
    "title": "OpenAIError",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "code"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"]},
                "code": {"type": ["string", "null"]},
            },
        }
    },
}
_ORCHESTRATED = {
    "type": "object",
    "title": "OrchestrateAnswer",
    "required": [
        "decision_id",
        "service",
        "output",
        "usage",
        "cost",
        "latency_ms",
        "attempts",
        "violations",
        "receipt",
    ],
    "properties": {
        "decision_id": {"type": "string"},
        "service": {
            "type": "object",
            "required": ["id", "version"],
            "properties": {"id": {"type": "string"}, "version": {"type": "string"}},
        },
        "output": {"description": "What the service answered."},
        "usage": {
            "type": "object",
            "properties": {"input_tokens": {"type": "integer"}, "output_tokens": {"type": "integer"}},
        },
        "cost": {
            "type": "object",
            "properties": {"amount": {"type": "string"}, "currency": {"type": "string"}},
        },
        "latency_ms": {"type": "integer"},
        "attempts": {"type": "integer"},
        "violations": {"type": "array", "items": {"type": "object"}},
        "receipt": {
            "description": "Where to fetch the receipt; the receipt itself with `x-caio-receipt: body`.",
            "oneOf": [{"type": "string"}, {"type": "object"}],
        },
    },
}

_RECEIPT_IN_BODY = {
    "name": "x-caio-receipt",
    "in": "header",
    "required": False,
    "description": "`body`: the answer holds the signed receipt instead of its address.",
    "schema": {"type": "string", "enum": ["body"]},
}

_CACHE = {
    "name": "x-caio-cache",
    "in": "header",
    "required": False,
    "description": "An answer to an equal request that is so many seconds old at most will do as well.",
    "schema": {"type": "integer", "minimum": 1, "maximum": LONGEST_SECONDS},
}

_ROUTING_WISHES = [
    {
        "name": header,
        "in": "header",
        "required": False,
        "description": f"`{'.'.join(place)}` of `metadata.caio`; a header wins, of lists both hold.",
        "schema": {"type": "string"},
    }
    for header, place in PLACES.items()
]

_TENANT = {
    "name": "X-Tenant-ID",
    "in": "header",
    "required": False,
    "description": "Selects among the tenants that the credential proves.",
    "schema": {"type": "string"},
}

#: Every status an operation may answer with, beyond its own success.
_FAILURES = {
    "401": "No valid credential",
    "402": "The tenant's budget is exhausted",
    "403": "The credential does not permit this",
    "404": "Nothing there, or another tenant's",
    "405": "Another method",
    "409": "In conflict with the present state",
    "410": "The content was erased for good",
    "412": "If-Match does not match, or is missing",
    "413": "The body is too large",
    "422": "Invalid input, or no service satisfies the request",
    "429": "A limit is reached; `Retry-After` says when to come back",
    "502": "The chosen services failed",
    "503": "Not ready",
    "504": "The deadline passed",
}
#: What routes read from raw bodies, and FastAPI therefore does not know.
_BODIES = (
    OrchestrateBody,
    ChatBody,
    EmbeddingsBody,
    ResponsesBody,
    AliasBody,
    KeyWish,
    RotationWish,
    MemberChange,
    HoldWish,
    RetentionWish,
    ErasureWish,
    WebhookWish,
    SecretRotationWish,
    InvitationWish,
    AcceptanceWish,
    OwnTenantPatch,
    TenantWish,
    TenantPatch,
    AdminWish,
    SuspensionWish,
    CancellationWish,
    PlanBody,
    RunBody,
)
_UNAUTHENTICATED = ("/health", "/health/live", "/health/ready", "/.well-known/caio-keys.json")
_CALLING = ("402", "502", "504")


def document(app: FastAPI) -> dict[str, Any]:
    """The whole document; built once and kept on the application."""
    if app.openapi_schema is None:
        whole = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
        _add_models(whole)
        whole["paths"] |= _hot_operations()
        for path, operations in whole["paths"].items():
            for operation in operations.values():
                _describe_failures(path, operation)
        app.openapi_schema = whole
    return app.openapi_schema


def _add_models(whole: dict[str, Any]) -> None:
    bodies = [(model, "validation") for model in _BODIES]
    _, generated = models_json_schema(bodies, ref_template="#/components/schemas/{model}")  # type: ignore[arg-type]
    schemas = whole["components"].setdefault("schemas", {})
    schemas |= generated["$defs"]
    schemas |= {"Problem": _PROBLEM, "OpenAIError": _OPENAI_ERROR, "OrchestrateAnswer": _ORCHESTRATED}
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)


def _hot_operations() -> dict[str, Any]:
    orchestrate = _operation(
        "routing",
        "Route a request to the best service that satisfies it, call it, and answer",
        "OrchestrateBody",
        {"application/json": {"schema": {"$ref": "#/components/schemas/OrchestrateAnswer"}}},
    )
    orchestrate["parameters"].append(_RECEIPT_IN_BODY)
    chat = _operation(
        "openai",
        "OpenAI-compatible chat; `model` is a service id, `auto` or `auto:<capability>`",
        "ChatBody",
        {"application/json": {"schema": {"type": "object"}}, "text/event-stream": {"schema": {"type": "string"}}},
    )
    embeddings = _operation(
        "openai", "OpenAI-compatible embeddings", "EmbeddingsBody", {"application/json": {"schema": {"type": "object"}}}
    )
    responses = _operation(
        "openai",
        "OpenAI-compatible responses, answered by services that chat; nothing is kept",
        "ResponsesBody",
        {"application/json": {"schema": {"type": "object"}}, "text/event-stream": {"schema": {"type": "string"}}},
    )
    for operation in (chat, embeddings, responses):
        operation["parameters"] += _ROUTING_WISHES
    return {
        ORCHESTRATE: {"post": orchestrate},
        CHAT: {"post": chat},
        EMBEDDINGS: {"post": embeddings},
        RESPONSES: {"post": responses},
    }


def _operation(tag: str, summary: str, model: str, content: dict[str, Any]) -> dict[str, Any]:
    key = {
        "name": "Idempotency-Key",
        "in": "header",
        "required": False,
        "description": "Repeating a call with the same key and body within 24 hours gives the first call's answer.",
        "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
    }
    return {
        "tags": [tag],
        "summary": summary,
        "security": [{"HTTPBearer": []}],
        "parameters": [key, _TENANT, _CACHE],
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{model}"}}},
        },
        "responses": {"200": {"description": "The answer", "content": content}},
    }


def _describe_failures(path: str, operation: dict[str, Any]) -> None:
    """State the errors of an operation; FastAPI's own 422 is not what this API answers."""
    responses = operation["responses"]
    responses.pop("422", None)
    openai = path.startswith("/v1/")
    kind = "application/json" if openai else "application/problem+json"
    schema = {"$ref": f"#/components/schemas/{'OpenAIError' if openai else 'Problem'}"}
    for status, meaning in _FAILURES.items():
        calls = path in (ORCHESTRATE, CHAT, EMBEDDINGS, RESPONSES)
        if path in _UNAUTHENTICATED or (status in _CALLING and not calls) or status in responses:
            continue
        responses[status] = {"description": meaning, "content": {kind: {"schema": schema}}}
