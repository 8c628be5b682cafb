"""A service that speaks OpenAI's protocol in a process of its own, and answers by what it is asked.

The last user message names what happens: ``status 429`` fails so, ``break`` cuts a stream, anything else is answered
as the rest of the body wants: tools are called, JSON is written, images are noticed, ``n`` answers are given. What
was received last is told at ``GET /seen``.

    python tests/support/openai_model.py
"""

from __future__ import annotations

import asyncio
import base64
import json
import struct
from typing import Any

from aiohttp import web

USAGE = {
    "prompt_tokens": 11,
    "completion_tokens": 7,
    "total_tokens": 18,
    "prompt_tokens_details": {"cached_tokens": 3},
    "completion_tokens_details": {"reasoning_tokens": 2},
}
CITY = {"city": "Paris", "people": 2_100_000}
VECTOR = [0.25, -0.5, 1.0]


class Model:
    """The routes, and what was received last."""

    def __init__(self) -> None:
        self.seen: Any = None

    async def chat(self, request: web.Request) -> web.StreamResponse:
        body = self.seen = await request.json()
        asked = _asked(body)
        if asked.startswith("status "):
            status = int(asked.split()[1])
            error = {"message": "as you wished", "type": "x", "param": None, "code": "wished"}
            return web.json_response({"error": error}, status=status, headers={"Retry-After": "3"})
        message = _message(body, asked)
        reason = "tool_calls" if message.get("tool_calls") else "length" if asked == "be long" else "stop"
        if body.get("stream"):
            return await self._streamed(request, body, message, reason, asked == "break")
        choices = [
            {"index": place, "message": message, "finish_reason": reason, "logprobs": _logprobs(body, message)}
            for place in range(body.get("n") or 1)
        ]
        return web.json_response(
            {
                "id": "chatcmpl-1",
                "object": "chat.completion",
                "created": 1_700_000_000,
                "model": body["model"],
                "choices": choices,
                "usage": USAGE,
            }
        )

    async def _streamed(
        self, request: web.Request, body: Any, message: Any, reason: str, broken: bool
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        deltas: list[Any] = [{"role": "assistant", "content": ""}]
        if thought := message.get("reasoning_content"):
            deltas += [{"reasoning_content": piece} for piece in _pieces(thought)]
        deltas += [{"content": piece} for piece in _pieces(message.get("content") or "")]
        for place, call in enumerate(message.get("tool_calls") or ()):
            function = call["function"]
            begun = {**call, "index": place, "function": {"name": function["name"], "arguments": ""}}
            deltas.append({"tool_calls": [begun]})
            pieces = _pieces(function["arguments"])
            deltas += [{"tool_calls": [{"index": place, "function": {"arguments": piece}}]} for piece in pieces]
        for delta in deltas:
            choices = [{"index": place, "delta": delta, "finish_reason": None} for place in range(body.get("n") or 1)]
            await response.write(self._frame(body, choices))
            if broken and delta.get("content"):
                assert request.transport is not None
                request.transport.close()
                return response
        ends = [{"index": place, "delta": {}, "finish_reason": reason} for place in range(body.get("n") or 1)]
        await response.write(self._frame(body, ends) + self._frame(body, [], usage=USAGE) + b"data: [DONE]\n\n")
        return response

    def _frame(self, body: Any, choices: Any, **more: Any) -> bytes:
        chunk = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1_700_000_000}
        return b"data: " + json.dumps({**chunk, "model": body["model"], "choices": choices, **more}).encode() + b"\n\n"

    async def embeddings(self, request: web.Request) -> web.StreamResponse:
        body = self.seen = await request.json()
        packed = base64.b64encode(struct.pack("<3f", *VECTOR)).decode()
        vector: Any = packed if body.get("encoding_format") == "base64" else VECTOR
        texts = body["input"] if isinstance(body["input"], list) else [body["input"]]
        data = [{"object": "embedding", "index": place, "embedding": vector} for place in range(len(texts))]
        usage = {"prompt_tokens": 4, "total_tokens": 4}
        return web.json_response({"object": "list", "data": data, "model": body["model"], "usage": usage})

    async def told(self, request: web.Request) -> web.StreamResponse:
        return web.json_response(self.seen)


def _asked(body: Any) -> str:
    users = [each["content"] for each in body["messages"] if each["role"] == "user"]
    last = users[-1] if users else ""
    return last if isinstance(last, str) else next((part["text"] for part in last if part["type"] == "text"), "")


def _message(body: Any, asked: str) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": f"You said: {asked}."}
    last = body["messages"][-1]
    if last["role"] == "tool":
        return {**message, "content": f"The tool said: {last['content']}."}
    if body.get("tools") and body.get("tool_choice") != "none":
        names = [tool["function"]["name"] for tool in body["tools"]]
        forced = body.get("tool_choice")
        names = [forced["function"]["name"]] if isinstance(forced, dict) else names
        calls = [
            {"id": f"call_{place}", "type": "function", "function": {"name": name, "arguments": '{"city": "Paris"}'}}
            for place, name in enumerate(names)
        ]
        return {**message, "content": None, "tool_calls": calls}
    if (body.get("response_format") or {}).get("type") in ("json_object", "json_schema"):
        return {**message, "content": json.dumps(CITY)}
    if any(isinstance(each["content"], list) and len(each["content"]) > 1 for each in body["messages"]):
        return {**message, "content": "I see a picture."}
    if asked == "think":
        return {**message, "reasoning_content": "Let me think."}
    return message


def _logprobs(body: Any, message: Any) -> Any:
    if not body.get("logprobs"):
        return None
    return {"content": [{"token": "You", "logprob": -0.5, "bytes": [89, 111, 117], "top_logprobs": []}]}


def _pieces(text: str) -> list[str]:
    return [text[start : start + 5] for start in range(0, len(text), 5)]


async def main() -> None:
    model = Model()
    application = web.Application()
    application.router.add_post("/v1/chat/completions", model.chat)
    application.router.add_post("/v1/embeddings", model.embeddings)
    application.router.add_get("/seen", model.told)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(json.dumps({"url": f"http://127.0.0.1:{runner.addresses[0][1]}"}), flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
