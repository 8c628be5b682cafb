"""The laws of the fault taxonomy."""

from email.utils import formatdate
from time import process_time

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from caio.foundation.errors import UpstreamFault
from caio.providers.faults import (
    MAX_QUOTE,
    MAX_RETRY_AFTER,
    failed_answer,
    failed_event,
    fault_of_status,
    quotable,
    retry_after,
)

SECRET = "sk-test-0123456789abcdef"

STATUSES = {
    400: UpstreamFault.INVALID,
    401: UpstreamFault.AUTH,
    402: UpstreamFault.QUOTA,
    403: UpstreamFault.AUTH,
    404: UpstreamFault.UPSTREAM,
    408: UpstreamFault.TIMEOUT,
    413: UpstreamFault.INVALID,
    422: UpstreamFault.INVALID,
    429: UpstreamFault.QUOTA,
    500: UpstreamFault.UPSTREAM,
    502: UpstreamFault.UPSTREAM,
    503: UpstreamFault.OVERLOADED,
    504: UpstreamFault.TIMEOUT,
    529: UpstreamFault.OVERLOADED,
    302: UpstreamFault.UPSTREAM,
}


@pytest.mark.parametrize("status", [*range(300, 600), 100, 999])
def test_every_failed_status_has_a_fault(status):
    failure = failed_answer("Service 'a'", status, b"", secret=None)
    assert failure.fault is fault_of_status(status)
    assert failure.status == status
    if status in STATUSES:
        assert failure.fault is STATUSES[status]


@pytest.mark.parametrize(
    ("status", "error", "fault"),
    [
        (400, {"code": "content_filter"}, UpstreamFault.CONTENT_FILTER),
        (403, {"code": "content_filter"}, UpstreamFault.CONTENT_FILTER),
        (400, {"type": "overloaded_error"}, UpstreamFault.OVERLOADED),
        (429, {"code": "insufficient_quota", "type": "insufficient_quota"}, UpstreamFault.QUOTA),
        (401, {"type": "invalid_request_error"}, UpstreamFault.AUTH),
        (500, {"code": 17, "type": None}, UpstreamFault.UPSTREAM),
        (400, "plain text", UpstreamFault.INVALID),
    ],
)
def test_the_code_in_the_body_is_more_exact_than_the_status(status, error, fault):
    body = msgspec.json.encode({"error": error})
    assert failed_answer("Service 'a'", status, body, secret=None).fault is fault


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        ({"code": 429}, UpstreamFault.QUOTA),
        ({"code": 200}, UpstreamFault.UPSTREAM),
        ({"type": "server_error"}, UpstreamFault.UPSTREAM),
        ("it broke", UpstreamFault.UPSTREAM),
    ],
)
def test_errors_inside_a_stream_have_a_fault(error, fault):
    assert failed_event("Service 'a'", {"error": error}, secret=None).fault is fault


@pytest.mark.parametrize(
    "shape", [{"error": {"message": "no x"}}, {"error": "no x"}, {"message": "no x"}, {"detail": "no x"}]
)
def test_an_invalid_request_is_explained(shape):
    message = failed_answer("Service 'a'", 422, msgspec.json.encode(shape), secret=None).message
    assert message.endswith(": no x")


def test_other_faults_are_not_quoted():
    body = msgspec.json.encode({"error": {"message": "inner workings"}})
    assert "inner" not in failed_answer("Service 'a'", 500, body, secret=None).message


@given(st.text(), st.integers(0, len(SECRET) - 6), st.integers(6, len(SECRET)), st.text())
def test_secrets_are_never_quoted(before, start, length, after):
    shared = SECRET[start : start + length]
    body = msgspec.json.encode({"error": {"message": f"{before}{shared}{after}"}})
    message = failed_answer("Service 'a'", 400, body, secret=SECRET).message
    assert not any(SECRET[at : at + 6] in message for at in range(len(SECRET) - 5))


def test_secrets_are_not_joined_by_what_is_left_out():
    assert quotable("your key is te\x00\x00st-x", "te st-0123") == ""


def test_no_more_of_a_message_is_compared_than_is_quoted():
    """The service chooses the message and its tenant the secret; comparing all of both would take minutes."""
    secret = "".join(chr(33 + at * at % 90) for at in range(4000))

    def seconds(size):
        began = process_time()
        quotable("~" * size, secret)
        return process_time() - began

    short = min(seconds(4 * MAX_QUOTE) for _ in range(3))
    assert min(seconds(1 << 19) for _ in range(2)) < 20 * short


def test_a_short_secret_is_not_quoted_either():
    assert quotable("your key abc is wrong", "abc") == ""
    assert quotable("your key is wrong", "abc") == "your key is wrong"


@given(st.text(max_size=3000))
def test_quotes_are_one_short_printable_line(text):
    quote = quotable(text, None)
    assert len(quote) <= MAX_QUOTE
    assert quote.isprintable()


def test_retry_after_reads_both_forms():
    now = 1_700_000_000.0
    assert retry_after("7", now) == 7
    assert retry_after(" 0.5 ", now) == 0.5
    assert retry_after(formatdate(now + 90, usegmt=True), now) == 90
    assert retry_after(formatdate(now - 90, usegmt=True), now) == 0
    assert retry_after("999999999", now) == MAX_RETRY_AFTER
    assert retry_after(formatdate(now + 1e8, usegmt=True), now) == MAX_RETRY_AFTER
    for text in (None, "", "soon", "-1", "nan", "inf", "1e9", "Mon, 99 Foo 9999 99:99:99 GMT"):
        assert retry_after(text, now) is None
