"""Services of embeddings, real and on this machine: OpenAI's shape, and what Bedrock's models take and answer.

The documents were written after the providers' published documentation; none was recorded. A text's vector tells it
from every other, so that an order that is lost is seen.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from aiohttp import web

#: By the name of a kind: the protocol it speaks, the model that is asked, and the texts that it takes at once.
KINDS: Mapping[str, tuple[str, str, int]] = {
    "openai": ("openai", "text-embedding-3-small", 2048),
    "titan 1": ("bedrock", "amazon.titan-embed-text-v1", 1),
    "titan 2": ("bedrock", "amazon.titan-embed-text-v2:0", 1),
    "cohere 3": ("bedrock", "cohere.embed-multilingual-v3", 96),
    "cohere 4": ("bedrock", "eu.cohere.embed-v4:0", 96),
}


def vector_of(text: str) -> list[float]:
    """Four numbers that a 32-bit float holds exactly."""
    return [byte / 256 - 0.5 for byte in hashlib.sha256(text.encode()).digest()[:4]]


def tokens_of(text: str) -> int:
    return len(text.split())


class EmbeddingService:
    """Answers as its model would; ``answers`` overrides what comes next, ``delay`` is in seconds."""

    def __init__(self) -> None:
        self.received: list[Any] = []
        self.requests: list[web.BaseRequest] = []
        self.answers: list[web.Response] = []
        self.delay, self.counting, self.url = 0.0, True, ""

    async def handle(self, request: web.BaseRequest) -> web.Response:
        body = msgspec.json.decode(await request.read())
        self.received.append(body)
        self.requests.append(request)
        await asyncio.sleep(self.delay)
        if self.answers:
            return self.answers.pop(0)
        if "titan" in request.path:
            return self._titan(body)
        return self._cohere(request.path, body) if "cohere" in request.path else self._openai(body)

    def _openai(self, body: Any) -> web.Response:
        texts = [body["input"]] if isinstance(body["input"], str) else body["input"]
        data = [{"index": at, "object": "embedding", "embedding": vector_of(text)} for at, text in enumerate(texts)]
        count = sum(map(tokens_of, texts))
        usage = {"usage": {"prompt_tokens": count, "total_tokens": count}} if self.counting else {}
        return web.json_response({"object": "list", "data": data, "model": body["model"], **usage})

    def _titan(self, body: Any) -> web.Response:
        vector = vector_of(body["inputText"])
        count = {"inputTextTokenCount": tokens_of(body["inputText"])} if self.counting else {}
        return web.json_response({"embedding": vector, "embeddingsByType": {"float": vector}, **count})

    def _cohere(self, path: str, body: Any) -> web.Response:
        assert body["input_type"]
        assert len(body["texts"]) <= 96
        vectors = [vector_of(text) for text in body["texts"]]
        by_type = {"embeddings": {"float": vectors}, "response_type": "embeddings_by_type"}
        plain = {"embeddings": vectors, "response_type": "embeddings_floats", "texts": body["texts"]}
        count = str(sum(map(tokens_of, body["texts"])))
        headers = {"X-Amzn-Bedrock-Input-Token-Count": count} if self.counting else {}
        return web.json_response({"id": "e", **(by_type if "v4" in path else plain)}, headers=headers)


@asynccontextmanager
async def embedding_service() -> AsyncIterator[EmbeddingService]:
    service = EmbeddingService()
    runner = web.ServerRunner(web.Server(service.handle, access_log=None), shutdown_timeout=0.2)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    service.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield service
    finally:
        await runner.cleanup()
