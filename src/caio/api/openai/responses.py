"""``POST /v1/responses``: from the body to what the gateway is asked for, and how its answer is told."""

from __future__ import annotations

import secrets
from functools import partial
from typing import Any

import msgspec

from caio.api.openai.bodies import ResponsesBody, decoded
from caio.api.openai.chat import asked_of, refuse_replays
from caio.api.openai.naming import ModelNames
from caio.api.openai.response_events import ResponseFrames
from caio.api.openai.responses_to_chat import chat_of, response_of
from caio.api.openai.wishes import Headers, wished
from caio.gateway.chats import bounded
from caio.gateway.ports import Operation
from caio.gateway.run import Answer, Wanted
from caio.tenancy.principals import Caller


async def from_responses(
    names: ModelNames, raw: bytes, headers: Headers, caller: Caller, key: str | None = None, fingerprint: str = ""
) -> Wanted:
    """Raises InvalidInput, by name for what is not supported, and NotFound for a model that is nothing."""
    body = decoded(ResponsesBody, raw)
    if body.get("stream"):
        refuse_replays(key)
    chat = chat_of(body)
    asked = asked_of(chat)
    meant = await names.meant(caller.scope, body["model"])
    wish = wished(body, headers, len(raw), caller, asked, meant)
    chat = bounded(chat, wish.request.max_tokens)
    response_id = f"resp_{secrets.token_hex(16)}"
    return Wanted(
        caller,
        wish.request,
        Operation.CHAT,
        chat,
        raw,
        wish.policies,
        key,
        fingerprint,
        frames=partial(ResponseFrames, response_id, body),
        render=partial(_rendered, response_id, body),
    )


def _rendered(response_id: str, body: dict[str, Any], answer: Answer) -> bytes:
    return msgspec.json.encode(response_of(response_id, body, answer.body))
