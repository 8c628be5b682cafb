"""Services behind Amazon Bedrock's Converse API, and its models of embeddings.

Theory of operation
-------------------
A chat in OpenAI's shape is translated (``translation.chat_to_bedrock``) and sent to the model's address. Requests are
signed by ourselves (``aws.signing``) and go through the guarded client like every other: a vendor's client would
resolve and connect past it. The credential is the tenant's own, a secret with a JSON object {access_key_id,
secret_access_key, session_token}, or what the operator lends to the service (``aws.role``), in the same form. With
the scheme ``bearer`` the secret is one of Bedrock's API keys.

Embeddings have no API of all models: InvokeModel takes each one's own document (``translation.embeddings_to_bedrock``),
several of them one after another where a model takes fewer texts than were asked for.

Laws (each has a test of the same name)
---------------------------------------
- a_cut_stream_never_looks_complete: without ``messageStop``, or within a message, it ends in UpstreamFailed.
- leaving_a_stream_cancels_the_call.
- requests_are_signed: what arrives is what was signed.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from functools import partial
from time import monotonic
from typing import Any
from urllib.parse import quote

import msgspec

from caio.aws.signing import AwsKey, signed_headers
from caio.foundation.errors import UpstreamFailed, UpstreamFault, Violation
from caio.gateway.ports import Call, Chunk, Operation, ProviderAnswer, Target
from caio.providers.answers import Answer
from caio.providers.event_stream import EventStreamBroken, Message, MessageReader
from caio.providers.exchange import (
    expect_plain,
    expect_success,
    garbage,
    headers_of,
    json_bytes,
    read_json,
    subject_of,
)
from caio.providers.faults import failed_event
from caio.providers.outbound import OutboundClient
from caio.providers.translated import cut, json_object, told, told_chunks, unsaid, written
from caio.providers.translation.chat_to_bedrock import ConverseStream, completion, converse_request
from caio.providers.translation.embeddings_to_bedrock import (
    Vectors,
    embedder_of,
    embedding_requests,
    embeddings,
    vectors,
)

SERVICE = "bedrock"
STREAM_TYPE = "application/vnd.amazon.eventstream"
_REQUEST_ID = "x-amzn-requestid"
_COUNTED = "x-amzn-bedrock-input-token-count"


class Bedrock:
    """The ``bedrock`` protocol: chats. ``now`` is in microseconds since the epoch."""

    def __init__(self, outbound: OutboundClient, now: Callable[[], int] = lambda: time.time_ns() // 1000) -> None:
        self._outbound = outbound
        self._now = now

    def unsaid(self, target: Target, operation: Operation, body: Any) -> tuple[Violation, ...]:
        """Why the body cannot be said to the target's model; empty when it can."""
        if _embeds(target, operation):
            return unsaid(body, partial(embedding_requests, model=target.model))
        return unsaid(body, partial(converse_request, max_tokens=target.max_tokens))

    async def call(self, target: Target, call: Call) -> ProviderAnswer:
        """One request, one answer (of embeddings perhaps several); raises UpstreamFailed."""
        if _embeds(target, call.operation):
            return await self._embeddings(target, call)
        request, json = written(target, call, partial(converse_request, max_tokens=target.max_tokens))
        key, call = _credentials(target, call)
        async with self._open(target, call, key, request, "converse", "application/json") as answer:
            await expect_success(target, call, answer)
            answer_id = answer.header(_REQUEST_ID) or ""
            document = await read_json(target, answer)
        read = partial(completion, document, answer_id=answer_id, model=target.model or "", json=json)
        return told(target, partial(read, created=self._now() // 1_000_000))

    async def stream(self, target: Target, call: Call) -> AsyncIterator[Sequence[Chunk]]:
        """The chunks up to ``messageStop`` and what it took; raises UpstreamFailed, also when the stream ends
        before. ``call.timeout`` bounds the whole stream."""
        request, json = written(target, call, partial(converse_request, max_tokens=target.max_tokens))
        key, call = _credentials(target, call)
        async with self._open(target, call, key, request, "converse-stream", STREAM_TYPE) as answer:
            await expect_success(target, call, answer)
            expect_plain(target, answer)
            if answer.media_type != STREAM_TYPE:
                raise garbage(target, "answered another content type than an event stream")
            answer_id, created = answer.header(_REQUEST_ID) or "", self._now() // 1_000_000
            converse = ConverseStream(created, answer_id=answer_id, model=target.model or "", json=json)
            reader = MessageReader()
            while piece := await answer.next_step():
                for message in _messages(target, reader, piece):
                    if chunks := _chunks(target, call, converse, message):
                        yield chunks
                if converse.counted:
                    await answer.finish()
                    return
            if converse.complete and reader.between_messages:
                return
        raise cut(target)

    async def _embeddings(self, target: Target, call: Call) -> ProviderAnswer:
        ends_at = monotonic() + call.timeout
        requests = written(target, call, partial(embedding_requests, model=target.model))
        key, call = _credentials(target, call)
        answers: list[Vectors] = []
        for request in requests:
            left = replace(call, timeout=ends_at - monotonic())
            async with self._open(target, left, key, request, "invoke", "application/json") as answer:
                await expect_success(target, call, answer)
                document, counted = await read_json(target, answer), answer.header(_COUNTED)
            answers.append(told(target, partial(vectors, request, document, counted)))
        return told(target, partial(embeddings, call.body, answers, target.model or ""))

    def _open(
        self, target: Target, call: Call, key: AwsKey | None, request: dict[str, Any], action: str, accept: str
    ) -> AbstractAsyncContextManager[Answer]:
        url, body = _url(target, action), json_bytes(target, request)
        if key is None:
            headers = headers_of(target, call, accept)
        else:
            headers = signed_headers(
                key,
                method="POST",
                url=url,
                headers={"Accept": accept, "Content-Type": "application/json"},
                body=body,
                region=target.region or "",
                service=SERVICE,
                at=self._now(),
            )
        return self._outbound.request(
            "POST",
            url,
            subject=subject_of(target),
            seconds=call.timeout,
            headers=headers,
            body=body,
            twice=call.operation is not Operation.JSON,
        )


def _embeds(target: Target, operation: Operation) -> bool:
    """Whether a call is for embeddings. A native call is for what the model does."""
    if operation is Operation.JSON:
        return embedder_of(target.model) is not None
    return operation is Operation.EMBEDDINGS


def _url(target: Target, action: str) -> str:
    """The model's address. A colon stays as it is: clients of HTTP would unquote it after it was signed."""
    if not target.model:
        what = "was not called: its contract names no model, which is part of its address"
        raise UpstreamFailed(f"{subject_of(target)} {what}", UpstreamFault.INVALID)
    base = target.base_url.rstrip("/") + target.path.rstrip("/")
    return f"{base}/model/{quote(target.model, safe=':')}/{action}"


def _credentials(target: Target, call: Call) -> tuple[AwsKey | None, Call]:
    """The key to sign with, and the call whose ``secret`` is what no message may quote. Raises UpstreamFailed AUTH."""
    if target.auth_scheme != "aws":
        return None, call
    try:
        document = msgspec.json.decode(call.secret or "null")
    except ValueError:
        document = None
    match document:
        case {"access_key_id": str(key_id), "secret_access_key": str(key), **rest} if key_id and key:
            token = rest.get("session_token") or None
            values = [key_id, key, *([token] if isinstance(token, str) else [])]
            if isinstance(token, str | None) and all("!" <= char <= "~" for value in values for char in value):
                return AwsKey(key_id, key, token), replace(call, secret="\n".join(values))
    raise UpstreamFailed(
        f"{subject_of(target)} was not called: its secret must be a JSON object of texts: access_key_id,"
        " secret_access_key and, for temporary keys, session_token",
        UpstreamFault.AUTH,
    )


def _messages(target: Target, reader: MessageReader, piece: bytes) -> Iterator[Message]:
    try:
        yield from reader.feed(piece)
        return
    except EventStreamBroken as error:
        failure = garbage(target, f"sent a broken event stream: {error}")
    raise failure


def _chunks(target: Target, call: Call, converse: ConverseStream, message: Message) -> list[Chunk]:
    """The chunks of one message; raises the failure that an exception or error in the stream means."""
    headers = message.headers
    match headers.get(":message-type"):
        case "event":
            document = json_object(target, message.payload)
            return told_chunks(target, partial(converse.read, headers.get(":event-type", ""), document))
        case "exception":
            document = json_object(target, message.payload or b"{}")
            code = headers.get(":exception-type")
            raise failed_event(subject_of(target), document, secret=call.secret, code=code)
        case "error":
            raise failed_event(subject_of(target), {}, secret=call.secret, code=headers.get(":error-code"))
    raise garbage(target, "sent a message of a kind that its protocol does not know")
