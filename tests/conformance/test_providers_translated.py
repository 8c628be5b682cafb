"""What Anthropic and Bedrock are sent and what is made of their answers, over real servers on this machine.

Every answer and event was written for these tests after the providers' documentation; none was recorded.
"""

import base64
import datetime
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any

import botocore.auth
import msgspec
import pytest
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from caio.foundation.errors import UpstreamFailed, UpstreamFault
from caio.foundation.money import Usage
from caio.gateway.ports import Call, Operation
from caio.providers.translation.chat_request import JSON_TOOL
from tests.support.chat_blocks import (
    ASKED,
    BARE,
    IN_JSON,
    MORE,
    SEALED,
    TEXT,
    THOUGHT,
    anthropic_block,
    bedrock_block,
    in_parts,
    tool_call,
    whole,
)
from tests.support.chat_services import AWS_SECRET, KEY, KEY_ID, TOKEN, HttpStage, encoded, stage

BODY = {"model": "auto", "messages": [{"role": "user", "content": "Hi"}]}
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
JSON_FORMAT = {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA, "strict": True}}
TOOL = {"type": "function", "function": {"name": "weather", "description": "It rains.", "parameters": SCHEMA}}


@pytest.fixture
async def sut(protocol: str, tmp_path: Path) -> AsyncIterator[HttpStage]:
    async with stage(protocol, tmp_path) as played:
        assert isinstance(played, HttpStage)
        yield played


def call(sut: HttpStage, stream: bool, **more: Any) -> Call:
    return Call(Operation.CHAT, {**BODY, **more}, stream, 5.0, sut.secret)


async def streamed(sut: HttpStage, **more: Any) -> tuple[dict[str, Any], str | None, Usage | None]:
    """The message that a stream's chunks make, put together as OpenAI's clients do, its finish reason and usage."""
    message: dict[str, Any] = {"role": None, "content": ""}
    reason, usage = None, None
    async with aclosing(sut.provider.stream(sut.target, call(sut, True, **more))) as chunks:  # type: ignore[type-var]
        for chunk in [chunk async for at_once in chunks for chunk in at_once]:
            usage = chunk.usage or usage
            for choice in msgspec.json.decode(chunk.data)["choices"]:
                delta, reason = choice["delta"], choice["finish_reason"] or reason
                message["role"] = delta.get("role", message["role"])
                message["content"] += delta.get("content", "")
                if "reasoning_content" in delta:
                    message["reasoning_content"] = message.get("reasoning_content", "") + delta["reasoning_content"]
                for block in delta.get("thinking_blocks", ()):
                    message.setdefault("thinking_blocks", []).append(block)
                for part in delta.get("tool_calls", ()):
                    calls = message.setdefault("tool_calls", [])
                    if part["index"] == len(calls):
                        calls.append({"id": part["id"], "type": part["type"], "function": dict(part["function"])})
                    else:
                        calls[part["index"]]["function"]["arguments"] += part["function"]["arguments"]
    return message, reason, usage


async def answered(sut: HttpStage, **more: Any) -> tuple[dict[str, Any], str | None, Usage | None]:
    answer = await sut.provider.call(sut.target, call(sut, False, **more))
    (choice,) = answer.body["choices"]
    return {**choice["message"], "content": choice["message"]["content"] or ""}, choice["finish_reason"], answer.usage


THOUGHT_OUT = {
    "reasoning_content": "Let me see.",
    "thinking_blocks": [{"type": "thinking", "thinking": "Let me see.", "signature": "c2ln"}],
}
ANSWERS = [
    ([TEXT, MORE], "end_turn", {}, "stop", {"content": "It is raining."}),
    ([TEXT], "max_tokens", {}, "length", {"content": "It is "}),
    ([TEXT], "stop_sequence", {}, "stop", {"content": "It is "}),
    ([TEXT], "model_context_window_exceeded", {}, "length", {"content": "It is "}),
    ([TEXT], "something_new", {}, "stop", {"content": "It is "}),
    ([], "end_turn", {}, "stop", {"content": ""}),
    (
        [TEXT, ASKED, BARE],
        "tool_use",
        {"tools": [TOOL]},
        "tool_calls",
        {"content": "It is ", "tool_calls": [ASKED, BARE]},
    ),
    ([THOUGHT, TEXT], "end_turn", {}, "stop", {"content": "It is ", **THOUGHT_OUT}),
    (
        [SEALED, TEXT],
        "end_turn",
        {},
        "stop",
        {"content": "It is ", "thinking_blocks": [{"type": "redacted_thinking", "data": "c2VhbGVk"}]},
    ),
    ([IN_JSON], "tool_use", {"response_format": JSON_FORMAT}, "stop", {"content": '{"a":2}'}),
    ([TEXT, IN_JSON], "tool_use", {"response_format": JSON_FORMAT}, "stop", {"content": '{"a":2}'}),
    ([TEXT], "max_tokens", {"response_format": JSON_FORMAT}, "length", {"content": "It is "}),
    (
        [ASKED],
        "tool_use",
        {"response_format": JSON_FORMAT, "tools": [TOOL]},
        "tool_calls",
        {"content": "", "tool_calls": [ASKED]},
    ),
]


@pytest.mark.parametrize("protocol", ["anthropic", "bedrock"])
@pytest.mark.parametrize(("blocks", "reason", "more", "finish", "expected"), ANSWERS)
async def test_a_stream_says_what_the_answer_would(
    sut: HttpStage, blocks: Any, reason: str, more: Any, finish: str, expected: Any
) -> None:
    message = {"role": "assistant", **expected}
    if "tool_calls" in message:
        message["tool_calls"] = [tool_call(block) for block in message["tool_calls"]]
    await sut.play(whole(sut.dialect.name, blocks, reason), media_type=sut.dialect.media_type)
    assert await answered(sut, **more) == (message, finish, Usage(12, 6))
    await sut.play(*in_parts(sut.dialect.name, blocks, reason), media_type=sut.dialect.stream_type)
    assert await streamed(sut, **more) == (message, finish, Usage(12, 6))


@pytest.mark.parametrize(
    ("protocol", "reason"),
    [("anthropic", "refusal"), ("bedrock", "guardrail_intervened"), ("bedrock", "content_filtered")],
)
async def test_a_refusal_is_the_content_filters(sut: HttpStage, reason: str) -> None:
    await sut.play(whole(sut.dialect.name, [TEXT], reason), media_type=sut.dialect.media_type)
    assert (await answered(sut))[1] == "content_filter"
    await sut.play(*in_parts(sut.dialect.name, [TEXT], reason), media_type=sut.dialect.stream_type)
    assert (await streamed(sut))[1] == "content_filter"


@pytest.mark.parametrize("protocol", ["anthropic", "bedrock"])
async def test_usage_counts_all_input(sut: HttpStage) -> None:
    """What was read from a cache and what was written to one, beside what no cache held."""
    await sut.play(whole(sut.dialect.name, [TEXT], "end_turn"), media_type=sut.dialect.media_type)
    answer = await sut.provider.call(sut.target, call(sut, False))
    assert answer.body["usage"] == {
        "prompt_tokens": 12,
        "completion_tokens": 6,
        "total_tokens": 18,
        "prompt_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 5},
    }


@pytest.mark.parametrize("protocol", ["anthropic", "bedrock"])
async def test_thoughts_can_be_sent_back(sut: HttpStage) -> None:
    await sut.play(whole(sut.dialect.name, [THOUGHT, SEALED, ASKED], "tool_use"), media_type=sut.dialect.media_type)
    message, *_ = await answered(sut, tools=[TOOL])
    result = {"role": "tool", "tool_call_id": "call_1", "content": "yes"}
    await answered(sut, tools=[TOOL], messages=[*BODY["messages"], message, result])
    assert sut.received[-1]["messages"][1] == {
        "role": "assistant",
        "content": [
            (bedrock_block if sut.dialect.name == "bedrock" else anthropic_block)(each)
            for each in (THOUGHT, SEALED, ASKED)
        ],
    }


@pytest.mark.parametrize("protocol", ["anthropic"])
async def test_what_anthropic_is_sent(sut: HttpStage) -> None:
    await sut.play(whole("anthropic", [TEXT], "end_turn"), media_type=sut.dialect.media_type)
    sut.target = replace(sut.target, auth_scheme="header:x-api-key")
    await answered(sut, user="u", seed=1, temperature=1.5, top_k=3, unknown=1)
    request, _ = sut.requests[-1]
    assert request.path == "/chat"
    assert (request.headers["x-api-key"], request.headers["anthropic-version"]) == (TOKEN, "2023-06-01")
    assert sut.received[-1] == {
        "model": "m.one-v1:0",
        "max_tokens": 4096,
        "messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}],
        "temperature": 1,
        "top_k": 3,
        "metadata": {"user_id": "u"},
    }
    sut.target = replace(sut.target, max_tokens=77)
    await answered(sut)
    assert sut.received[-1]["max_tokens"] == 77
    await answered(sut, max_tokens=5)
    assert sut.received[-1]["max_tokens"] == 5


CHOICES: list[tuple[dict[str, Any], Any, Any]] = [
    ({"tools": [TOOL]}, None, {"auto": {}}),
    ({"tools": [TOOL], "tool_choice": "auto"}, None, {"auto": {}}),
    ({"tools": [TOOL], "tool_choice": "required"}, {"type": "any"}, {"any": {}}),
    ({"tools": [TOOL], "tool_choice": "none"}, {"type": "none"}, None),
    (
        {"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "weather"}}},
        {"type": "tool", "name": "weather"},
        {"tool": {"name": "weather"}},
    ),
    (
        {"response_format": JSON_FORMAT},
        {"type": "tool", "name": JSON_TOOL, "disable_parallel_tool_use": True},
        {"tool": {"name": JSON_TOOL}},
    ),
    (
        {"response_format": JSON_FORMAT, "tools": [TOOL]},
        {"type": "any", "disable_parallel_tool_use": True},
        {"any": {}},
    ),
    ({"response_format": JSON_FORMAT, "tools": [TOOL], "tool_choice": "required"}, {"type": "any"}, {"any": {}}),
]


@pytest.mark.parametrize("protocol", ["anthropic", "bedrock"])
@pytest.mark.parametrize(("more", "of_anthropic", "of_bedrock"), CHOICES)
async def test_tool_choices(sut: HttpStage, more: Any, of_anthropic: Any, of_bedrock: Any) -> None:
    await sut.play(whole(sut.dialect.name, [TEXT], "end_turn"), media_type=sut.dialect.media_type)
    await answered(sut, **more)
    sent = sut.received[-1]
    if sut.dialect.name == "anthropic":
        assert sent.get("tool_choice") == of_anthropic
    else:
        assert sent.get("toolConfig", {}).get("toolChoice") == of_bedrock


@pytest.mark.parametrize("protocol", ["anthropic"])
async def test_one_tool_at_a_time(sut: HttpStage) -> None:
    await sut.play(whole("anthropic", [TEXT], "end_turn"), media_type=sut.dialect.media_type)
    await answered(sut, tools=[TOOL], parallel_tool_calls=False)
    assert sut.received[-1]["tool_choice"] == {"type": "auto", "disable_parallel_tool_use": True}


IMAGE = {"type": "image_url", "image_url": {"url": "https://pictures.example/one.png"}}
USED_TOOLS = [
    {"role": "user", "content": "x"},
    {
        "role": "assistant",
        "tool_calls": [{"id": "c", "type": "function", "function": {"name": "weather", "arguments": "{}"}}],
    },
    {"role": "tool", "tool_call_id": "c", "content": "y"},
]
THINKS = {"type": "enabled", "budget_tokens": 1024}
REFUSED = [
    ("anthropic", {"n": 2}, "/n"),
    ("bedrock", {"n": 2}, "/n"),
    ("anthropic", {"logprobs": True}, "/logprobs"),
    ("anthropic", {"logit_bias": {"50256": -100}}, "/logit_bias"),
    ("anthropic", {"functions": [{}]}, "/functions"),
    ("anthropic", {"modalities": ["text", "audio"]}, "/modalities"),
    ("anthropic", {"stop": "\n"}, "/stop"),
    ("anthropic", {"tools": [{"type": "custom", "custom": {}}]}, "/tools/0"),
    ("anthropic", {"tools": [TOOL, TOOL]}, "/tools/1/function/name"),
    ("anthropic", {"tool_choice": "required"}, "/tool_choice"),
    ("anthropic", {"response_format": {"type": "grammar"}}, "/response_format"),
    (
        "anthropic",
        {"response_format": JSON_FORMAT, "thinking": THINKS},
        "/thinking",
    ),
    ("bedrock", {"response_format": JSON_FORMAT, "thinking": THINKS}, "/thinking"),
    ("bedrock", {"messages": [{"role": "user", "content": [IMAGE]}]}, "/messages/0/content/0/image_url/url"),
    ("bedrock", {"tools": [TOOL], "parallel_tool_calls": False}, "/parallel_tool_calls"),
    ("bedrock", {"messages": USED_TOOLS}, "/tools"),
    ("bedrock", {"messages": USED_TOOLS, "tools": [TOOL], "tool_choice": "none"}, "/tools"),
    ("anthropic", {"messages": [{"role": "system", "content": "x"}]}, "/messages"),
    ("anthropic", {"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]}, "/messages/0/content/0"),
    ("anthropic", {"messages": [{"role": "function", "name": "x", "content": "y"}]}, "/messages/0/role"),
    ("anthropic", {"messages": [USED_TOOLS[0], USED_TOOLS[2]]}, "/messages/1/tool_call_id"),
    ("anthropic", {"messages": USED_TOOLS[:2]}, "/messages"),
    ("anthropic", {"messages": [*USED_TOOLS[:2], USED_TOOLS[0], USED_TOOLS[2]]}, "/messages/2"),
    ("anthropic", {"max_tokens": 0}, "/max_tokens"),
    ("anthropic", {"temperature": "hot"}, "/temperature"),
]


@pytest.mark.parametrize(("protocol", "more", "pointer"), REFUSED)
async def test_what_cannot_be_said_is_refused_before_the_call(sut: HttpStage, more: Any, pointer: str) -> None:
    for stream in (False, True):
        with pytest.raises(UpstreamFailed) as caught:
            await (streamed if stream else answered)(sut, **more)
        assert caught.value.fault is UpstreamFault.INVALID
        assert f"was not called: {pointer} " in caught.value.message
    assert sut.received == []


@pytest.mark.parametrize("protocol", ["anthropic", "bedrock"])
async def test_embeddings_are_no_chats(sut: HttpStage) -> None:
    with pytest.raises(UpstreamFailed) as caught:
        await sut.provider.call(sut.target, Call(Operation.EMBEDDINGS, {"input": "x"}, False, 5.0, sut.secret))
    assert caught.value.fault is UpstreamFault.INVALID


@pytest.mark.parametrize("protocol", ["anthropic"])
async def test_a_failed_answer_with_status_200(sut: HttpStage) -> None:
    failed = {"type": "error", "error": {"type": "overloaded_error", "message": "x"}}
    await sut.play(encoded(failed), media_type=sut.dialect.media_type)
    with pytest.raises(UpstreamFailed) as caught:
        await answered(sut)
    assert caught.value.fault is UpstreamFault.OVERLOADED


# --- bedrock ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", ["bedrock"])
@pytest.mark.parametrize("model", ["m.one-v1:0", "arn:aws:bedrock:eu-west-1:123456789012:inference-profile/eu.m-v1:0"])
async def test_requests_are_signed(sut: HttpStage, model: str) -> None:
    """What arrives, byte for byte, has the signature that botocore would have given it."""
    sut.target = replace(sut.target, model=model)
    await sut.play(whole("bedrock", [TEXT], "end_turn"), media_type=sut.dialect.media_type)
    await answered(sut)
    await sut.play(*in_parts("bedrock", [TEXT], "end_turn"), media_type=sut.dialect.stream_type)
    await streamed(sut)
    paths = []
    for request, raw in sut.requests:
        paths.append(request.path_qs if "%2F" not in request.raw_path else request.raw_path)
        sent = {name: request.headers[name] for name in ("Accept", "Content-Type", "X-Amz-Security-Token")}
        again = AWSRequest(method="POST", url=f"http://{request.host}{request.raw_path}", data=raw, headers=sent)
        moment = datetime.datetime.fromisoformat(request.headers["X-Amz-Date"])
        assert abs(datetime.datetime.now(datetime.UTC) - moment) < datetime.timedelta(minutes=5)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(botocore.auth, "get_current_datetime", lambda moment=moment: moment.replace(tzinfo=None))
            del again.headers["X-Amz-Security-Token"]
            botocore.auth.SigV4Auth(Credentials(KEY_ID, KEY, TOKEN), "bedrock", "eu-west-1").add_auth(again)
        assert request.headers["Authorization"] == again.headers["Authorization"]
        assert KEY not in str(request.headers)
    name = model.replace("/", "%2F")
    assert paths == [f"/model/{name}/converse", f"/model/{name}/converse-stream"]


@pytest.mark.parametrize("protocol", ["bedrock"])
async def test_what_bedrock_is_sent(sut: HttpStage) -> None:
    await sut.play(whole("bedrock", [TEXT], "end_turn"), media_type=sut.dialect.media_type)
    picture = base64.b64encode(b"picture").decode()
    parts = [
        {"type": "text", "text": "Look"},
        {"type": "image_url", "image_url": {"url": f"data:image/webp;base64,{picture}"}},
    ]
    guard = {"guardrailIdentifier": "g", "guardrailVersion": "1"}
    sut.target = replace(sut.target, max_tokens=9)
    await answered(
        sut,
        messages=[{"role": "developer", "content": "Be kind."}, {"role": "user", "content": parts}],
        guardrailConfig=guard,
        top_k=3,
        stop=["END"],
        top_p=0.5,
    )
    assert sut.received[-1] == {
        "system": [{"text": "Be kind."}],
        "messages": [
            {
                "role": "user",
                "content": [{"text": "Look"}, {"image": {"format": "webp", "source": {"bytes": picture}}}],
            }
        ],
        "inferenceConfig": {"maxTokens": 9, "topP": 0.5, "stopSequences": ["END"]},
        "guardrailConfig": guard,
        "additionalModelRequestFields": {"top_k": 3},
    }


@pytest.mark.parametrize("protocol", ["bedrock"])
async def test_bedrocks_own_keys_are_bearers(sut: HttpStage) -> None:
    await sut.play(whole("bedrock", [TEXT], "end_turn"), media_type=sut.dialect.media_type)
    sut.target = replace(sut.target, auth_scheme="bearer", path="/prefix/")
    await sut.provider.call(sut.target, replace(call(sut, False), secret=TOKEN))
    request, _ = sut.requests[-1]
    assert request.headers["Authorization"] == f"Bearer {TOKEN}"
    assert request.path == "/prefix/model/m.one-v1:0/converse"


@pytest.mark.parametrize("protocol", ["bedrock"])
async def test_the_machines_own_role_is_not_borrowed(sut: HttpStage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDMACHINE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "machine")
    with pytest.raises(UpstreamFailed) as caught:
        await sut.provider.call(sut.target, replace(call(sut, False), secret=None))
    assert caught.value.fault is UpstreamFault.AUTH
    assert sut.requests == []


@pytest.mark.parametrize("protocol", ["bedrock"])
async def test_a_stream_without_counts_is_complete_with_its_message(sut: HttpStage) -> None:
    await sut.play(*in_parts("bedrock", [TEXT], "end_turn")[:-1], media_type=sut.dialect.stream_type)
    message, reason, usage = await streamed(sut)
    assert (message["content"], reason, usage) == ("It is ", "stop", None)


def test_the_secret_is_an_object_of_texts() -> None:
    assert set(msgspec.json.decode(AWS_SECRET)) == {"access_key_id", "secret_access_key", "session_token"}
