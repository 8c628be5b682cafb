"""OpenAI's Responses as its Chat Completions: the request on the way in, the answer on the way back.

Theory of operation
-------------------
A response that keeps nothing at the server is a chat in other words: ``input`` items are messages, function calls and
their outputs are messages with ``tool_calls`` and of the role ``tool``, ``text.format`` is ``response_format``. So
every service that chats can answer one. What a chat cannot do (remembering earlier responses, running in the
background, tools that OpenAI itself runs) is refused by name and never dropped. Members that neither API knows pass
through, as they do for chats.

Reasoning items of earlier answers are left out: a chat has no place for them. ``developer`` becomes ``system``, which
every service knows.

Laws (each has a test of the same name)
---------------------------------------
- an_answer_fed_back_is_the_same_message: the output of an answer, as input, is the assistant's message.
- function_calls_keep_their_outputs: call and output stay together by ``call_id``, in order.
- what_cannot_be_done_is_refused_by_name.

``response_events`` tells the same answer as a stream.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from caio.foundation.errors import InvalidInput, UpstreamFailed, UpstreamFault, Violation

Object = dict[str, Any]

LOGPROBS = "message.output_text.logprobs"

#: Members that are refused unless they ask for nothing: why, and what asks for nothing.
_REFUSED: dict[str, tuple[str, tuple[Any, ...]]] = {
    "previous_response_id": ("earlier responses are not kept: send their output as input", ()),
    "conversation": ("conversations are not kept: send the earlier turns as input", ()),
    "store": ("responses are not kept: leave it out, or say false", (False,)),
    "background": ("responses are answered at once: leave it out, or say false", (False,)),
    "prompt": ("prompts are not kept here: send instructions and input", ()),
    "truncation": ("nothing is left out of a request: leave it out, or say 'disabled'", ("disabled",)),
    "max_tool_calls": ("no tools are run here", ()),
    "context_management": ("nothing is left out of a request", ()),
}
#: Members of chats that would say the same thing twice.
_OF_CHATS = ("messages", "n", "max_tokens", "max_completion_tokens", "functions", "response_format")
#: What is said in other words, or is CAIO's; everything else passes through.
_TRANSLATED = frozenset(
    {*_REFUSED, "input", "instructions", "text", "tools", "tool_choice", "reasoning", "max_output_tokens"}
    | {"include", "top_logprobs", "metadata", "stream_options"}
)


def chat_of(body: Mapping[str, Any]) -> Object:
    """The chat that a response is answered by. Raises InvalidInput ``unsupported_parameter``, naming each."""
    _refuse(body)
    chat: Object = {name: value for name, value in body.items() if name not in _TRANSLATED and value is not None}
    chat["messages"] = _messages(body)
    if (most := body.get("max_output_tokens")) is not None:
        chat["max_completion_tokens"] = most
    if tools := body.get("tools"):
        chat["tools"] = [_tool(index, tool) for index, tool in enumerate(tools)]
    if (choice := body.get("tool_choice")) is not None:
        chat["tool_choice"] = _tool_choice(choice)
    chat |= _text(body.get("text") or {}) | _reasoning(body.get("reasoning") or {}) | _logprobs(body)
    return chat


def _refuse(body: Mapping[str, Any]) -> None:
    found = []
    for name, (reason, allowed) in _REFUSED.items():
        value = body.get(name)
        if value is not None and value not in allowed:
            found.append(Violation(f"/{name}", reason))
    found += [Violation(f"/{name}", "is a member of chats, not of responses") for name in _OF_CHATS if name in body]
    if found:
        raise _unsupported(*found)


def _unsupported(*violations: Violation) -> InvalidInput:
    first = violations[0]
    message = f"{first.pointer[1:].replace('/', '.')} is not supported: {first.message}"
    return InvalidInput(message, violations, code="unsupported_parameter")


def _invalid(pointer: str, rule: str) -> InvalidInput:
    return InvalidInput(f"{pointer[1:].replace('/', '.')} {rule}", [Violation(pointer, rule)], code="invalid_request")


# --- the request: messages ------------------------------------------------------------------------


def _messages(body: Mapping[str, Any]) -> list[Object]:
    messages: list[Object] = []
    if body.get("instructions"):
        messages.append({"role": "system", "content": body["instructions"]})
    stated = body["input"]
    if isinstance(stated, str):
        return [*messages, {"role": "user", "content": stated}]
    for index, item in enumerate(stated):
        _add(messages, item, f"/input/{index}")
    return messages


def _add(messages: list[Object], item: Mapping[str, Any], at: str) -> None:
    match item.get("type", "message"):
        case "message":
            messages.append(_message(item, at))
        case "function_call":
            call = {
                "id": _text_of(item, "call_id", at),
                "type": "function",
                "function": {"name": _text_of(item, "name", at), "arguments": _text_of(item, "arguments", at)},
            }
            if not messages or messages[-1]["role"] != "assistant":
                messages.append({"role": "assistant", "content": None})
            messages[-1].setdefault("tool_calls", []).append(call)
        case "function_call_output":
            output = item.get("output")
            content = _parts(output, f"{at}/output") if isinstance(output, list) else _text_of(item, "output", at)
            messages.append({"role": "tool", "tool_call_id": _text_of(item, "call_id", at), "content": content})
        case "reasoning":
            pass
        case other:
            raise _unsupported(Violation(f"{at}/type", f"no chat has an item of the type {other!r}"))


def _message(item: Mapping[str, Any], at: str) -> Object:
    role, content = item.get("role"), item.get("content")
    if role not in ("user", "assistant", "system", "developer"):
        raise _invalid(f"{at}/role", "must be user, assistant, system or developer")
    if role == "assistant":
        return _assistants(content, f"{at}/content")
    if not isinstance(content, str | list):
        raise _invalid(f"{at}/content", "must be a string or a list of parts")
    told = content if isinstance(content, str) else _parts(content, f"{at}/content")
    return {"role": "system" if role == "developer" else role, "content": told}


def _assistants(content: Any, at: str) -> Object:
    """An assistant's message: its text, and its refusal if it has one."""
    if isinstance(content, str):
        return {"role": "assistant", "content": content}
    if not isinstance(content, list):
        raise _invalid(at, "must be a string or a list of parts")
    said: dict[str, list[str]] = {"output_text": [], "refusal": []}
    for index, part in enumerate(content):
        kind = part.get("type") if isinstance(part, Mapping) else None
        if not isinstance(kind, str) or kind not in said:
            raise _unsupported(Violation(f"{at}/{index}/type", "must be output_text or refusal"))
        said[kind].append(_text_of(part, "text" if kind == "output_text" else "refusal", f"{at}/{index}"))
    message: Object = {"role": "assistant", "content": "".join(said["output_text"]) if said["output_text"] else None}
    return message | ({"refusal": "".join(said["refusal"])} if said["refusal"] else {})


def _parts(content: Sequence[Any], at: str) -> str | list[Object]:
    """A message's parts; one text alone is just that text, which every service takes."""
    parts = [_part(part, f"{at}/{index}") for index, part in enumerate(content)]
    if len(parts) == 1 and parts[0]["type"] == "text":
        text: str = parts[0]["text"]
        return text
    return parts


def _part(part: Any, at: str) -> Object:
    if not isinstance(part, Mapping):
        raise _invalid(at, "must be an object")
    match part.get("type"):
        case "input_text":
            return {"type": "text", "text": _text_of(part, "text", at)}
        case "input_image":
            if part.get("file_id") is not None:
                raise _unsupported(Violation(f"{at}/file_id", "files are not kept here: send image_url"))
            detail = {} if part.get("detail") is None else {"detail": part["detail"]}
            return {"type": "image_url", "image_url": {"url": _text_of(part, "image_url", at), **detail}}
        case "input_file":
            for name in ("file_id", "file_url"):
                if part.get(name) is not None:
                    raise _unsupported(Violation(f"{at}/{name}", "files are not kept or fetched here: send file_data"))
            file = {name: part[name] for name in ("file_data", "filename") if part.get(name) is not None}
            return {"type": "file", "file": file}
        case "input_audio":
            return {"type": "input_audio", "input_audio": part.get("input_audio")}
        case other:
            raise _unsupported(Violation(f"{at}/type", f"no chat has a part of the type {other!r}"))


def _text_of(item: Mapping[str, Any], name: str, at: str) -> str:
    value = item.get(name)
    if not isinstance(value, str):
        raise _invalid(f"{at}/{name}", "must be a string")
    return value


# --- the request: everything else -----------------------------------------------------------------


def _tool(index: int, tool: Mapping[str, Any]) -> Object:
    if tool.get("type") != "function":
        reason = "tools that the provider runs are not offered: functions only"
        raise _unsupported(Violation(f"/tools/{index}/type", reason))
    names = ("name", "description", "parameters", "strict")
    return {"type": "function", "function": {name: tool[name] for name in names if tool.get(name) is not None}}


def _tool_choice(choice: Any) -> Any:
    if isinstance(choice, str):
        return choice
    match choice.get("type"):
        case "function":
            return {"type": "function", "function": {"name": _text_of(choice, "name", "/tool_choice")}}
        case "allowed_tools":
            stated = choice.get("tools") or []
            if not isinstance(stated, list) or not all(isinstance(each, Mapping) for each in stated):
                raise _invalid("/tool_choice/tools", "must be a list of objects")
            tools = [{"type": "function", "function": {"name": each.get("name")}} for each in stated]
            return {"type": "allowed_tools", "allowed_tools": {"mode": choice.get("mode", "auto"), "tools": tools}}
        case _:
            raise _unsupported(Violation("/tool_choice/type", "must be function or allowed_tools"))


def _text(text: Mapping[str, Any]) -> Object:
    found: Object = {} if text.get("verbosity") is None else {"verbosity": text["verbosity"]}
    form = text.get("format") or {"type": "text"}
    if not isinstance(form, Mapping):
        raise _invalid("/text/format", "must be an object")
    match form.get("type"):
        case "text":
            return found
        case "json_object":
            return found | {"response_format": {"type": "json_object"}}
        case "json_schema":
            names = ("name", "description", "schema", "strict")
            schema = {name: form[name] for name in names if form.get(name) is not None}
            return found | {"response_format": {"type": "json_schema", "json_schema": schema}}
        case _:
            raise _unsupported(Violation("/text/format/type", "must be text, json_object or json_schema"))


def _reasoning(reasoning: Mapping[str, Any]) -> Object:
    for name in ("summary", "generate_summary"):
        if reasoning.get(name) is not None:
            raise _unsupported(Violation(f"/reasoning/{name}", "no chat summarises its reasoning"))
    return {} if reasoning.get("effort") is None else {"reasoning_effort": reasoning["effort"]}


def _logprobs(body: Mapping[str, Any]) -> Object:
    include, top = body.get("include") or [], body.get("top_logprobs")
    if not isinstance(include, list):
        raise _invalid("/include", "must be a list")
    for index, wanted in enumerate(include):
        if wanted != LOGPROBS:
            raise _unsupported(Violation(f"/include/{index}", f"only {LOGPROBS!r} can be included"))
    found: Object = {"logprobs": True} if include or top else {}
    return found | ({} if top is None else {"top_logprobs": top})


# --- the answer -----------------------------------------------------------------------------------


def response_of(response_id: str, body: Mapping[str, Any], answer: Any) -> Object:
    """The response that a chat's ``answer`` is, to the request ``body``. Raises UpstreamFailed GARBAGE for an answer
    that is no chat's."""
    with of_a_chat():
        choice = answer["choices"][0]
        message, logprobs = choice["message"], (choice.get("logprobs") or {}).get("content")
        response = begun(response_id, body, answer.get("model"), answer.get("created"))
        output = output_of(response_id, message, logprobs)
        return ended(response, output, choice.get("finish_reason"), answer.get("usage"))


@contextmanager
def of_a_chat() -> Iterator[None]:
    """What is read inside the block is a service's: where it has not a chat's shape, that is its fault."""
    try:
        yield
    except (AttributeError, IndexError, KeyError, TypeError, ValueError):
        raise UpstreamFailed("the service answered a chat in another shape", UpstreamFault.GARBAGE) from None


def begun(response_id: str, body: Mapping[str, Any], model: Any, created: Any) -> Object:
    """A response before anything of it is there: what was asked for, as it was understood."""
    metadata = {name: value for name, value in (body.get("metadata") or {}).items() if name != "caio"}
    return {
        "id": response_id,
        "object": "response",
        "created_at": created if isinstance(created, int) else int(time.time()),
        "status": "in_progress",
        "background": False,
        "error": None,
        "incomplete_details": None,
        "instructions": body.get("instructions"),
        "max_output_tokens": body.get("max_output_tokens"),
        "metadata": metadata,
        "model": model if isinstance(model, str) else body["model"],
        "output": [],
        "parallel_tool_calls": body.get("parallel_tool_calls") is not False,
        "previous_response_id": None,
        "reasoning": {"effort": (body.get("reasoning") or {}).get("effort"), "summary": None},
        "store": False,
        "temperature": body.get("temperature"),
        "text": body.get("text") or {"format": {"type": "text"}},
        "tool_choice": body.get("tool_choice") or "auto",
        "tools": body.get("tools") or [],
        "top_logprobs": body.get("top_logprobs"),
        "top_p": body.get("top_p"),
        "truncation": "disabled",
        "usage": None,
    }


def ended(response: Mapping[str, Any], output: Sequence[Object], finish_reason: Any, usage: Any) -> Object:
    """The response with all of its ``output``; what was cut short is incomplete and says why."""
    reason = {"length": "max_output_tokens", "content_filter": "content_filter"}.get(finish_reason)
    status = "completed" if reason is None else "incomplete"
    details = None if reason is None else {"reason": reason}
    items = [{**item, "status": status} if item["type"] == "message" else item for item in output]
    return {
        **response,
        "status": status,
        "incomplete_details": details,
        "output": items,
        "usage": usage_of(usage),
    }


def output_of(response_id: str, message: Mapping[str, Any], logprobs: Any = None) -> list[Object]:
    """The output items of an assistant's message: its reasoning, what it says, the functions it calls."""
    output: list[Object] = []
    thought = message.get("reasoning_content") or message.get("reasoning")
    if thought and isinstance(thought, str):
        output.append(reasoning_item(item_id("rs", response_id, 0), thought))
    calls = message.get("tool_calls") or []
    parts: list[Object] = []
    if isinstance(text := message.get("content"), str) and (text or not (calls or message.get("refusal"))):
        parts.append(text_part(text, logprobs))
    if message.get("refusal"):
        parts.append({"type": "refusal", "refusal": message["refusal"]})
    if parts:
        output.append(message_item(item_id("msg", response_id, len(output)), parts))
    for call in calls:
        function = call.get("function") or {}
        identity = item_id("fc", response_id, len(output))
        output.append(call_item(identity, call.get("id"), function.get("name"), function.get("arguments")))
    return output


def item_id(kind: str, response_id: str, index: int) -> str:
    return f"{kind}_{response_id.removeprefix('resp_')}_{index}"


def text_part(text: str, logprobs: Any = None) -> Object:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": logprobs or []}


def message_item(identity: str, parts: list[Object], status: str = "completed") -> Object:
    return {"id": identity, "type": "message", "role": "assistant", "status": status, "content": parts}


def reasoning_item(identity: str, text: str, status: str = "completed") -> Object:
    content = [{"type": "reasoning_text", "text": text}] if text else []
    return {"id": identity, "type": "reasoning", "status": status, "summary": [], "content": content}


def call_item(identity: str, call_id: Any, name: Any, arguments: Any, status: str = "completed") -> Object:
    said = {"call_id": call_id, "name": name, "arguments": arguments or ""}
    return {"id": identity, "type": "function_call", "status": status, **said}


def usage_of(usage: Any) -> Object | None:
    """A chat's usage in the words of responses; None where the service told none."""
    if not isinstance(usage, Mapping) or "prompt_tokens" not in usage:
        return None
    taken, made = usage["prompt_tokens"], usage.get("completion_tokens") or 0
    cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
    reasoned = (usage.get("completion_tokens_details") or {}).get("reasoning_tokens") or 0
    return {
        "input_tokens": taken,
        "input_tokens_details": {"cached_tokens": cached, "cache_write_tokens": 0},
        "output_tokens": made,
        "output_tokens_details": {"reasoning_tokens": reasoned},
        "total_tokens": usage.get("total_tokens") or taken + made,
    }
