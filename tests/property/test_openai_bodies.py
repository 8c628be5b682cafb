"""The short ways of OpenAI's surface give what the long ones give."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from caio.api.openai.bodies import _PLAIN, ChatBody, EmbeddingsBody
from caio.api.openai.chat import asked_of
from caio.api.openai.naming import ANY, Meant
from caio.api.openai.wishes import PLACES, wished
from caio.api.wanted import from_orchestrate
from caio.foundation.errors import InvalidInput
from caio.gateway.chats import bounded
from caio.gateway.intake import Wishes, read
from tests.unit.gateway.test_asks import wanted

ODD: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 10**10),
    st.text(max_size=3),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.text(max_size=2), st.integers(), max_size=1),
    st.floats(allow_nan=False, width=16),
)
MEMBERS = st.sampled_from(sorted({*ChatBody.model_fields, *EmbeddingsBody.model_fields} - {"model"}))
LISTS = st.lists(st.dictionaries(st.just("role"), st.just("user"), max_size=1), max_size=2)


@given(st.sampled_from([ChatBody, EmbeddingsBody]), st.dictionaries(MEMBERS, ODD | LISTS, max_size=4), ODD)
def test_what_is_plainly_in_order_is_in_order(model: Any, body: dict[str, Any], name: Any) -> None:
    body = {"messages": [{"role": "user"}], "input": "x", "model": name or "auto", **body}
    if _PLAIN[model](body):
        read(model, msgspec.json.encode(body))


@given(st.sampled_from([ANY, Meant("code"), Meant(services=frozenset({"a"}))]), st.integers(1, 5), st.booleans())
def test_without_wishes_is_the_same_as_with_none(meant: Meant, answers: int, stream: bool) -> None:
    caller = wanted().caller
    body = {
        "model": "x",
        "messages": [{"role": "user", "content": "x"}],
        "n": answers,
        "max_tokens": 9,
        "stream": stream,
    }
    asked = asked_of(body)
    short = wished(body, {}, 100, caller, asked, meant)
    long = wished({**body, "metadata": {"caio": {}}}, {}, 100, caller, asked, meant)
    assert short == long
    assert (short.request.answers, short.request.max_tokens, short.request.stream) == (answers, 9, stream)


@given(
    st.dictionaries(st.sampled_from(["max_tokens", "max_completion_tokens"]), st.integers(1, 9)),
    st.none() | st.integers(1, 9),
)
def test_a_service_is_told_what_was_reserved(stated: dict[str, int], wish: int | None) -> None:
    body = {"model": "auto", "messages": [{"role": "user", "content": "x"}], **stated}
    if wish is not None:
        body["metadata"] = {"caio": {"requirements": {"max_tokens": wish}}}
    request = wished(body, {}, 100, wanted().caller, asked_of(body), ANY).request
    told = bounded(body, request.max_tokens)
    bounds = [told[name] for name in ("max_tokens", "max_completion_tokens") if name in told]
    assert max(bounds, default=None) == request.max_tokens or max(bounds) <= (request.max_tokens or 0)
    assert request.max_tokens == min([*stated.values(), *([] if wish is None else [wish])], default=None)


VALUES: dict[str, tuple[str, Any]] = {
    "x-caio-capability": ("code", "code"),
    "x-caio-max-cost": ("0.5", 0.5),
    "x-caio-max-latency-ms": ("800", 800),
    "x-caio-data-locality": ("private", "private"),
    "x-caio-regions": ("eu, us", ["eu", "us"]),
    "x-caio-compliance": ("gdpr", ["gdpr"]),
    "x-caio-excluded-services": ("a,b@1", ["a", "b@1"]),
    "x-caio-data-classification": ("restricted", "restricted"),
    "x-caio-sensitive": ("True", True),
    "x-caio-policy": ("p, q@2", ["p", "q@2"]),
    "x-caio-on-violation": ("fail", "fail"),
    "x-caio-deadline-ms": ("700", 700),
    "x-caio-seed": ("7", "7"),
}


@pytest.mark.parametrize("header", sorted(PLACES))
def test_a_header_is_the_same_as_its_place_in_metadata(header: str) -> None:
    text, value = VALUES[header]
    body: dict[str, Any] = {"model": "auto", "messages": [{"role": "user", "content": "x"}]}
    asked, caller = asked_of(body), wanted().caller
    by_header = wished(body, {header: text}, 9, caller, asked, ANY)
    stated: Any = value
    for name in reversed(PLACES[header]):
        stated = {name: stated}
    by_metadata = wished({**body, "metadata": {"caio": stated}}, {}, 9, caller, asked, ANY)
    assert by_header == by_metadata
    assert by_header != wished(body, {}, 9, caller, asked, ANY)


@pytest.mark.parametrize(
    ("caio", "headers", "pointer"),
    [
        ([], {}, "/metadata/caio"),
        ({"requirements": 5}, {}, "/metadata/caio/requirements"),
        ({"requirements": {"max_cost": "x"}}, {}, "/metadata/caio/requirements/max_cost"),
        ({}, {"x-caio-max-cost": "x"}, "/header/x-caio-max-cost"),
        ({}, {"x-caio-sensitive": "maybe"}, "/header/x-caio-sensitive"),
        ({}, {"x-caio-excluded-services": "A!"}, "/header/x-caio-excluded-services"),
        ({"policies": 5}, {"x-caio-policy": "p"}, "/header/x-caio-policy"),
        ({"nonsense": 1}, {}, "/metadata/caio/nonsense"),
        ({"constraints": {"services": ["b"]}}, {}, "/metadata/caio/constraints/services"),
    ],
)
def test_a_wish_that_cannot_be_is_told_where_it_was_stated(caio: Any, headers: dict[str, str], pointer: str) -> None:
    body: dict[str, Any] = {"model": "a", "messages": [{"role": "user", "content": "x"}], "metadata": {"caio": caio}}
    with pytest.raises(InvalidInput) as refused:
        wished(body, headers, 9, wanted().caller, asked_of(body), Meant(services=frozenset({"a"})))
    assert refused.value.violations[0].pointer == pointer


def test_wishes_have_no_member_that_no_caller_may_state() -> None:
    assert {place[0] for place in PLACES.values()} <= set(Wishes.model_fields)


@pytest.mark.parametrize(
    ("payload", "wish", "told"),
    [
        ({"n": 3}, {}, ({"n": 3}, None, 3)),
        ({"max_tokens": 5}, {}, ({"max_tokens": 5}, 5, 1)),
        ({"max_tokens": 5}, {"max_tokens": 2}, ({"max_tokens": 2}, 2, 1)),
        ({}, {"max_tokens": 2}, ({"max_completion_tokens": 2}, 2, 1)),
    ],
)
def test_a_native_call_of_a_chat_reserves_what_it_asks_for(payload: Any, wish: Any, told: Any) -> None:
    chat = {"messages": [{"role": "user", "content": "x"}]}
    request = {"capability": "chat", "requirements": wish, "payload": chat | payload}
    asked = from_orchestrate(msgspec.json.encode({"request": request}), wanted().caller)
    assert (asked.body, asked.request.max_tokens, asked.request.answers) == (chat | told[0], *told[1:])


@pytest.mark.parametrize("payload", [{"n": 0}, {"n": "2"}, {"max_tokens": -1}, {"max_completion_tokens": 1.5}])
def test_a_native_call_of_a_chat_cannot_ask_for_what_has_no_bound(payload: Any) -> None:
    request = {"capability": "chat", "payload": {"messages": [], **payload}}
    with pytest.raises(InvalidInput) as refused:
        from_orchestrate(msgspec.json.encode({"request": request}), wanted().caller)
    assert refused.value.violations[0].pointer == f"/request/payload/{next(iter(payload))}"


def test_other_payloads_are_left_alone() -> None:
    request = {"capability": "x", "payload": {"n": 50, "max_tokens": "many"}}
    asked = from_orchestrate(msgspec.json.encode({"request": request}), wanted().caller)
    assert (asked.body, asked.request.answers) == (request["payload"], 1)
