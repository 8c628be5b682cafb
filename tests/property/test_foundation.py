"""The laws of foundation over generated values."""

import json
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET, Raw

from caio.foundation.canonical import MAX_INTEGER, Form, canonical_json, read_canonical
from caio.foundation.hashing import digest, same
from caio.foundation.ids import is_id, ulid
from caio.foundation.money import Prices, Usage
from caio.foundation.quantity import MAX_NANOS, decimal_text, nanos, read_nanos, scaled

texts = st.text(st.characters(codec="utf-8"), max_size=8)
integers = st.integers(-MAX_INTEGER, MAX_INTEGER)
floats = st.floats(allow_nan=False, allow_infinity=False).filter(lambda x: not MAX_INTEGER < abs(x) < 1e21)


def documents(leaves):
    return st.recursive(
        leaves, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4), max_leaves=20
    )


exact = st.none() | st.booleans() | integers | texts
everything = documents(exact | floats)


def shuffled(value, draw):
    """The same value with every object's members inserted in another order, and tuples for lists."""
    if isinstance(value, dict):
        return {name: shuffled(value[name], draw) for name in draw(st.permutations(list(value)))}
    if isinstance(value, list):
        return tuple(shuffled(item, draw) for item in value)
    return value


@given(everything, st.data())
def test_canonical_is_deterministic(value, data):
    assert canonical_json(shuffled(value, data.draw)) == canonical_json(value)


class Known(Form, frozen=True):
    a: object
    b: object
    b_c: object


@given(everything, texts | integers | st.lists(texts), st.sampled_from([True, None, UNSET]))
def test_a_form_is_canonical(nested, plain, last):
    form = Known(Raw(canonical_json(nested)), plain, last)
    document = {"b": plain, "a": nested} | ({} if last is UNSET else {"b_c": last})
    assert form.canonical() == canonical_json(document)


def test_a_form_is_declared_in_canonical_order():
    with pytest.raises(TypeError, match="not in canonical order"):
        type("Disordered", (Form,), {"__annotations__": {"b": int, "a": int}})


@given(everything)
def test_canonical_round_trips(value):
    assert json.loads(canonical_json(value)) == value
    assert read_canonical(canonical_json(value)) == value


@given(documents(st.none() | st.booleans() | integers | st.text(st.characters(max_codepoint=0x7F))))
def test_canonical_agrees_with_another_encoder(value):
    # Python's own encoder sorts by code point, which is UTF-16 order below the surrogates.
    plain = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    if all(ord(char) < 0xD800 for char in plain):
        assert canonical_json(value) == plain.encode()


@given(floats)
def test_floats_print_as_ecmascript_does(number):
    text = canonical_json(number).decode()
    assert float(text) == number
    assert len(text.replace("-", "").replace(".", "").split("e")[0].strip("0")) <= len(
        repr(number).replace("-", "").replace(".", "").split("e")[0].strip("0")
    )
    assert ("e" in text) == (number != 0 and not 1e-6 <= abs(number) < 1e21)
    assert not text.endswith(".0")
    assert "e0" not in text
    assert "e+0" not in text


@given(st.binary(max_size=40), st.binary(max_size=40))
def test_bytes_of_one_kind_never_pass_for_another(left, right):
    assert digest("caio/a/v1", left) != digest("caio/b/v1", right)
    assert same(left, right) == (left == right)


times = st.integers(0, (1 << 48) * 1000 - 1)
entropies = st.binary(min_size=10, max_size=10)


@given(times, entropies, times, entropies)
def test_ids_sort_by_time(early, one, late, other):
    first, second = ulid("dec", early, one), ulid("dec", late, other)
    assert is_id("dec", first)
    assert not is_id("key", first)
    if early // 1000 < late // 1000:
        assert first < second
    assert (first == second) == (early // 1000 == late // 1000 and one == other)


@given(st.integers(-MAX_NANOS, MAX_NANOS))
def test_quantities_round_trip(amount):
    assert nanos(decimal_text(amount)) == read_nanos(decimal_text(amount)) == amount
    assert nanos(Decimal(amount).scaleb(-9)) == amount


@given(st.decimals(allow_nan=False, allow_infinity=False, places=11), st.integers(0, 12))
def test_nothing_rounds_in_silence(number, places):
    try:
        amount = scaled(number, places=places, most=10**9)
    except ValueError:
        assert abs(Fraction(number)) > 10**9 or (Fraction(number) * 10**places).denominator != 1
    else:
        assert Fraction(amount, 10**places) == Fraction(number)


prices = st.integers(0, 10**18)
counts = st.integers(0, 10**7)


@given(st.builds(Prices, st.just("USD"), prices, prices, prices, prices), st.builds(Usage, counts, counts, counts))
def test_a_price_is_never_below_cost_and_less_than_one_nano_above(price, usage):
    exact_picos = (
        price.per_request
        + price.per_input_token * usage.input_tokens
        + price.per_output_token * usage.output_tokens
        + Fraction(price.per_second * usage.milliseconds, 1000)
    )
    assert 0 <= price.of(usage) - exact_picos / 1000 < 1
