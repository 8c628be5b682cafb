"""The laws of api.mcp.tools and api.mcp.running."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from caio.api.mcp.running import Running
from caio.api.mcp.tools import ANY, Tool, tools_of
from caio.contracts import parse_contract
from caio.routing.model import Offer
from caio.routing.offers import offer_of
from tests.e2e.conftest import contract

EVERYWHERE = re.compile(r"[A-Za-z0-9_-]{1,64}")

short = st.sampled_from(["a", "b", "a__b", "b__a", "caio_orchestrate", "x" * 60, "x" * 63])
capability = st.sampled_from(["a", "b", "b-c", "b.c", "b_c", "y" * 60, "chat"])


def offer(service_id: str, *capabilities: str, api: dict[str, Any] | None = None) -> Offer:
    stated = contract(service_id, "http://127.0.0.1:1") | {"capabilities": list(capabilities)}
    parsed = parse_contract(_json(stated | ({"api": api} if api else {}))).value
    return offer_of("acme", parsed.document(), parsed.digest)


def _json(document: object) -> bytes:
    return msgspec.json.encode(document)


def tool_with(input_schema: Any, **more: Any) -> Tool:
    endpoint = {"path": "/x", "method": "POST", **({} if input_schema is None else {"input_schema": input_schema})}
    api = {"protocol": "http-json", "base_url": "http://127.0.0.1:1", "endpoints": [endpoint | more]}
    (tool,) = tools_of([offer("one", "a", api=api)]).values()
    return tool


@given(st.dictionaries(short, st.sets(capability, min_size=1, max_size=4), max_size=6))
def test_names_are_distinct_and_fit_every_client(services: dict[str, set[str]]) -> None:
    found = tools_of([offer(service_id, *sorted(able)) for service_id, able in services.items()])
    assert all(EVERYWHERE.fullmatch(name) for name in found)
    assert ANY not in found
    # One for each: none has taken another's place.
    told = {(tool.service_id, tool.capability) for tool in found.values()}
    assert told == {(service_id, each) for service_id, able in services.items() for each in able}
    assert all(tool.name == name for name, tool in found.items())


def test_names_do_not_depend_on_the_order_of_services() -> None:
    offers = [offer("a", "b", "c"), offer("a__b", "x"), offer("b", "c")]
    assert tools_of(offers) == tools_of(offers[::-1])
    assert set(tools_of(offers)) >= {"a__b", "a__c", "b"}


def test_an_object_is_taken_as_it_is() -> None:
    schema = {"type": "object", "properties": {"text": {"type": "string"}}}
    tool = tool_with(schema, output_schema=schema)
    assert (tool.input_schema, tool.output_schema, tool.payload({"text": "x"})) == (schema, schema, {"text": "x"})
    assert tool_with(None).input_schema == {"type": "object"}


def test_anything_else_is_taken_as_payload() -> None:
    schema = {"type": "array", "items": {"type": "string"}}
    tool = tool_with(schema, output_schema=schema)
    assert tool.input_schema["properties"] == {"payload": schema}
    assert (tool.payload({"payload": ["x"]}), tool.output_schema) == (["x"], None)


def test_references_are_not_moved_away_from_what_they_refer_to() -> None:
    schema = {"type": "array", "items": {"$ref": "#/$defs/word"}, "$defs": {"word": {"type": "string"}}}
    assert "items" not in tool_with(schema).input_schema["properties"]["payload"]


async def test_only_the_same_caller_in_the_same_session_cancels() -> None:
    running = Running()
    key = ("acme", "key_1", "session", "1")
    with running.call(key) as cancelled:
        for place in range(4):
            running.cancel(tuple("other" if at == place else each for at, each in enumerate(key)))  # type: ignore[arg-type]
        assert not cancelled.done()
        running.cancel(key)
        running.cancel(key)
        assert cancelled.done()


async def test_nothing_is_kept_of_a_call_that_has_ended() -> None:
    running = Running()
    key = ("acme", "key_1", "", "1")
    with running.call(key) as first:
        with running.call(key) as second:  # a client that uses an id twice
            running.cancel(key)
            assert (first.done(), second.done()) == (False, True)
        running.cancel(key)
    assert len(running) == 0
    await asyncio.sleep(0)
