"""Chat bodies of every form that OpenAI's documentation has, drawn at random, with what they say."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import strategies as st

#: One pixel.
PNG = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9Q"
    "DwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
ADDRESS = "https://pictures.example/one.png"

words = st.text('a7é🌍 "\\\n', max_size=4).map("w{}".format)
names = st.text("bX1_-", max_size=3).map("f{}".format)
scalars = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(-1e9, 1e9) | words
objects = st.dictionaries(words, scalars | st.lists(scalars, max_size=2), max_size=3)


def content(images: bool) -> st.SearchStrategy[Any]:
    parts: list[st.SearchStrategy[Any]] = [
        st.fixed_dictionaries({"type": st.just("text"), "text": words | st.just("")})
    ]
    if images:
        urls = st.sampled_from([PNG, ADDRESS])
        url = st.fixed_dictionaries({"url": urls}, optional={"detail": st.just("low")})
        parts.append(st.fixed_dictionaries({"type": st.just("image_url"), "image_url": url}))
    blank_or_more = st.lists(st.one_of(*parts), max_size=2)
    return words | st.tuples(words.map(_part), blank_or_more).map(lambda drawn: [drawn[0], *drawn[1]])


def _part(text: str) -> dict[str, str]:
    return {"type": "text", "text": text}


@st.composite
def rounds(draw: st.DrawFn) -> list[dict[str, Any]]:
    """What one question and its answers may be: perhaps with calls of tools, whose results may come in any order."""
    said: list[dict[str, Any]] = [{"role": "user", "content": draw(content(images=True)), "name": "n"}]
    if draw(st.booleans()):
        calls = draw(st.lists(names, min_size=1, max_size=3))
        ids = draw(st.lists(words, min_size=len(calls), max_size=len(calls), unique=True))
        said.append(
            {
                "role": "assistant",
                "content": draw(st.none() | content(images=False)),
                "tool_calls": [
                    {
                        "id": call_id,
                        "type": "function",
                        "function": {"name": name, "arguments": draw(objects.map(_text) | st.just(""))},
                    }
                    for call_id, name in zip(ids, calls, strict=True)
                ],
            }
        )
        results = content(images=False) | st.just("")
        said += [
            {"role": "tool", "tool_call_id": call_id, "content": draw(results)}
            for call_id in draw(st.permutations(ids))
        ]
    if draw(st.booleans()):
        said.append({"role": "assistant", "content": draw(content(images=False)), "refusal": draw(st.none() | words)})
    if draw(st.booleans()):
        said.append({"role": draw(st.sampled_from(["system", "developer"])), "content": draw(content(images=False))})
    return said


def _text(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _name_of(tool: Any) -> str:
    return str(tool["function"]["name"])


tools = st.lists(
    st.fixed_dictionaries(
        {"name": names},
        optional={
            "description": words | st.just(""),
            "parameters": st.just({"type": "object", "properties": {"a": {"type": "string"}}}) | st.just({}),
            "strict": st.booleans(),
        },
    ).map(lambda function: {"type": "function", "function": function}),
    min_size=1,
    max_size=3,
    unique_by=_name_of,
)


@st.composite
def bodies(draw: st.DrawFn) -> dict[str, Any]:
    """A valid chat body, as OpenAI takes it."""
    body: dict[str, Any] = {
        "model": "auto",
        "messages": [message for said in draw(st.lists(rounds(), min_size=1, max_size=3)) for message in said],
        **draw(
            st.fixed_dictionaries(
                {},
                optional={
                    "max_tokens": st.integers(1, 9000),
                    "max_completion_tokens": st.integers(1, 9000),
                    "temperature": st.floats(0, 2) | st.integers(0, 2),
                    "top_p": st.floats(0, 1),
                    "stop": words | st.lists(words, max_size=4),
                    "n": st.none() | st.integers(1, 2),
                    "seed": st.integers(),
                    "user": words,
                    "presence_penalty": st.floats(-2, 2),
                    "logprobs": st.just(False),
                    "parallel_tool_calls": st.booleans(),
                    "unknown": scalars,
                    "response_format": st.sampled_from(
                        [
                            {"type": "text"},
                            {"type": "json_object"},
                            {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}},
                        ]
                    ),
                },
            )
        ),
    }
    if draw(st.booleans()):
        body["tools"] = draw(tools)
        named = {"type": "function", "function": {"name": body["tools"][0]["function"]["name"]}}
        body["tool_choice"] = draw(st.sampled_from(["auto", "none", "required", named]))
    return body


def said_by(body: dict[str, Any]) -> list[str]:
    """Everything that the messages say, of instructions first, each as it must be found again."""
    instructions: list[str] = []
    rest: list[str] = []
    for message in body["messages"]:
        found = instructions if message["role"] in ("system", "developer") else rest
        value = message.get("content")
        parts: list[Any] = [{"text": value}] if isinstance(value, str) else value or []
        for part in parts:
            found.append(part["text"] if "text" in part else part["image_url"]["url"].rpartition(",")[2])
        found.append(message.get("refusal") or "")
        for call in message.get("tool_calls", ()):
            arguments = call["function"]["arguments"] or "{}"
            found.append(call["function"]["name"] + _text(msgspec.json.decode(arguments)))
    return [each for each in [*instructions, *rest] if each.strip()]
