"""Errors survive the way over HTTP, and only a CAIO server's answers are believed."""

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from caio.api.errors import headers_of, problem, status_of
from caio.cli.exits import exit_code_of
from caio.cli.server import Server, asked_with, error_of
from caio.foundation.errors import (
    BudgetExhausted,
    CaioError,
    Conflict,
    DeadlineExceeded,
    InvalidInput,
    LimitExceeded,
    NoServiceSatisfies,
    NotAllowed,
    NotFound,
    NotReady,
    PreconditionFailed,
    Reason,
    TooLarge,
    Unauthenticated,
    UpstreamFailed,
    UpstreamFault,
    Violation,
)

REASON = Reason("a", "1.0.0", "guarantee", "accuracy.min", ">= 0.9", "0.8", "sorry")
ERRORS = [
    InvalidInput("bad", [Violation("/a", "wrong", 3), Violation("/b", "wrong too")], code="invalid_contract"),
    Unauthenticated("who"),
    NotAllowed("no", code="tenant_suspended"),
    NotFound("gone"),
    Conflict("taken", code="already_exists"),
    PreconditionFailed("old"),
    TooLarge("big"),
    LimitExceeded("full", window="minute", limit=3, retry_after=7),
    BudgetExhausted("spent"),
    NoServiceSatisfies("none", [REASON], "dec_1"),
    NoServiceSatisfies("none at all", []),
    UpstreamFailed("broken", UpstreamFault.GARBAGE),
    UpstreamFailed("their fault", UpstreamFault.INVALID),
    DeadlineExceeded("late"),
    NotReady("soon"),
    CaioError("broken here"),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: f"{type(error).__name__}-{error.message}")
def test_errors_survive_the_way(error):
    headers = {name.lower(): value for name, value in headers_of(error).items()}
    arrived = error_of(status_of(error), problem(error), headers)
    assert type(arrived) is type(error)
    assert arrived.message.startswith(error.message)
    assert (arrived.code, arrived.retryable, arrived.decision_id) == (error.code, error.retryable, error.decision_id)
    assert exit_code_of(arrived) == exit_code_of(error)
    for name in ("violations", "reasons", "fault", "limit", "retry_after"):
        assert getattr(arrived, name, None) == getattr(error, name, None)


@pytest.mark.parametrize(
    "url", ["ftp://x", "nonsense", "http://", "http://user:word@host", "http://host:0", "http://host:99999"]
)
def test_only_server_urls_are_taken(url):
    with pytest.raises(InvalidInput, match="--url") as caught:
        Server(url)
    assert "word" not in caught.value.message


@pytest.mark.parametrize("key", ["", "caio_x\r\nHost: elsewhere", "caio_é"])
def test_a_key_cannot_add_headers_and_is_not_shown(key):
    with pytest.raises(Unauthenticated) as caught:
        Server("http://127.0.0.1:1", key)
    assert "elsewhere" not in caught.value.message


def test_a_key_is_needed():
    with pytest.raises(Unauthenticated, match="CAIO_API_KEY"):
        asked_with("http://127.0.0.1:1", None)


@pytest.fixture
def stranger():
    """A server of some other kind: (set its status, type and body) and its URL."""

    class Handler(BaseHTTPRequestHandler):
        answer = (200, b"<html>")

        def do_GET(self):
            status, body = self.answer
            self.send_response(status)
            self.send_header("Location", "http://127.0.0.1:1/")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield Handler, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(
    "answer", [(200, b"<html>"), (302, b"{}"), (502, b"bad gateway"), (200, b"[1]"), (200, b"\xff")]
)
def test_a_stranger_is_not_believed(stranger, answer):
    handler, url = stranger
    handler.answer = answer
    with pytest.raises(NotReady, match="not as a CAIO server"):
        Server(url, "caio_key").get("/api/v1/services")
