"""What every provider of embeddings does, whatever its service is called with: one suite over all of them."""

from __future__ import annotations

import struct
import time
from base64 import b64decode
from collections.abc import AsyncIterator
from ipaddress import ip_network
from typing import Any

import msgspec
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from caio.foundation.errors import UpstreamFailed, UpstreamFault
from caio.foundation.money import Usage
from caio.gateway.ports import Call, Operation, Provider, ProviderAnswer, Target
from caio.providers import OutboundClient, providers
from caio.providers.translation.chat_answer import Unreadable
from caio.providers.translation.embeddings_to_bedrock import LONGEST, Vectors, embedding_requests, embeddings
from caio.providers.translation.embeddings_to_bedrock import vectors as vectors_in
from tests.support.chat_services import AWS_SECRET, KEY, TOKEN, target_for
from tests.support.embedding_services import KINDS, EmbeddingService, embedding_service, tokens_of, vector_of

OF_BEDROCK = tuple(kind for kind, (protocol, _, _) in KINDS.items() if protocol == "bedrock")
TITAN, COHERE = "amazon.titan-embed-text-v2:0", "cohere.embed-english-v3"


class Known:
    """One kind of service, and the provider and target to call it by."""

    def __init__(self, kind: str, service: EmbeddingService, outbound: OutboundClient) -> None:
        self.service = service
        self.protocol, self.model, self.at_once = KINDS[kind]
        self.provider: Provider = providers(outbound)[self.protocol]
        aws = {"auth_scheme": "aws", "path": "", "region": "eu-west-1"} if self.protocol == "bedrock" else {}
        self.target: Target = target_for(
            self.protocol, service.url, **{"path": "/embeddings", "model": self.model} | aws
        )

    async def ask(self, body: Any, seconds: float = 5.0, operation: Operation = Operation.EMBEDDINGS) -> ProviderAnswer:
        secret = AWS_SECRET if self.protocol == "bedrock" else TOKEN
        return await self.provider.call(self.target, Call(operation, body, False, seconds, secret))

    async def failure(self, body: Any, seconds: float = 5.0) -> UpstreamFailed:
        with pytest.raises(UpstreamFailed) as caught:
            await self.ask(body, seconds)
        assert not any(secret in caught.value.message for secret in (TOKEN, KEY))
        return caught.value


@pytest.fixture
async def known(kind: str) -> AsyncIterator[Known]:
    async with embedding_service() as service, OutboundClient([ip_network("127.0.0.0/8")]) as outbound:
        yield Known(kind, service, outbound)


def vectors(answer: ProviderAnswer) -> list[Any]:
    assert [each["index"] for each in answer.body["data"]] == list(range(len(answer.body["data"])))
    return [each["embedding"] for each in answer.body["data"]]


@pytest.mark.parametrize("kind", KINDS)
async def test_one_text(known: Known) -> None:
    answer = await known.ask({"input": "two words", "metadata": {"caio": {"seed": 1}}})
    assert (vectors(answer), answer.usage) == ([vector_of("two words")], Usage(2, 0))
    assert answer.body["object"] == "list"
    assert answer.body["usage"] == {"prompt_tokens": 2, "total_tokens": 2}
    assert "metadata" not in known.service.received[0]


@pytest.mark.parametrize("kind", KINDS)
async def test_each_text_has_its_vector(known: Known) -> None:
    texts = [f"text {'word ' * (number % 3)}{number}" for number in range(100)]
    answer = await known.ask({"input": texts})
    assert vectors(answer) == [vector_of(text) for text in texts]
    assert answer.usage == Usage(sum(map(tokens_of, texts)), 0)
    assert len(known.service.received) == -(-100 // known.at_once)


@pytest.mark.parametrize("kind", OF_BEDROCK)
async def test_base64_is_what_the_numbers_are(known: Known) -> None:
    answer = await known.ask({"input": ["a", "b"], "encoding_format": "base64"})
    raw = [b64decode(each, validate=True) for each in vectors(answer)]
    assert [list(struct.unpack("<4f", each)) for each in raw] == [vector_of("a"), vector_of("b")]
    assert "encoding_format" not in known.service.received[0]


@pytest.mark.parametrize("kind", KINDS)
async def test_tokens_are_those_counted(known: Known) -> None:
    known.service.counting = False
    answer = await known.ask({"input": ["a", "b"]})
    assert (answer.usage, "usage" in answer.body) == (None, False)


@pytest.mark.parametrize("kind", OF_BEDROCK)
async def test_every_request_is_signed_and_goes_to_the_model(known: Known) -> None:
    await known.ask({"input": ["a", "b"]})
    for request in known.service.requests:
        assert request.path == f"/model/{known.model}/invoke"
        assert "/eu-west-1/bedrock/aws4_request" in request.headers["Authorization"]


@pytest.mark.parametrize("kind", OF_BEDROCK)
async def test_a_native_call_is_for_what_the_model_does(known: Known) -> None:
    answer = await known.ask({"input": "a"}, operation=Operation.JSON)
    assert vectors(answer) == [vector_of("a")]


@pytest.mark.parametrize(
    ("status", "fault"),
    [
        (403, UpstreamFault.AUTH),
        (429, UpstreamFault.QUOTA),
        (500, UpstreamFault.UPSTREAM),
        (400, UpstreamFault.INVALID),
    ],
)
@pytest.mark.parametrize("kind", KINDS)
async def test_failures_are_of_the_taxonomy(known: Known, status: int, fault: UpstreamFault) -> None:
    known.service.answers = [web.json_response({"message": f"no: {KEY} {TOKEN}"}, status=status)]
    assert (await known.failure({"input": "a"})).fault is fault


@pytest.mark.parametrize("kind", OF_BEDROCK)
@pytest.mark.parametrize(
    "document",
    [
        {},
        [],
        {"embedding": "text"},
        {"embedding": []},
        {"embedding": [1, None]},
        {"embedding": [True]},
        {"embeddings": {"int8": [[1]]}},
        {"embeddings": [[0.5], [0.5]]},
        {"embeddings": []},
    ],
)
async def test_what_is_no_embedding_is_garbage(known: Known, document: Any) -> None:
    known.service.answers = [web.json_response(document)]
    assert (await known.failure({"input": "a"})).fault is UpstreamFault.GARBAGE


@pytest.mark.parametrize("kind", ["titan 2"])
@pytest.mark.parametrize("vector", [[0.5] * (LONGEST + 1), [0.5, 2**64]])
async def test_a_vector_is_bounded(known: Known, vector: list[Any]) -> None:
    """And read when it comes: what two thousand answers of megabytes hold is never held together."""
    known.service.answers = [web.json_response({"embedding": vector})]
    assert (await known.failure({"input": ["a", "b", "c"]})).fault is UpstreamFault.GARBAGE
    assert len(known.service.received) == 1


@pytest.mark.parametrize("kind", OF_BEDROCK)
async def test_a_failure_between_texts_fails_the_call(known: Known) -> None:
    texts = [str(number) for number in range(2 * known.at_once)]
    known.service.answers = [known.service._titan({"inputText": "0"}), web.Response(status=503)]
    if known.at_once > 1:
        known.service.answers[0] = known.service._cohere("v4", {"input_type": "x", "texts": texts[: known.at_once]})
    assert (await known.failure({"input": texts})).fault is UpstreamFault.OVERLOADED
    assert len(known.service.received) == 2


@pytest.mark.parametrize("kind", KINDS)
async def test_all_texts_are_within_the_time(known: Known) -> None:
    known.service.delay = 0.3
    started = time.monotonic()
    texts = [str(number) for number in range(10 * known.at_once if known.protocol == "bedrock" else 1)]
    known.service.delay = 0.3 if known.protocol == "bedrock" else 3
    assert (await known.failure({"input": texts}, seconds=0.8)).fault is UpstreamFault.TIMEOUT
    assert time.monotonic() - started < 2.0


@pytest.mark.parametrize(
    ("model", "more", "sent"),
    [
        (TITAN, {"dimensions": 256, "normalize": False}, {"inputText": "a", "dimensions": 256, "normalize": False}),
        ("amazon.titan-embed-text-v1", {"user": "u"}, {"inputText": "a"}),
        (
            COHERE,
            {"input_type": "search_query", "truncate": "END"},
            {"texts": ["a"], "input_type": "search_query", "truncate": "END", "embedding_types": ["float"]},
        ),
        (
            "arn:aws:bedrock:eu-west-1::foundation-model/cohere.embed-v4:0",
            {"dimensions": 512},
            {"texts": ["a"], "input_type": "search_document", "output_dimension": 512, "embedding_types": ["float"]},
        ),
    ],
)
def test_requests_fit_the_documented_form(model: str, more: dict[str, Any], sent: dict[str, Any]) -> None:
    assert embedding_requests({"input": "a", "unknown": 1, **more}, model) == [sent]


@pytest.mark.parametrize(
    ("kind", "body", "pointer"),
    [
        ("titan 2", {"input": [[1, 2]]}, "/input/0"),
        ("titan 2", {"input": [1, 2]}, "/input/0"),
        ("cohere 3", {"input": ["a", ""]}, "/input/1"),
        ("cohere 3", {"input": ""}, "/input"),
        ("cohere 3", {"input": []}, "/input"),
        ("cohere 3", {"input": ["a"] * 2049}, "/input"),
        ("cohere 3", {}, "/input"),
        ("titan 2", {"input": "a", "dimensions": 300}, "/dimensions"),
        ("titan 1", {"input": "a", "dimensions": 256}, "/dimensions"),
        ("cohere 3", {"input": "a", "dimensions": 256}, "/dimensions"),
        ("titan 2", {"input": "a", "encoding_format": "int8"}, "/encoding_format"),
    ],
)
async def test_what_cannot_be_said_is_refused_before_the_call(known: Known, body: Any, pointer: str) -> None:
    fault = await known.failure(body)
    assert (fault.fault, known.service.received) == (UpstreamFault.INVALID, [])
    assert f"was not called: {pointer} " in fault.message


@given(st.lists(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1), min_size=1))
def test_vectors_survive_both_ways_of_writing(written: list[list[float]]) -> None:
    document = msgspec.json.decode(msgspec.json.encode({"embeddings": written}))
    answers = [vectors_in({"texts": ["t"] * len(written)}, document, "1")]
    plain = embeddings({}, answers, "m")
    packed = embeddings({"encoding_format": "base64"}, answers, "m")
    assert [each["embedding"] for each in plain.body["data"]] == written
    unpacked = [b64decode(each["embedding"]) for each in packed.body["data"]]
    assert [list(struct.unpack(f"<{len(each) // 4}f", each)) for each in unpacked] == written


def test_a_number_beyond_32_bits_is_no_base64() -> None:
    with pytest.raises(Unreadable):
        embeddings({"encoding_format": "base64"}, [Vectors([[1e300]], None)], "m")
