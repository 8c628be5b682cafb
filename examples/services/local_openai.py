"""local-openai: an OpenAI-compatible server over extractive models. It generates no text of its own.

One model, ``extractive-1``:

- ``POST /v1/chat/completions``: the last user message is a question, answered
  with words of the shipped documents (``answering.CarefulAnswers``), or, when it asks to
  summarise and a text of at least two sentences follows, that text's summary (TextRank). Plain or
  streamed as server-sent events that end with ``[DONE]``.
- ``POST /v1/embeddings``: LSA sentence embeddings, 64 numbers, unit length.
- ``GET /v1/models``.

Earlier messages and system prompts are counted as input and otherwise ignored; so are sampling
parameters, since the answer is a function of the message. Tokens are words and punctuation marks
(``language.tokens``), not those of any GPT vocabulary. ``max_tokens`` is obeyed. Fields that would
change the answer's meaning (tools, several choices) are refused with 400, not ignored.
"""

from __future__ import annotations

import base64
import json
import re
import time
import uuid
from typing import Any

import numpy as np
from aiohttp import web
from answering import CarefulAnswers
from language import DIMENSION, Lsa, TooManySentences, sentences, shipped_passages, tokens
from sentiment import labelled_reviews
from server import MAX_BODY, json_object, run
from summarizing import TextRank

MODEL = "extractive-1"
MAX_TOKENS = 512
NO_ANSWER = "The documents do not say."

_SUMMARISE = re.compile(r"^\W*(?:please\s+)?summari[sz]e\b[^:\n]*[:\n]", re.IGNORECASE)
_PIECES = re.compile(r"\s*(?:\w+|[^\w\s])")  # a token with the space before it, so that pieces join to the text


class ApiError(Exception):
    """An error in OpenAI's shape: ``{"error": {"message", "type", "param", "code"}}``."""

    def __init__(self, status: int, message: str, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.status, self.param, self.code = status, param, code

    def response(self) -> web.Response:
        error = {"message": str(self), "type": "invalid_request_error", "param": self.param, "code": self.code}
        return web.json_response({"error": error}, status=self.status)


class LocalOpenAI:
    """The three routes, over models built once."""

    def __init__(self) -> None:
        shipped = shipped_passages()
        self._lsa = Lsa([passage.text for passage in shipped] + [row["text"] for row in labelled_reviews("train")])
        self._answers = CarefulAnswers(shipped, self._lsa)
        self._summaries = TextRank()

    def reply(self, message: str) -> str:
        """The answer to one user message; words of a document or of the message, or NO_ANSWER."""
        asked = _SUMMARISE.match(message)
        if asked and len(sentences(message[asked.end() :])) > 1:
            return str(self._summaries.summarize(message[asked.end() :])["summary"])
        return str(self._answers.answer(message)["answer"]) or NO_ANSWER

    def embed(self, texts: list[str]) -> list[list[float]]:
        return [[float(value) for value in row] for row in self._lsa.embed(texts)]

    async def chat(self, request: web.Request) -> web.StreamResponse:
        body = await _body(request)
        _require_model(body)
        messages = _messages(body)
        for field in ("tools", "functions", "logprobs"):
            if body.get(field):
                raise ApiError(400, f"{field} is not supported by an extractive model", field)
        if body.get("n", 1) != 1:
            raise ApiError(400, "n must be 1: there is one answer", "n")
        options = body.get("stream_options") or {}
        if not isinstance(options, dict):
            raise ApiError(400, "stream_options must be an object", "stream_options")
        limit = _token_limit(body)
        pieces = _PIECES.findall(self.reply(messages[-1]))
        reason = "stop" if len(pieces) <= limit else "length"
        pieces = pieces[:limit]
        taken = sum(len(tokens(message)) for message in messages)
        usage = {"prompt_tokens": taken, "completion_tokens": len(pieces), "total_tokens": taken + len(pieces)}
        head = {"id": f"chatcmpl-{uuid.uuid4().hex}", "created": int(time.time()), "model": MODEL}
        if body.get("stream"):
            return await _stream(request, head, pieces, reason, usage if options.get("include_usage") else None)
        message = {"role": "assistant", "content": "".join(pieces)}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": reason}
        return web.json_response({**head, "object": "chat.completion", "choices": [choice], "usage": usage})

    async def embeddings(self, request: web.Request) -> web.StreamResponse:
        body = await _body(request)
        _require_model(body)
        texts = body.get("input")
        texts = [texts] if isinstance(texts, str) else texts
        if not isinstance(texts, list) or not 1 <= len(texts) <= 256:
            raise ApiError(400, "input must be a string or a list of 1 to 256 strings", "input")
        if not all(isinstance(text, str) and text.strip() for text in texts):
            raise ApiError(400, "every input must be a non-empty string (token arrays are not supported)", "input")
        if body.get("dimensions", DIMENSION) != DIMENSION:
            raise ApiError(400, f"dimensions must be {DIMENSION}", "dimensions")
        form = body.get("encoding_format", "float")
        if form not in ("float", "base64"):
            raise ApiError(400, "encoding_format must be float or base64", "encoding_format")
        rows: list[Any] = list(self.embed(texts))
        if form == "base64":
            rows = [base64.b64encode(np.array(row, dtype="<f4").tobytes()).decode("ascii") for row in rows]
        data = [{"object": "embedding", "index": index, "embedding": row} for index, row in enumerate(rows)]
        taken = sum(len(tokens(text)) for text in texts)
        usage = {"prompt_tokens": taken, "total_tokens": taken}
        return web.json_response({"object": "list", "data": data, "model": MODEL, "usage": usage})

    async def models(self, _: web.Request) -> web.StreamResponse:
        data = [{"id": MODEL, "object": "model", "created": 0, "owned_by": "examples"}]
        return web.json_response({"object": "list", "data": data})


@web.middleware
async def _errors(request: web.Request, handler: Any) -> web.StreamResponse:
    try:
        response: web.StreamResponse = await handler(request)
    except ApiError as error:
        return error.response()
    except TooManySentences as error:
        return ApiError(400, str(error), "messages").response()
    except web.HTTPException as error:
        return ApiError(error.status, error.reason or "error").response()
    return response


async def _body(request: web.Request) -> dict[str, Any]:
    try:
        return await json_object(request)
    except ValueError as error:
        raise ApiError(400, f"the body is not valid: {error}") from None


def _require_model(body: dict[str, Any]) -> None:
    if body.get("model") != MODEL:
        message = f"the model {body.get('model')!r} does not exist here; use {MODEL!r}"
        raise ApiError(404, message, "model", "model_not_found")


def _token_limit(body: dict[str, Any]) -> int:
    stated = [body[name] for name in ("max_completion_tokens", "max_tokens") if body.get(name) is not None]
    limit = stated[0] if stated else MAX_TOKENS
    if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
        raise ApiError(400, "max_tokens must be a positive integer", "max_tokens")
    return min(limit, MAX_TOKENS)


def _messages(body: dict[str, Any]) -> list[str]:
    """The texts of all messages up to the last user message, which comes last."""
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise ApiError(400, "messages must be a non-empty list", "messages")
    texts, last_user = [], -1
    for number, message in enumerate(messages):
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            raise ApiError(400, "each message needs a role and content", f"messages[{number}]")
        texts.append(_content(message.get("content"), number))
        if message["role"] == "user" and texts[-1].strip():
            last_user = number
    if last_user < 0:
        raise ApiError(400, "there must be a user message with text", "messages")
    return [*texts[:last_user], *texts[last_user + 1 :], texts[last_user]]


def _content(content: Any, number: int) -> str:
    if content is None:
        return ""
    if isinstance(content, list) and all(
        isinstance(part, dict) and isinstance(part.get("text"), str) for part in content
    ):
        return " ".join(part["text"] for part in content)
    if not isinstance(content, str):
        raise ApiError(400, "content must be a string or a list of text parts", f"messages[{number}].content")
    return content


async def _stream(
    request: web.Request, head: dict[str, Any], pieces: list[str], reason: str, usage: dict[str, int] | None
) -> web.StreamResponse:
    response = web.StreamResponse(
        headers={"Content-Type": "text/event-stream; charset=utf-8", "Cache-Control": "no-cache"}
    )
    await response.prepare(request)
    deltas: list[tuple[dict[str, str], str | None]] = [({"role": "assistant", "content": ""}, None)]
    deltas += [({"content": piece}, None) for piece in pieces] + [({}, reason)]
    base = {**head, "object": "chat.completion.chunk"}
    for delta, finish in deltas:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        await response.write(_event({**base, "choices": [choice]}))
    if usage is not None:
        await response.write(_event({**base, "choices": [], "usage": usage}))
    await response.write(b"data: [DONE]\n\n")
    await response.write_eof()
    return response


def _event(value: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(value).encode() + b"\n\n"


def build() -> web.Application:
    model = LocalOpenAI()
    app = web.Application(client_max_size=MAX_BODY, middlewares=[_errors])
    app.router.add_post("/v1/chat/completions", model.chat)
    app.router.add_post("/v1/embeddings", model.embeddings)
    app.router.add_get("/v1/models", model.models)
    return app


if __name__ == "__main__":
    run("local-openai", 8110, build)
