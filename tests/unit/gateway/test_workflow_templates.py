"""Templates against a slow reading of RFC 6901, and their flaws."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caio.gateway.workflows.templates import (
    MAX_DEPTH,
    MAX_PUT_IN,
    TooMuchPutIn,
    Unresolved,
    fill,
    flaws,
    is_nested_deeper,
    references,
    resolve,
)

NAMES = st.text(alphabet="ab/~0", max_size=3)
DOCUMENTS = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-9, 9), st.text(max_size=3)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(NAMES, inner, max_size=3)),
    max_leaves=8,
)


def places(document: Any, at: str = "") -> dict[str, Any]:
    """Every pointer into a document, with what is there."""
    found = {at: document}
    if isinstance(document, dict):
        for name, each in document.items():
            found |= places(each, f"{at}/{name.replace('~', '~0').replace('/', '~1')}")
    elif isinstance(document, list):
        for number, each in enumerate(document):
            found |= places(each, f"{at}/{number}")
    return found


@given(DOCUMENTS)
def test_what_refers_to_nothing_is_itself(document: Any) -> None:
    assert flaws(document, set()) == []
    assert fill(document, {}) == document
    assert list(references(document)) == []


@given(DOCUMENTS, NAMES)
def test_a_filled_template_is_what_the_pointers_say(document: Any, stranger: str) -> None:
    for pointer, value in places(document).items():
        template = {"it": [{"$from": "step", "pointer": pointer}]}
        assert flaws(template, {"step"}) == []
        assert fill(template, {"step": document}) == {"it": [value]}
    beyond = f"/{stranger.replace('~', '~0').replace('/', '~1')}"
    if beyond not in places(document):
        with pytest.raises(KeyError):
            resolve(document, beyond)


@pytest.mark.parametrize("pointer", ["/01", "/-", "/3", "/-1", "/+1", "/1 "])
def test_only_a_place_is_an_index(pointer: str) -> None:
    with pytest.raises(KeyError):
        resolve(["a", "b", "c"], pointer)


def test_what_is_put_in_is_never_read_as_a_template() -> None:
    said = {"$from": "input"}
    assert fill({"x": {"$from": "step"}}, {"step": said, "input": "secret"}) == {"x": said}


def test_parts_of_a_text_are_texts_and_numbers() -> None:
    template = {"$text": ["It is ", {"$from": "a", "pointer": "/n"}, "."]}
    assert flaws(template, {"a"}) == []
    assert fill(template, {"a": {"n": 7}}) == "It is 7."
    wrongs: list[Any] = [True, None, [], {}]
    for wrong in wrongs:
        with pytest.raises(Unresolved, match="a part of a text"):
            fill(template, {"a": {"n": wrong}})


def test_a_pointer_that_leads_nowhere_says_where() -> None:
    with pytest.raises(Unresolved) as raised:
        fill({"x": [{"$from": "a", "pointer": "/b/c"}]}, {"a": {"b": {}}}, "/payload")
    assert raised.value.code == "unresolved_reference"
    assert [each.pointer for each in raised.value.violations] == ["/payload/x/0"]


def deep(levels: int) -> Any:
    return [] if levels == 1 else [deep(levels - 1)]


@pytest.mark.parametrize(
    ("template", "pointers"),
    [
        ({"$from": "nobody"}, ["/$from"]),
        ({"$from": "a", "pointer": "no"}, ["/pointer"]),
        ({"$from": "a", "pointer": "/~2"}, ["/pointer"]),
        ({"$from": "a", "pointer": 3}, ["/pointer"]),
        ({"$from": ["a"]}, ["/$from"]),
        ({"$from": "a", "more": 1}, [""]),
        ({"$text": "a"}, [""]),
        ({"$text": [], "more": 1}, [""]),
        ({"$text": [None, [], {"$text": []}, {"x": 1}]}, ["/$text/0", "/$text/1", "/$text/2", "/$text/3"]),
        ([{"$from": "nobody"}, {"a/b": {"$from": "nobody"}}], ["/0/$from", "/1/a~1b/$from"]),
        (deep(MAX_DEPTH + 1), ["/0" * MAX_DEPTH]),
        ([{"$from": "a"}] * 257, [""]),
    ],
)
def test_every_flaw_is_listed(template: Any, pointers: list[str]) -> None:
    assert sorted(each.pointer for each in flaws(template, {"a"})) == sorted(pointers)


def test_what_is_deep_enough_is_none() -> None:
    assert flaws(deep(MAX_DEPTH), set()) == []


def test_what_references_put_in_is_bounded() -> None:
    quarter = "x" * (MAX_PUT_IN // 4)
    template = [{"$from": "a"}] * 3
    assert fill(template, {"a": quarter}) == [quarter] * 3
    for more in ({"$from": "a"}, {"$text": ["y", {"$from": "a"}]}):
        with pytest.raises(TooMuchPutIn) as refused:
            fill({"p": [*template, more]}, {"a": quarter}, "/payload")
        assert refused.value.violations[0].pointer.startswith("/payload/p/3")


@given(st.integers(0, 9), st.integers(0, 9))
def test_depth_is_counted_in_lists_and_objects(depth: int, most: int) -> None:
    value: Any = [1, "x"]
    for level in range(depth):
        value = [value, 1] if level % 2 else {"a": value}
    assert is_nested_deeper(value, most) == (depth + 1 > most)
