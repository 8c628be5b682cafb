"""Responses and chats say the same thing: there, back, and as a stream."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from caio.api.openai.response_events import ResponseFrames
from caio.api.openai.responses_to_chat import chat_of, output_of, response_of
from caio.foundation.errors import InvalidInput, UpstreamFailed, UpstreamFault
from caio.gateway.ports import Chunk

BODY = {"model": "auto", "input": "hello"}
TEXT = st.text(min_size=1, max_size=30)
NAMES = st.sampled_from(["weather", "people"])
CALLS = st.builds(lambda name, arguments: {"name": name, "arguments": arguments}, NAMES, st.text(max_size=20))
FINISHES = st.sampled_from(["stop", "length", "tool_calls", "content_filter"])
USAGES = st.none() | st.builds(
    lambda taken, made: {"prompt_tokens": taken, "completion_tokens": made, "total_tokens": taken + made},
    st.integers(0, 99),
    st.integers(0, 99),
)


@st.composite
def messages(draw: st.DrawFn, *, thinking: bool = True) -> dict[str, Any]:
    """What an assistant may answer: text, a refusal, calls, each or several of them."""
    message: dict[str, Any] = {"role": "assistant", "content": draw(st.none() | TEXT)}
    if draw(st.booleans()):
        message["refusal"] = draw(TEXT)
    if calls := draw(st.lists(CALLS, max_size=3)):
        message["tool_calls"] = [
            {"id": f"call_{place}", "type": "function", "function": call} for place, call in enumerate(calls)
        ]
    if thinking and draw(st.booleans()):
        message["reasoning_content"] = draw(TEXT)
    return message


def answer_of(message: dict[str, Any], finish_reason: str, usage: Any) -> dict[str, Any]:
    choice = {"index": 0, "message": message, "finish_reason": finish_reason}
    return {"id": "c", "model": "m", "created": 5, "choices": [choice], "usage": usage}


@given(messages(thinking=False))
def test_an_answer_fed_back_is_the_same_message(message: dict[str, Any]) -> None:
    chat = chat_of({**BODY, "input": [{"role": "user", "content": "hello"}, *output_of("resp_1", message)]})
    told, *said = chat["messages"]
    assert told == {"role": "user", "content": "hello"}
    if len(message) == 2 and message["content"] is None:  # nothing at all was said
        assert said == []
    else:
        assert said == [message]


@given(st.lists(st.tuples(CALLS, st.text(max_size=10)), min_size=1, max_size=4), st.booleans())
def test_function_calls_keep_their_outputs(turns: list[Any], parallel: bool) -> None:
    calls = [{"type": "function_call", "call_id": f"c{place}", **call} for place, (call, _) in enumerate(turns)]
    outputs = [
        {"type": "function_call_output", "call_id": f"c{place}", "output": output}
        for place, (_, output) in enumerate(turns)
    ]
    items = [*calls, *outputs] if parallel else [each for pair in zip(calls, outputs, strict=True) for each in pair]
    chat = chat_of({**BODY, "input": items})
    made = [call for each in chat["messages"] for call in each.get("tool_calls", ())]
    given_back = [each for each in chat["messages"] if each["role"] == "tool"]
    assert [(call["id"], call["function"]) for call in made] == [(f"c{n}", call) for n, (call, _) in enumerate(turns)]
    assert [(each["tool_call_id"], each["content"]) for each in given_back] == [
        (f"c{place}", output) for place, (_, output) in enumerate(turns)
    ]
    assert len([each for each in chat["messages"] if each["role"] == "assistant"]) == (1 if parallel else len(turns))


def pieces(data: st.DataObject, text: str) -> list[str]:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=3)))
    return [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True) if start < end]


def deltas_of(data: st.DataObject, message: dict[str, Any]) -> list[dict[str, Any]]:
    """The message in pieces, in the order in which services send them."""
    deltas: list[dict[str, Any]] = [{"role": "assistant"}]
    deltas += [{"reasoning_content": piece} for piece in pieces(data, message.get("reasoning_content", ""))]
    deltas += [{"content": piece} for piece in pieces(data, message["content"] or "")]
    deltas += [{"refusal": piece} for piece in pieces(data, message.get("refusal", ""))]
    for place, call in enumerate(message.get("tool_calls", ())):
        begun = {**call, "index": place, "function": {"name": call["function"]["name"], "arguments": ""}}
        deltas.append({"tool_calls": [begun]})
        more = pieces(data, call["function"]["arguments"])
        deltas += [{"tool_calls": [{"index": place, "function": {"arguments": piece}}]} for piece in more]
    return deltas


def told_by(frames: ResponseFrames, deltas: list[dict[str, Any]], finish_reason: str, usage: Any) -> list[Any]:
    told = b""
    documents = [{"model": "m", "created": 5, "choices": [{"index": 0, "delta": delta}]} for delta in deltas]
    documents.append({"model": "m", "choices": [{"index": 0, "delta": {}, "finish_reason": finish_reason}]})
    documents.append({"model": "m", "choices": [], "usage": usage})
    for document in documents:
        told += frames.chunk(Chunk(msgspec.json.encode(document), True))
    return events_in(told + frames.end())


def events_in(told: bytes) -> list[Any]:
    found = []
    for event in told.decode().split("\n\n")[:-1]:
        name, data = event.split("\n")
        found.append(json.loads(data.removeprefix("data: ")))
        assert name == f"event: {found[-1]['type']}"
    return found


@given(st.data(), messages(), FINISHES, USAGES)
def test_streamed_is_the_same_as_whole(data: st.DataObject, message: dict[str, Any], finish: str, usage: Any) -> None:
    if message["content"] is None and len(message) == 2:
        message["content"] = "something"
    events = told_by(ResponseFrames("resp_1", BODY), deltas_of(data, message), finish, usage)
    whole = response_of("resp_1", BODY, answer_of(message, finish, usage))
    assert events[-1]["response"] == whole
    assert events[-1]["type"] == f"response.{whole['status']}"
    done = [each["item"] for each in events if each["type"] == "response.output_item.done"]
    assert [each["id"] for each in done] == [each["id"] for each in whole["output"]]
    text = "".join(each["delta"] for each in events if each["type"] == "response.output_text.delta")
    assert text == (message["content"] or "")


@given(st.data(), messages())
def test_events_are_numbered_from_zero_without_a_gap(data: st.DataObject, message: dict[str, Any]) -> None:
    events = told_by(ResponseFrames("resp_1", BODY), deltas_of(data, message), "stop", None)
    assert [each["sequence_number"] for each in events] == list(range(len(events)))
    assert [each["type"] for each in events[:2]] == ["response.created", "response.in_progress"]


def test_a_broken_stream_never_completes() -> None:
    frames = ResponseFrames("resp_1", BODY)
    chunk = {"model": "m", "choices": [{"index": 0, "delta": {"content": "x"}}]}
    told = frames.chunk(Chunk(msgspec.json.encode(chunk), True))
    told += frames.broken(UpstreamFailed("it broke", UpstreamFault.UPSTREAM), "dec_1")
    events = events_in(told)
    assert events[-1]["type"] == "error"
    assert events[-1]["error"]["decision_id"] == "dec_1"  # what OpenAI's clients raise by
    assert not {each["type"] for each in events} & {"response.completed", "response.output_item.done"}


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"previous_response_id": "resp_1"}, "/previous_response_id"),
    ({"conversation": "c"}, "/conversation"),
    ({"store": True}, "/store"),
    ({"background": True}, "/background"),
    ({"prompt": {"id": "p"}}, "/prompt"),
    ({"truncation": "auto"}, "/truncation"),
    ({"n": 2}, "/n"),
    ({"max_tokens": 2}, "/max_tokens"),
    ({"tools": [{"type": "web_search"}]}, "/tools/0/type"),
    ({"tool_choice": {"type": "mcp"}}, "/tool_choice/type"),
    ({"include": ["reasoning.encrypted_content"]}, "/include/0"),
    ({"reasoning": {"summary": "auto"}}, "/reasoning/summary"),
    ({"text": {"format": {"type": "grammar"}}}, "/text/format/type"),
    ({"input": [{"type": "item_reference", "id": "x"}]}, "/input/0/type"),
    ({"input": [{"role": "user", "content": [{"type": "input_image", "file_id": "f"}]}]}, "/input/0/content/0/file_id"),
]


@pytest.mark.parametrize(("stated", "pointer"), REFUSED, ids=[pointer for _, pointer in REFUSED])
def test_what_cannot_be_done_is_refused_by_name(stated: dict[str, Any], pointer: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        chat_of({**BODY, **stated})
    assert refused.value.code == "unsupported_parameter"
    assert [each.pointer for each in refused.value.violations] == [pointer]


def test_everything_else_is_said_in_a_chats_words() -> None:
    body = {
        **BODY,
        "instructions": "Be brief.",
        "input": [
            {"role": "developer", "content": "Rhyme."},
            {"role": "user", "content": [{"type": "input_text", "text": "a"}]},
            {
                "role": "user",
                "content": [{"type": "input_image", "image_url": "u"}, {"type": "input_text", "text": "b"}],
            },
            {"type": "reasoning", "summary": []},
        ],
        "max_output_tokens": 5,
        "reasoning": {"effort": "low"},
        "store": False,
        "text": {"format": {"type": "json_schema", "name": "n", "schema": {}, "strict": True}, "verbosity": "low"},
        "tool_choice": {"type": "function", "name": "f"},
        "tools": [{"type": "function", "name": "f", "parameters": {}, "strict": True}],
        "top_logprobs": 2,
        "top_k": 9,
        "metadata": {"a": "b"},
    }
    assert chat_of(body) == {
        "model": "auto",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "system", "content": "Rhyme."},
            {"role": "user", "content": "a"},
            {
                "role": "user",
                "content": [{"type": "image_url", "image_url": {"url": "u"}}, {"type": "text", "text": "b"}],
            },
        ],
        "max_completion_tokens": 5,
        "reasoning_effort": "low",
        "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {}, "strict": True}},
        "verbosity": "low",
        "tool_choice": {"type": "function", "function": {"name": "f"}},
        "tools": [{"type": "function", "function": {"name": "f", "parameters": {}, "strict": True}}],
        "logprobs": True,
        "top_logprobs": 2,
        "top_k": 9,
    }


@pytest.mark.parametrize(
    "answer", [{"choices": []}, {"choices": [{}]}, {"choices": ["x"]}, {"choices": [{"message": 1}]}]
)
def test_an_answer_without_a_message_is_garbage(answer: Any) -> None:
    with pytest.raises(UpstreamFailed) as failed:
        response_of("resp_1", BODY, answer)
    assert failed.value.fault is UpstreamFault.GARBAGE


@pytest.mark.parametrize(
    ("stated", "pointer"),
    [
        ({"text": {"format": "x"}}, "/text/format"),
        ({"include": 5}, "/include"),
        ({"tool_choice": {"type": "allowed_tools", "tools": [1]}}, "/tool_choice/tools"),
        ({"input": [{"role": "assistant", "content": [{"type": [1]}]}]}, "/input/0/content/0/type"),
    ],
)
def test_members_of_another_kind_are_refused_by_name(stated: Any, pointer: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        chat_of({"model": "m", "input": "x"} | stated)
    assert refused.value.violations[0].pointer == pointer


SAID = {"content": "a"}
ODD_PARTS: list[dict[str, Any]] = [
    {"message": {"tool_calls": ["x"]}},
    {"message": {"tool_calls": 5}},
    {"message": {"tool_calls": [{"index": 0, "function": "x"}]}},
    {"message": SAID, "finish_reason": ["x"]},
    {"message": SAID, "logprobs": [1]},
    {"message": SAID, "usage": {"prompt_tokens": "a", "completion_tokens": 1}},
    {"message": SAID, "usage": {"prompt_tokens": 1, "prompt_tokens_details": "x"}},
    {"message": "x"},
]


@pytest.mark.parametrize("odd", ODD_PARTS)
def test_what_is_no_chat_is_the_services_fault_before_the_end(odd: dict[str, Any]) -> None:
    usage = {"usage": odd["usage"]} if "usage" in odd else {}
    choice = {name: value for name, value in odd.items() if name != "usage"}
    with pytest.raises(UpstreamFailed, match="another shape") as failed:
        response_of("resp_1", {"model": "m"}, {"choices": [choice], **usage})
    assert failed.value.fault is UpstreamFault.GARBAGE
    streamed = {"delta" if name == "message" else name: value for name, value in choice.items()}
    frames = ResponseFrames("resp_1", {"model": "m"})
    with pytest.raises(UpstreamFailed, match="another shape"):
        frames.chunk(Chunk(msgspec.json.encode({"choices": [{"index": 0, **streamed}], **usage}), True))
