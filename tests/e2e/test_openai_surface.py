"""OpenAI's whole surface with the real `openai` package: against ``caio serve`` and a service in its own process."""

from __future__ import annotations

import contextlib
import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from pydantic import BaseModel

from tests.e2e.test_openai_client import Server

SUPPORT = Path(__file__).resolve().parents[1] / "support"
HELLO: Any = [{"role": "user", "content": "hello"}]
TOOLS: Any = [
    {"type": "function", "function": {"name": name, "parameters": {"type": "object", "properties": {}}}}
    for name in ("weather", "people")
]
IMAGE = "data:image/png;base64,iVBORw0KGgo="


class City(BaseModel):
    city: str
    people: int


class World:
    """A running CAIO with services: ``able`` can do everything, ``plain`` chats and nothing else."""

    def __init__(self, url: str, api_key: str, service: str) -> None:
        self.url = url
        self.api_key = api_key
        self.service = service
        self.client = openai.OpenAI(base_url=f"{url}/v1", api_key=api_key, max_retries=0, timeout=30)

    def ask(self, method: str, path: str, document: Any = None, **headers: str) -> tuple[int, Any, Any]:
        body = None if document is None else json.dumps(document).encode()
        stated = {"Authorization": f"Bearer {self.api_key}", "Content-Type": "application/json", **headers}
        request = urllib.request.Request(f"{self.url}{path}", body, stated, method=method)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                text = answer.read()
                return answer.status, json.loads(text) if text else None, answer.headers
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read()), error.headers

    def alias(self, name: str, **document: Any) -> None:
        status, told, _ = self.ask("PUT", f"/api/v1/models/aliases/{name}", document)
        assert status == 200, told

    @property
    def seen(self) -> Any:
        with urllib.request.urlopen(f"{self.service}/seen", timeout=30) as answer:
            return json.load(answer)


def contract(service_id: str, url: str, features: list[str], price: str) -> dict[str, Any]:
    limits = {"max_tokens": 1000, "context_length": 100_000}
    return {
        "service_id": service_id,
        "name": service_id,
        "version": "1.0.0",
        "owner": "examples",
        "capabilities": [
            {"type": "chat", "features": features, "limits": limits},
            {"type": "embeddings", "limits": {"max_tokens": 1}},
        ],
        "guarantees": {"latency_ms": {"max": 20_000}, "first_token_ms": {"max": 20_000}},
        "cost": {"currency": "USD", "per_request": price, "per_output_token": "0.00001"},
        "privacy": {"data_locality": "on_device", "trains_on_data": False},
        "api": {
            "protocol": "openai",
            "base_url": f"{url}/v1",
            "model": "m",
            "endpoints": [
                {"path": "/chat/completions", "method": "POST", "capability": "chat"},
                {"path": "/embeddings", "method": "POST", "capability": "embeddings"},
            ],
            "timeout_ms": 20_000,
        },
    }


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    data = tmp_path_factory.mktemp("surface")
    with contextlib.ExitStack() as stack:
        serve = ["-m", "caio", "serve", "--json", "--port", "0", "--data-dir", str(data), "--log-level", "warning"]
        caio = Server(*serve, "--allow-private", "127.0.0.0/8")
        stack.callback(caio.stop)
        service = Server(str(SUPPORT / "openai_model.py"))
        stack.callback(service.stop)
        ready, upstream = caio.ready(), service.ready()
        world = World(ready["url"], ready["api_key"], upstream["url"])
        stack.callback(world.client.close)
        able = ["streaming", "tools", "json", "vision"]
        for each in (
            contract("able", upstream["url"], able, "0.002"),
            contract("plain", upstream["url"], ["streaming"], "0.001"),
        ):
            status, told, _ = world.ask("POST", "/api/v1/services", each)
            assert status == 201, told
        yield world


@pytest.fixture
def chat(world: World) -> Any:
    return world.client.chat.completions


@pytest.fixture
def responses(world: World) -> Any:
    return world.client.responses


def told(error: Any) -> Any:
    return error.value.body


# --- chat -----------------------------------------------------------------------------------------


def test_tools_make_a_round_trip(chat: Any) -> None:
    first = chat.create(model="auto", messages=HELLO, tools=TOOLS, parallel_tool_calls=True)
    message = first.choices[0].message
    assert [call.function.name for call in message.tool_calls] == ["weather", "people"]
    assert first.choices[0].finish_reason == "tool_calls"
    results = [{"role": "tool", "tool_call_id": call.id, "content": "21 °C"} for call in message.tool_calls]
    second = chat.create(model="auto", messages=[*HELLO, message, *results], tools=TOOLS)
    assert second.choices[0].message.content == "The tool said: 21 °C."


def test_a_tool_may_be_chosen(chat: Any) -> None:
    choice = {"type": "function", "function": {"name": "people"}}
    answer = chat.create(model="auto", messages=HELLO, tools=TOOLS, tool_choice=choice)
    assert [call.function.name for call in answer.choices[0].message.tool_calls] == ["people"]
    assert not chat.create(model="auto", messages=HELLO, tools=TOOLS, tool_choice="none").choices[0].message.tool_calls


def test_json_mode_and_parsing(chat: Any) -> None:
    answer = chat.create(model="auto", messages=HELLO, response_format={"type": "json_object"})
    assert json.loads(answer.choices[0].message.content)["city"] == "Paris"
    parsed = chat.parse(model="auto", messages=HELLO, response_format=City)
    assert parsed.choices[0].message.parsed == City(city="Paris", people=2_100_000)


@pytest.mark.parametrize(
    ("more", "feature"),
    [
        ({"tools": TOOLS}, "tools"),
        ({"response_format": {"type": "json_object"}}, "json"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": IMAGE}}]}]}, "vision"),
    ],
)
def test_what_a_body_needs_is_needed_of_the_service(chat: Any, more: Any, feature: str) -> None:
    body = {"model": "plain", "messages": HELLO} | more
    with pytest.raises(openai.UnprocessableEntityError) as refused:
        chat.create(**body)
    (reason, _) = sorted(told(refused)["reasons"], key=lambda each: each["clause"])
    assert (reason["service_id"], reason["clause"], reason["required"]) == ("plain", "feature", feature)
    assert chat.with_raw_response.create(**body | {"model": "auto"}).headers["x-caio-service"] == "able@1.0.0"


def test_messages_of_several_parts(chat: Any) -> None:
    parts = [{"type": "text", "text": "look"}, {"type": "image_url", "image_url": {"url": IMAGE}}]
    answer = chat.create(model="auto", messages=[{"role": "user", "content": parts}])
    assert answer.choices[0].message.content == "I see a picture."


def test_several_answers_and_logprobs(chat: Any) -> None:
    answer = chat.create(model="auto", messages=HELLO, n=3, logprobs=True)
    assert [choice.index for choice in answer.choices] == [0, 1, 2]
    assert answer.choices[0].logprobs.content[0].token == "You"


def test_every_answer_that_is_asked_for_is_reserved(chat: Any) -> None:
    """1,000 tokens at 0.00001 each: one answer may cost 0.011, three 0.031."""
    wish = {"x-caio-max-cost": "0.02"}
    assert chat.create(model="plain", messages=HELLO, extra_headers=wish)
    with pytest.raises(openai.UnprocessableEntityError) as refused:
        chat.create(model="plain", messages=HELLO, n=3, extra_headers=wish)
    assert {each["clause"] for each in told(refused)["reasons"]} == {"cost", "service"}
    assert chat.create(model="plain", messages=HELLO, n=3, max_completion_tokens=500, extra_headers=wish)


def test_a_service_is_told_what_was_reserved(world: World, chat: Any) -> None:
    wish = {"metadata": {"caio": {"requirements": {"max_tokens": 20}}}}
    chat.create(model="auto", messages=HELLO, extra_body=wish)
    assert world.seen["max_completion_tokens"] == 20
    chat.create(model="auto", messages=HELLO, max_tokens=50, extra_body=wish)
    assert world.seen["max_tokens"] == 20
    chat.create(model="auto", messages=HELLO, max_tokens=10, extra_body=wish)
    assert world.seen["max_tokens"] == 10


def test_what_nobody_knows_passes_through(world: World, chat: Any) -> None:
    chat.create(model="auto", messages=HELLO, seed=7, extra_body={"top_k": 3, "metadata": {"mine": "1", "caio": {}}})
    assert (world.seen["seed"], world.seen["top_k"], world.seen["metadata"]) == (7, 3, {"mine": "1"})


def test_the_stream_helper(chat: Any) -> None:
    with chat.stream(model="auto", messages=HELLO, stream_options={"include_usage": True}) as stream:
        kinds = {event.type for event in stream}
        whole = stream.get_final_completion()
    assert {"chunk", "content.delta", "content.done"} <= kinds
    assert whole.choices[0].message.content == "You said: hello."
    assert whole.usage.total_tokens == 18
    with chat.stream(model="auto", messages=HELLO, tools=TOOLS) as stream:
        calls = stream.get_final_completion().choices[0].message.tool_calls
    assert [json.loads(call.function.arguments) for call in calls] == [{"city": "Paris"}] * 2


@pytest.mark.parametrize("model", ["able", "able@1.0.0"])
def test_headers_tell_the_routing(chat: Any, model: str) -> None:
    raw = chat.with_raw_response.create(model=model, messages=HELLO)
    assert raw.headers["x-caio-service"] == "able@1.0.0"
    assert raw.headers["x-caio-receipt"] == raw.headers["x-caio-decision-id"]
    assert raw.headers["x-request-id"] == raw.parse()._request_id


# --- errors ---------------------------------------------------------------------------------------


def test_errors_are_the_clients_own(world: World, chat: Any) -> None:
    with pytest.raises(openai.UnprocessableEntityError) as refused:
        chat.create(model="auto", messages=HELLO, extra_headers={"x-caio-deadline-ms": "soon"})
    assert (refused.value.param, refused.value.code) == ("x-caio-deadline-ms", "invalid_request")
    with pytest.raises(openai.UnprocessableEntityError) as refused:
        chat.create(
            model="auto", messages=HELLO, extra_body={"metadata": {"caio": {"requirements": {"max_cost": "a"}}}}
        )
    assert refused.value.param == "metadata.caio.requirements.max_cost"
    with pytest.raises(openai.UnprocessableEntityError) as refused:
        chat.create(model="auto", messages=HELLO, n=0)
    assert refused.value.param == "n"
    with pytest.raises(openai.NotFoundError) as unknown:
        chat.create(model="able@2.0.0", messages=HELLO)
    assert (unknown.value.param, unknown.value.code) == ("model", "model_not_found")
    with pytest.raises(openai.NotFoundError):
        chat.create(model="auto:\0 no capability", messages=HELLO)
    with pytest.raises(openai.InternalServerError):
        chat.create(model="plain", messages=[{"role": "user", "content": "status 500"}])


def test_a_key_that_may_not_call_is_told_so(world: World) -> None:
    _, made, _ = world.ask("POST", "/api/v1/keys", {"name": "reader", "roles": ["auditor"]})
    reader = openai.OpenAI(base_url=f"{world.url}/v1", api_key=made["token"], max_retries=0)
    with reader, pytest.raises(openai.PermissionDeniedError):
        reader.chat.completions.create(model="auto", messages=HELLO)


def test_a_limit_says_when_to_come_back(world: World) -> None:
    _, made, _ = world.ask("POST", "/api/v1/keys", {"name": "slow", "limits": {"requests_per_minute": 1}})
    with openai.OpenAI(base_url=f"{world.url}/v1", api_key=made["token"], max_retries=0) as slow:
        slow.chat.completions.create(model="auto", messages=HELLO)
        with pytest.raises(openai.RateLimitError) as limited:
            slow.chat.completions.create(model="auto", messages=HELLO)
    assert int(limited.value.response.headers["retry-after"]) > 0


def read_until_broken(stream: Any, pieces: list[Any]) -> None:
    for each in stream:
        assert getattr(each, "type", "") not in ("response.completed", "response.output_item.done")
        pieces.append(each)


@pytest.mark.parametrize("surface", ["chat", "responses"])
def test_a_stream_that_breaks_raises_in_the_client(world: World, surface: str) -> None:
    ask: Any = [{"role": "user", "content": "break"}]
    if surface == "chat":
        stream: Any = world.client.chat.completions.create(model="plain", messages=ask, stream=True)
    else:
        stream = world.client.responses.create(model="plain", input="break", stream=True)
    pieces: list[Any] = []
    with pytest.raises(openai.APIError) as broken:
        read_until_broken(stream, pieces)
    assert pieces
    assert told(broken)["decision_id"].startswith("dec_")


# --- embeddings and models ------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", [None, "float", "base64"])
def test_embeddings(world: World, encoding: Any) -> None:
    stated = {} if encoding is None else {"encoding_format": encoding}
    answer = world.client.embeddings.create(model="auto", input=["a", "b"], **stated)
    assert [item.index for item in answer.data] == [0, 1]
    if encoding != "base64":
        assert answer.data[0].embedding == [0.25, -0.5, 1.0]


def test_models_are_listed_and_found(world: World) -> None:
    world.alias("listed", target={"services": ["able"]})
    listed = {model.id: model for model in world.client.models.list()}
    assert {"able", "plain", "auto", "auto:chat", "auto:embeddings", "listed"} <= listed.keys()
    assert listed["able"].created > 1_700_000_000
    assert (listed["able"].owned_by, listed["auto"].owned_by) == ("examples", "caio")
    assert {model.id: model for model in world.client.models.list()} == listed
    for name in ("able", "auto:chat", "listed"):
        assert world.client.models.retrieve(name) == listed[name]
    assert world.client.models.retrieve("able@1.0.0").id == "able@1.0.0"
    with pytest.raises(openai.NotFoundError) as unknown:
        world.client.models.retrieve("nothing")
    assert unknown.value.code == "model_not_found"


# --- responses ------------------------------------------------------------------------------------


def test_a_response(responses: Any) -> None:
    answer = responses.create(model="auto", instructions="Be brief.", input="hello", max_output_tokens=50)
    assert answer.output_text == "You said: hello."
    assert (answer.status, answer.store, answer.instructions) == ("completed", False, "Be brief.")
    assert (answer.usage.input_tokens, answer.usage.output_tokens, answer.usage.total_tokens) == (11, 7, 18)
    assert answer.usage.input_tokens_details.cached_tokens == 3
    assert answer.usage.output_tokens_details.reasoning_tokens == 2


def test_a_response_may_be_cut_short(responses: Any) -> None:
    answer = responses.create(model="auto", input="be long")
    assert (answer.status, answer.incomplete_details.reason) == ("incomplete", "max_output_tokens")


def test_a_responses_functions_make_a_round_trip(responses: Any) -> None:
    tools = [{"type": "function", "name": "weather", "parameters": {"type": "object"}, "strict": False}]
    first = responses.create(model="auto", input="hello", tools=tools)
    (call,) = [item for item in first.output if item.type == "function_call"]
    assert (call.name, json.loads(call.arguments)) == ("weather", {"city": "Paris"})
    output = {"type": "function_call_output", "call_id": call.call_id, "output": "21 °C"}
    earlier = [{"role": "user", "content": "hello"}, *first.output]
    second = responses.create(model="auto", input=[*earlier, output], tools=tools)
    assert second.output_text == "The tool said: 21 °C."


def test_a_response_of_a_schema(world: World, responses: Any) -> None:
    parsed = responses.parse(model="auto", input="hello", text_format=City)
    assert parsed.output_parsed == City(city="Paris", people=2_100_000)
    assert world.seen["response_format"]["json_schema"]["name"] == "City"


def test_a_response_that_is_told_as_it_comes(responses: Any) -> None:
    events = list(responses.create(model="auto", input="think", stream=True))
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert [events[0].type, events[1].type] == ["response.created", "response.in_progress"]
    assert [item.type for item in events[-1].response.output] == ["reasoning", "message"]
    assert events[-1].type == "response.completed"
    with responses.stream(model="auto", input="hello") as stream:
        pieces = [event.delta for event in stream if event.type == "response.output_text.delta"]
        final = stream.get_final_response()
    assert "".join(pieces) == final.output_text == "You said: hello."
    tools = [{"type": "function", "name": "weather", "parameters": {"type": "object"}, "strict": False}]
    with responses.stream(model="auto", input="hello", tools=tools) as stream:
        (call,) = stream.get_final_response().output
    assert (call.name, call.arguments) == ("weather", '{"city": "Paris"}')


@pytest.mark.parametrize(
    ("stated", "param"),
    [
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"store": True}, "store"),
        ({"background": True}, "background"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
        ({"extra_body": {"n": 5}}, "n"),
    ],
)
def test_what_a_chat_cannot_do_is_refused_by_name(responses: Any, stated: Any, param: str) -> None:
    with pytest.raises(openai.UnprocessableEntityError) as refused:
        responses.create(model="auto", input="hello", **stated)
    assert (refused.value.code, refused.value.param) == ("unsupported_parameter", param)


def test_responses_are_not_kept(responses: Any) -> None:
    with pytest.raises(openai.NotFoundError) as gone:
        responses.retrieve("resp_1")
    assert gone.value.code == "response_not_kept"


async def test_the_asynchronous_client(world: World) -> None:
    async with openai.AsyncOpenAI(base_url=f"{world.url}/v1", api_key=world.api_key, max_retries=0) as client:
        assert (await client.responses.create(model="auto", input="hello")).output_text == "You said: hello."
        async with client.responses.stream(model="auto", input="hello") as stream:
            assert (await stream.get_final_response()).output_text == "You said: hello."
        async with client.chat.completions.stream(model="auto", messages=HELLO) as chats:
            assert (await chats.get_final_completion()).choices[0].message.content == "You said: hello."


# --- aliases --------------------------------------------------------------------------------------


def test_an_alias_stands_for_a_service_with_terms(world: World, chat: Any) -> None:
    wishes = {"requirements": {"max_tokens": 30, "max_cost": "0.01"}}
    world.alias("gpt-4.1", target={"services": ["able"]}, wishes=wishes, description="What the shop calls")
    raw = chat.with_raw_response.create(model="gpt-4.1", messages=HELLO)
    assert raw.headers["x-caio-service"] == "able@1.0.0"
    assert world.seen["max_completion_tokens"] == 30
    with pytest.raises(openai.UnprocessableEntityError) as refused:
        chat.create(model="gpt-4.1", messages=HELLO, n=128)
    assert {each["clause"] for each in told(refused)["reasons"]} == {"cost", "service"}


def test_an_alias_never_lets_a_call_do_more(world: World, chat: Any) -> None:
    world.alias("wide", target={"capability": "chat"}, wishes={"requirements": {"max_cost": "100"}})
    with pytest.raises(openai.UnprocessableEntityError):
        chat.create(model="wide", messages=HELLO, extra_headers={"x-caio-max-cost": "0"})
    forbid = {"id": "never-able", "version": 1, "effect": "forbid", "then": 'service.id == "able"', "attach": "request"}
    world.ask("POST", "/api/v1/policies", forbid)
    world.alias("guarded", target={"services": ["able"]}, policies=["never-able"])
    with pytest.raises(openai.UnprocessableEntityError) as refused:
        chat.create(model="guarded", messages=HELLO)
    assert "policy" in {each["clause"] for each in told(refused)["reasons"]}


def test_an_alias_has_revisions(world: World, chat: Any) -> None:
    path = "/api/v1/models/aliases/moving"
    status, made, headers = world.ask("PUT", path, {"target": {"services": ["able"]}})
    assert (status, headers["ETag"], made["revision"]) == (200, '"1"', 1)
    assert world.ask("PUT", path, {"target": {"services": ["plain"]}})[0] == 409
    assert world.ask("PUT", path, {"target": {"services": ["plain"]}}, **{"If-Match": '"9"'})[0] == 412
    assert chat.with_raw_response.create(model="moving", messages=HELLO).headers["x-caio-service"] == "able@1.0.0"
    assert world.ask("PUT", path, {"target": {"services": ["plain"]}}, **{"If-Match": '"1"'})[1]["revision"] == 2
    assert chat.with_raw_response.create(model="moving", messages=HELLO).headers["x-caio-service"] == "plain@1.0.0"
    assert world.ask("DELETE", path)[1]["revision"] == 2
    with pytest.raises(openai.NotFoundError):
        chat.create(model="moving", messages=HELLO)


@pytest.mark.parametrize(
    ("name", "document", "status"),
    [
        ("able", {"target": {"capability": "chat"}}, 409),
        ("auto", {"target": {"capability": "chat"}}, 422),
        ("a@1", {"target": {"capability": "chat"}}, 422),
        ("unknown-service", {"target": {"services": ["nothing"]}}, 422),
        ("unknown-policy", {"target": {"capability": "chat"}, "policies": ["nothing"]}, 422),
        ("no-target", {"target": {}}, 422),
        ("bad-cost", {"target": {"capability": "chat"}, "wishes": {"requirements": {"max_cost": "1e-30"}}}, 422),
    ],
)
def test_an_alias_that_cannot_be_is_refused(world: World, name: str, document: Any, status: int) -> None:
    assert world.ask("PUT", f"/api/v1/models/aliases/{name}", document)[0] == status


def test_a_service_cannot_take_an_aliass_name(world: World) -> None:
    world.alias("taken", target={"capability": "chat"})
    status, told, _ = world.ask("POST", "/api/v1/services", contract("taken", world.service, [], "0"))
    assert (status, told["code"]) == (409, "already_exists")
