"""``POST /v1/chat/completions``: from the body to what the gateway is asked for.

The body goes on to the service as it came, but for CAIO's own keys and, where an alias or a wish bounds the answer
more tightly than the body does, the bound.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

from caio.api.openai.bodies import ChatBody, Object, decoded
from caio.api.openai.naming import ModelNames
from caio.api.openai.wishes import Asked, Headers, wished
from caio.foundation.errors import InvalidInput
from caio.gateway.chats import BOUNDS, bounded
from caio.gateway.frames import ChatFrames
from caio.gateway.ports import Operation
from caio.gateway.run import Wanted
from caio.tenancy.principals import Caller

#: What parts of a message need of a service, by their type.
_PARTS = {"image_url": "vision", "input_audio": "audio", "file": "files"}


async def from_chat(
    names: ModelNames, raw: bytes, headers: Headers, caller: Caller, key: str | None = None, fingerprint: str = ""
) -> Wanted:
    """Raises InvalidInput, and NotFound for a model that is nothing."""
    body = decoded(ChatBody, raw)
    if body.get("stream"):
        refuse_replays(key)
    asked = asked_of(body)
    meant = await names.meant(caller.scope, body["model"])
    wish = wished(body, headers, len(raw), caller, asked, meant)
    body = bounded(body, wish.request.max_tokens)
    if not asked.stream:
        return Wanted(caller, wish.request, Operation.CHAT, body, raw, wish.policies, key, fingerprint)
    usage = bool((body.get("stream_options") or {}).get("include_usage"))
    frames = partial(ChatFrames, usage=usage)
    return Wanted(caller, wish.request, Operation.CHAT, body, raw, wish.policies, frames=frames)


def refuse_replays(key: str | None) -> None:
    """Raises InvalidInput for a stream with an idempotency key."""
    if key is not None:
        raise InvalidInput("a stream cannot be replayed: leave out Idempotency-Key", code="idempotency_not_for_streams")


def asked_of(body: Object) -> Asked:
    """What a chat needs of the service that answers it."""
    features = []
    if body.get("tools") or body.get("functions"):
        features.append("tools")
    if (form := body.get("response_format")) is not None and form.get("type") in ("json_object", "json_schema"):
        features.append("json")
    for message in body["messages"]:
        if type(content := message.get("content")) is list:
            features += _needed(content)
    stated = [tokens for name in BOUNDS if (tokens := body.get(name)) is not None]
    return Asked(
        Operation.CHAT,
        "chat",
        tuple(dict.fromkeys(features)),
        min(stated, default=None),
        body.get("n") or 1,
        bool(body.get("stream")),
    )


def _needed(content: Iterable[Any]) -> list[str]:
    kinds = [part.get("type") for part in content if isinstance(part, Mapping)]
    return [_PARTS[kind] for kind in kinds if isinstance(kind, str) and kind in _PARTS]
