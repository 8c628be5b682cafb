"""The lines of requests, which are written past structlog: the same, and soon."""

import asyncio
import io
import json
import re

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from caio.api.request_log import log_request
from caio.observability import logging as logs
from caio.observability.logging import RequestLines, configure_logging


@pytest.fixture(autouse=True)
def as_it_was():
    before = structlog.get_config()
    yield
    structlog.configure(**before)
    logs._prepared.clear()


def rendered(**fields):
    """What the processors make of the event, without the time."""
    event = structlog.processors.add_log_level(None, "info", {**fields, "event": "request"})
    return json.loads(structlog.processors.JSONRenderer()(None, "info", logs.redact(None, "info", event)))


SECRET = "/keys/caio_live_abcdefghijkl"


@given(
    st.text(max_size=20),
    st.one_of(st.text(), st.just(SECRET)),
    st.text(),
    st.one_of(st.text(), st.just(SECRET)),
    st.floats(0, 1e7),
    st.booleans(),
)
def test_a_requests_line_is_structlogs_own(method, path, tenant, principal, duration, decided):
    async def written():
        stream = io.StringIO()
        lines = RequestLines(stream)
        called = tenant if decided else None, principal if decided else None
        traced = ("0" * 31 + "1", "0" * 15 + "2") if decided else None
        lines.write(method, path, 200, "req_1", "dec_1" if decided else None, *called, round(duration, 3), traced)
        lines.flush()
        return stream.getvalue()

    line = asyncio.run(written())
    fields = {"method": method, "path": path, "status": 200, "request_id": "req_1"}
    fields |= {"decision_id": "dec_1" if decided else None}
    fields |= {"tenant_id": tenant, "principal_id": principal} if decided else {"tenant_id": None, "principal_id": None}
    fields |= {"duration_ms": round(duration, 3)}
    fields |= {"trace_id": "0" * 31 + "1", "span_id": "0" * 15 + "2"} if decided else {}
    expected = rendered(**fields)
    told = json.loads(line)
    time = told.pop("timestamp")
    assert told == expected
    assert list(told) == list(expected)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{6})?Z", time)
    assert line == json.dumps({**expected, "timestamp": time}) + "\n"
    assert SECRET not in line


@pytest.mark.parametrize(
    "told",
    [
        "no answer of redis://:HIDDEN@cache:6379/0",
        "no answer of rediss://caio:HIDDEN@cache:6379/0",
        "no answer of postgresql://caio:HIDDEN@database/caio",
        "sent Authorization: Bearer HIDDEN",
        "the key caio_live_HIDDENHIDDEN",
        "the key sk-HIDDENHIDDEN",
    ],
)
def test_credentials_are_redacted_whoever_logs_them(told):
    line = json.dumps(logs.redact(None, "error", {"event": told, "nested": {"list": [told], "db_password": "HIDDEN"}}))
    assert "HIDDEN" not in line


async def test_lines_are_written_within_a_moment(monkeypatch, capsys):
    monkeypatch.setattr(logs, "FLUSH_SECONDS", 0.03)
    configure_logging("info")
    for number in range(3):
        log_request(
            method="GET", path="/", status=200, request_id=f"r{number}", decision_id=None, started=0.0, caller=None
        )
    assert capsys.readouterr().err == ""
    await asyncio.sleep(0.1)
    assert [json.loads(line)["request_id"] for line in capsys.readouterr().err.splitlines()] == ["r0", "r1", "r2"]


async def test_many_lines_do_not_wait(capsys):
    configure_logging("info")
    for _ in range(400):
        log_request(method="GET", path="/", status=200, request_id="r", decision_id=None, started=0.0, caller=None)
    assert len(capsys.readouterr().err) > 1 << 15


async def test_who_sets_up_structlog_otherwise_gets_every_line():
    configure_logging("info")
    with structlog.testing.capture_logs() as seen:
        log_request(method="GET", path="/", status=200, request_id="r", decision_id=None, started=0.0, caller=None)
    assert [each["request_id"] for each in seen] == ["r"]


async def test_less_than_information_is_no_line(capsys):
    configure_logging("warning")
    log_request(method="GET", path="/", status=200, request_id="r", decision_id=None, started=0.0, caller=None)
    assert capsys.readouterr().err == ""


async def test_a_stream_that_is_gone_costs_nobody_an_answer():
    stream = io.StringIO()
    lines = RequestLines(stream)
    lines.write("GET", "/", 200, "r", None, None, None, 1.0)
    stream.close()
    lines.flush()
