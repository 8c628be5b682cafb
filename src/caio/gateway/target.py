"""Where and how a contract says that its service is called for a capability."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from caio.contracts.aws_region import region_of
from caio.foundation.errors import InvalidInput, Violation
from caio.gateway.ports import Target

#: OpenAI's own paths, for contracts of that protocol that name no endpoint.
_OPENAI_PATHS = {"chat": "/chat/completions", "embeddings": "/embeddings"}

#: Where Anthropic's Messages API is below the base URL. Bedrock's paths are made of the model's name.
_MESSAGES_PATH = "/messages"


def endpoint_of(document: Mapping[str, Any], capability: str) -> Mapping[str, Any] | None:
    """The endpoint that serves ``capability``: the one that names it, else the first that names none."""
    endpoints = document["api"].get("endpoints", ())
    named = (each for each in endpoints if each.get("capability") == capability)
    general = (each for each in endpoints if "capability" not in each)
    return next(named, None) or next(general, None)


def target_of(document: Mapping[str, Any], capability: str) -> Target:
    """The target for ``capability`` of a contract's canonical document.

    Without an endpoint an ``openai`` contract is called at OpenAI's path for the capability, an ``anthropic`` one
    at that of messages, and any other at its base URL itself. Raises InvalidInput when neither exists. Not checked:
    that the contract offers the capability at all.
    """
    api = document["api"]
    endpoint = endpoint_of(document, capability)
    if endpoint is None:
        endpoint = {"path": _default_path(document, capability), "method": "POST"}
    auth = api.get("auth", {})
    return Target(
        service_id=document["service_id"],
        protocol=api["protocol"],
        base_url=api.get("base_url", ""),
        path=endpoint["path"],
        method=endpoint.get("method", "POST"),
        model=api.get("model"),
        auth_scheme=auth.get("scheme", "none"),
        secret_ref=auth.get("secret_ref"),
        max_tokens=_max_tokens(document, capability),
        region=api.get("region") or region_of(api.get("base_url")),
        command=api.get("command", document["service_id"]) if api["protocol"] == "process" else None,
    )


def _max_tokens(document: Mapping[str, Any], capability: str) -> int | None:
    for offered in document["capabilities"]:
        if offered["type"] == capability:
            most: int | None = offered.get("limits", {}).get("max_tokens")
            return most
    return None


def _default_path(document: Mapping[str, Any], capability: str) -> str:
    api = document["api"]
    if api.get("endpoints") or (api["protocol"] == "openai" and capability not in _OPENAI_PATHS):
        message = f"no endpoint serves {capability!r}: add one with this capability to the contract"
        raise InvalidInput(
            f"The contract of {document['service_id']!r} cannot be called for {capability!r}",
            [Violation("/api/endpoints", message)],
        )
    if api["protocol"] == "anthropic":
        return _MESSAGES_PATH
    return _OPENAI_PATHS[capability] if api["protocol"] == "openai" else ""
