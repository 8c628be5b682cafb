"""Embeddings of Bedrock's models for the real ``openai`` client, counted, charged and ranked like all others."""

from __future__ import annotations

from typing import Any

import openai
import pytest

from tests.e2e.conftest import Served, contract
from tests.e2e.test_protocols import keep_secret
from tests.support.books import books_of
from tests.support.chat_services import AWS_SECRET
from tests.support.embedding_services import EmbeddingService, embedding_service, vector_of


async def _register(caio: Served, service: EmbeddingService, service_id: str, model: str, per_token: str) -> None:
    await keep_secret(caio, AWS_SECRET)
    auth = {"scheme": "aws", "secret_ref": "key"}
    api: dict[str, Any] = {"protocol": "bedrock", "base_url": service.url, "model": model, "region": "eu-west-1"}
    document = contract(service_id, "http://x") | {"capabilities": ["embeddings"], "api": api | {"auth": auth}}
    document["cost"] = {"currency": "USD", "per_input_token": per_token}
    async with caio.http.post("/api/v1/services", json=document) as answer:
        assert answer.status == 201, await answer.text()


@pytest.mark.parametrize("model", ["amazon.titan-embed-text-v2:0", "cohere.embed-english-v3"])
async def test_the_openai_client_has_embeddings_of_bedrock(caio: Served, model: str) -> None:
    async with (
        embedding_service() as service,
        openai.AsyncOpenAI(base_url=f"{caio.url}/v1", api_key=caio.token, max_retries=0) as client,
    ):
        await _register(caio, service, "vectors", model, "0.001")
        raw = await client.embeddings.with_raw_response.create(model="auto", input=["one two", "three"])
        answer = raw.parse()
    assert [each.embedding for each in answer.data] == [vector_of("one two"), vector_of("three")]
    assert answer.usage.prompt_tokens == 3
    assert raw.headers["x-caio-service"] == "vectors@1.0.0"
    books = await books_of(caio.installation)
    assert (books.spent, books.reserved) == (3_000_000, 0)  # nanos: three tokens at 0.001


async def test_a_length_that_one_model_cannot_have_goes_to_another(caio: Served) -> None:
    async with embedding_service() as service:
        await _register(caio, service, "short", "cohere.embed-english-v3", "0.0001")
        await _register(caio, service, "long", "amazon.titan-embed-text-v2:0", "0.001")
        body = {"model": "auto", "input": "a", "dimensions": 512}
        async with caio.http.post("/v1/embeddings", json=body) as answer:
            assert answer.status == 200, await answer.text()
            assert answer.headers["x-caio-service"] == "long@1.0.0"
    assert [each["dimensions"] for each in service.received] == [512]
