"""The real `openai` package against `caio serve` and the OpenAI-compatible example service."""

import contextlib
import json
import os
import subprocess
import sys
import urllib.request
from pathlib import Path

import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam

from caio.contracts import parse_contract

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
QUESTION: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Who chooses the Speaker of the House?"}]


class Server:
    """A child that prints one JSON line when it is ready."""

    def __init__(self, *command, **environment):
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("CAIO_", "OPENAI_"))}
        self.process = subprocess.Popen(
            [sys.executable, *command], stdout=subprocess.PIPE, text=True, env=kept | environment
        )

    def ready(self):
        assert self.process.stdout is not None
        return json.loads(self.process.stdout.readline())

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(60)
        finally:
            self.process.kill()
            self.process.communicate()


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """``(base_url, api_key)`` of a server that has `local-openai` registered."""
    data = tmp_path_factory.mktemp("served")
    with contextlib.ExitStack() as stack:
        serve = ["-m", "caio", "serve", "--json", "--port", "0", "--data-dir", str(data), "--log-level", "warning"]
        caio = Server(*serve, "--allow-private", "127.0.0.0/8")
        stack.callback(caio.stop)
        service = Server(str(EXAMPLES / "services" / "local_openai.py"), "--port", "0", OPENBLAS_NUM_THREADS="1")
        stack.callback(service.stop)
        ready, upstream = caio.ready(), service.ready()
        contract = parse_contract((EXAMPLES / "contracts" / "local-openai.yaml").read_bytes()).value.document()
        contract["api"]["base_url"] = f"{upstream['url']}/v1"
        request = urllib.request.Request(
            f"{ready['url']}/api/v1/services",
            json.dumps(contract).encode(),
            {"Authorization": f"Bearer {ready['api_key']}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=20) as response:
            assert response.status == 201
        yield f"{ready['url']}/v1", ready["api_key"]


@pytest.fixture(scope="module")
def client(served):
    with openai.OpenAI(base_url=served[0], api_key=served[1], max_retries=0, timeout=20) as client:
        yield client


@pytest.fixture
async def async_client(served):
    async with openai.AsyncOpenAI(base_url=served[0], api_key=served[1], max_retries=0, timeout=20) as client:
        yield client


def told(error):
    """The error object of an answer, as the client read it."""
    body = error.value.body
    assert isinstance(body, dict)
    return body


def test_chat(client):
    answer = client.chat.completions.create(model="auto", messages=QUESTION)
    assert "Representatives" in answer.choices[0].message.content
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens > 0


@pytest.mark.parametrize("model", ["auto", "auto:chat", "local-openai"])
def test_a_model_is_a_wish_or_a_service(client, model):
    answer = client.chat.completions.with_raw_response.create(model=model, messages=QUESTION)
    assert answer.headers["x-caio-service"] == "local-openai@1.0.0"
    assert answer.headers["x-caio-decision-id"].startswith("dec_")
    assert answer.parse().choices[0].message.content


@pytest.mark.parametrize("with_usage", [False, True])
def test_chat_streamed(client, with_usage):
    whole = client.chat.completions.create(model="auto", messages=QUESTION)
    options = {"stream_options": {"include_usage": True}} if with_usage else {}
    with client.chat.completions.create(model="auto", messages=QUESTION, stream=True, **options) as stream:
        chunks = list(stream)
    pieces = [choice.delta.content or "" for chunk in chunks for choice in chunk.choices]
    assert len([piece for piece in pieces if piece]) > 1
    assert "".join(pieces) == whole.choices[0].message.content
    usages = [chunk.usage for chunk in chunks if chunk.usage is not None]
    assert usages == ([whole.usage] if with_usage else [])


def test_embeddings(client):
    answer = client.embeddings.create(model="auto", input=["The sea is blue.", "War was declared."])
    assert [len(item.embedding) for item in answer.data] == [64, 64]
    assert answer.data[0].embedding != answer.data[1].embedding
    plain = client.embeddings.create(model="auto", input="The sea is blue.", encoding_format="float")
    assert plain.data[0].embedding == pytest.approx(answer.data[0].embedding, abs=1e-6)


def test_models(client):
    assert {"local-openai", "auto:chat", "auto:embeddings"} <= {model.id for model in client.models.list()}


def test_a_wrong_key_is_an_authentication_error(served):
    with openai.OpenAI(base_url=served[0], api_key="caio_not-a-key", max_retries=0) as stranger:
        for call in (
            lambda: stranger.chat.completions.create(model="auto", messages=QUESTION),
            lambda: stranger.embeddings.create(model="auto", input="x"),
            lambda: list(stranger.models.list()),
        ):
            with pytest.raises(openai.AuthenticationError):
                call()


def test_an_unknown_model_is_refused_by_name(client):
    with pytest.raises(openai.NotFoundError) as refused:
        client.chat.completions.create(model="gpt-unheard-of", messages=QUESTION)
    assert (refused.value.code, refused.value.param) == ("model_not_found", "model")
    assert "gpt-unheard-of" in refused.value.message


@pytest.mark.parametrize("stream", [False, True])
def test_a_refusal_carries_its_reasons(client, stream):
    wishes = {"metadata": {"caio": {"requirements": {"accuracy": {"min": 0.999}}}}}
    with pytest.raises(openai.UnprocessableEntityError) as refused:
        client.chat.completions.create(model="auto", messages=QUESTION, stream=stream, extra_body=wishes)
    (reason,) = told(refused)["reasons"]
    assert (reason["service_id"], reason["clause"], reason["subject"]) == ("local-openai", "guarantee", "accuracy.min")
    assert told(refused)["decision_id"].startswith("dec_")


def test_wishes_travel_in_headers(client):
    headers = {"x-caio-data-locality": "on_device", "x-caio-sensitive": "true"}
    assert client.chat.completions.create(model="auto", messages=QUESTION, extra_headers=headers).choices
    with pytest.raises(openai.UnprocessableEntityError) as refused:
        client.chat.completions.create(model="auto", messages=QUESTION, extra_headers={"x-caio-max-cost": "0"})
    assert told(refused)["reasons"][0]["clause"] == "cost"


def test_a_malformed_call_says_what_is_wrong(client):
    with pytest.raises(openai.UnprocessableEntityError) as refused:
        client.chat.completions.create(model="auto", messages=[])
    assert told(refused)["errors"][0]["pointer"] == "/messages"


async def test_the_asynchronous_client(async_client):
    answer = await async_client.chat.completions.create(model="auto", messages=QUESTION)
    stream = await async_client.chat.completions.create(model="auto", messages=QUESTION, stream=True)
    async with stream:
        pieces = [chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices]
    assert "".join(pieces) == answer.choices[0].message.content
    embedded = await async_client.embeddings.create(model="auto", input="The sea is blue.")
    assert len(embedded.data[0].embedding) == 64
    assert "local-openai" in [model.id async for model in async_client.models.list()]


async def test_a_stream_may_be_left_early(async_client):
    stream = await async_client.chat.completions.create(model="auto", messages=QUESTION, stream=True)
    async with stream:
        async for _ in stream:
            break
    answer = await async_client.chat.completions.create(model="auto", messages=QUESTION)
    assert answer.choices[0].message.content
