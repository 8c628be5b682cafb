"""Hashing, ids, quantities, money, errors and scope: the laws that need no generated cases."""

import hashlib
import inspect
import re
import time
from decimal import Decimal

import pytest

from caio.foundation import errors, hashing
from caio.foundation.ids import SERVICE_ID, TENANT_ID, is_id, ulid
from caio.foundation.money import Prices, Usage, picos
from caio.foundation.quantity import MAX_NANOS, NotExact, decimal_text, nanos, read_nanos
from caio.foundation.scope import TenantScope

# --- hashing


def test_a_digest_names_its_purpose():
    assert hashing.digest("caio/contract/v1", b"{}") == hashlib.sha256(b"caio/contract/v1\x00{}").hexdigest()
    assert hashing.digest(hashing.CONTRACT, b"{}") != hashing.digest(hashing.POLICY, b"{}")


def test_purposes_are_distinct_versioned_and_hold_no_zero_byte():
    purposes = [value for name, value in vars(hashing).items() if name.isupper() and isinstance(value, str)]
    assert len(purposes) == len(set(purposes)) >= 10
    assert all(re.fullmatch(r"caio/[a-z-]+/v[1-9]", purpose) for purpose in purposes)


def test_digest_of_a_value_is_that_of_its_canonical_form():
    assert hashing.digest_of("p", {"b": 1, "a": 2}) == hashing.digest("p", b'{"a":2,"b":1}')


def test_keyed_is_hmac_sha256():
    # RFC 4231, test case 2.
    expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    assert hashing.keyed(b"Jefe", b"what do ya want for nothing?").hex() == expected


# --- ids


@pytest.mark.parametrize("entropy", [b"", b"\0" * 9, b"\0" * 11])
def test_an_id_needs_ten_bytes_of_entropy(entropy):
    with pytest.raises(ValueError, match="10 bytes"):
        ulid("dec", 0, entropy)


@pytest.mark.parametrize("now", [-1, (1 << 48) * 1000])
def test_an_id_needs_a_time_that_fits(now):
    with pytest.raises(ValueError, match="1970"):
        ulid("dec", now, b"\0" * 10)


def test_a_known_ulid():
    # 1469918176385 ms is the ULID specification's own example, 01ARYZ6S41…
    assert ulid("dec", 1_469_918_176_385_000, b"\0" * 10) == "dec_01aryz6s410000000000000000"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "dec",
        "dec_",
        "dec_01aryz6s41000000000000000",
        "dec_01aryz6s4100000000000000000",
        "dec_01ARYZ6S410000000000000000",
        "dec_01aryz6s41000000000000000u",
        "key_01aryz6s410000000000000000",
        "01aryz6s410000000000000000",
        "dec_01aryz6s410000000000000000\n",
        "dec_81aryz6s410000000000000000",
    ],
)
def test_other_texts_are_no_ids(text):
    assert not is_id("dec", text)


@pytest.mark.parametrize("name", ["a", "0", "my-service_2", "x" * 63])
def test_names_that_are_accepted(name):
    assert SERVICE_ID.fullmatch(name)
    assert TENANT_ID.fullmatch(name)


@pytest.mark.parametrize("name", ["", "-a", "_a", "A", "a b", "a/b", "a.b", "é", "x" * 64, "a\n"])
def test_names_that_are_refused(name):
    assert not SERVICE_ID.fullmatch(name)
    with pytest.raises(ValueError, match="tenant id"):
        TenantScope(name)


# --- quantities


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("0", 0),
        ("0.95", 950_000_000),
        ("800", 800 * 10**9),
        ("-1.5", -1_500_000_000),
        ("0.000000001", 1),
        ("1000000000", MAX_NANOS),
        ("-1000000000", -MAX_NANOS),
        ("999999999.999999999", MAX_NANOS - 1),
    ],
)
def test_plain_decimals_read_and_print(text, amount):
    assert nanos(text) == nanos(Decimal(text)) == read_nanos(text) == amount
    assert decimal_text(amount) == text


@pytest.mark.parametrize(
    "value",
    [
        "",
        "abc",
        "NaN",
        "sNaN",
        "Infinity",
        "-Infinity",
        "1e10",
        "1000000000.000000001",
        "0.0000000001",
        "1e-10",
        "1e-999999999",
        "1e999999999",
        "1." + "0" * 60 + "1",
        10**9 + 1,
        -(10**9) - 1,
        True,
    ],
)
def test_what_is_not_exact_is_refused(value):
    with pytest.raises(NotExact):
        nanos(value)


@pytest.mark.parametrize("zero", ["0", "-0", "0.0", "0e-999999999", "0e999999999", Decimal("0E-99999999")])
def test_zero_costs_nothing_however_it_is_written(zero):
    started = time.perf_counter()
    assert nanos(zero) == 0
    assert time.perf_counter() - started < 0.1


@pytest.mark.parametrize(
    "text", ["-0", "00", "01", "1.0", "1.", ".5", "+1", "1e3", " 1", "1 ", "1_0", "\u0661", "1\n", ""]
)
def test_one_quantity_has_one_text(text):
    with pytest.raises(NotExact):
        read_nanos(text)


# --- money


def test_a_price_is_rounded_up_once():
    # Three thirds of a nano each: summed first, rounded after.
    prices = Prices("USD", per_request=334, per_input_token=333, per_output_token=333)
    assert prices.of(Usage(input_tokens=1, output_tokens=1)) == 1
    assert Prices("USD", per_input_token=1).of(Usage(input_tokens=1000)) == 1
    assert Prices("USD", per_input_token=1).of(Usage(input_tokens=1001)) == 2
    assert Prices("USD", per_second=1).of(Usage(milliseconds=1)) == 1
    assert Prices("USD").of(Usage(10, 10, 10)) == 0


def test_prices_have_twelve_places():
    assert picos("0.0000000375") == 37_500
    assert picos("0.000000000001") == 1
    for value in ("0.0000000000001", "1000000.000000000001", "1000001"):
        with pytest.raises(NotExact):
            picos(value)


@pytest.mark.parametrize("usage", [(-1, 0, 0), (0, -1, 0), (0, 0, -1)])
def test_usage_is_not_negative(usage):
    with pytest.raises(ValueError, match="negative"):
        Usage(*usage)


# --- errors

TREE = [kind for kind in vars(errors).values() if inspect.isclass(kind) and issubclass(kind, errors.CaioError)]


def test_every_error_has_a_code_of_its_own():
    codes = [kind.code for kind in TREE]
    assert len(codes) == len(set(codes)) > 14
    assert all(code.replace("_", "").isalpha() and code.islower() for code in codes)


def test_the_docstring_shows_the_whole_tree():
    assert errors.__doc__ is not None
    assert all(kind.__name__ in errors.__doc__ for kind in TREE)


def test_an_error_keeps_its_message_and_may_narrow_its_code():
    plain, narrow = errors.Conflict("Taken."), errors.Conflict("Taken.", code="service_exists")
    assert (plain.code, narrow.code, errors.Conflict.code) == ("conflict", "service_exists", "conflict")
    assert narrow.message == str(narrow) == "Taken."


@pytest.mark.parametrize(("seconds", "shown"), [(-1, 1), (0, 1), (1, 1), (7, 7)])
def test_a_limit_says_when_to_come_back(seconds, shown):
    assert errors.LimitExceeded("Full.", window="minute", limit=10, retry_after=seconds).retry_after == shown


def test_a_request_s_own_faults_are_not_worth_a_fallback():
    assert errors.UpstreamFault.INVALID not in errors.FAULTS_WORTH_A_FALLBACK
    assert errors.UpstreamFault.CONTENT_FILTER not in errors.FAULTS_WORTH_A_FALLBACK
    assert errors.UpstreamFault.TIMEOUT in errors.FAULTS_WORTH_A_FALLBACK
