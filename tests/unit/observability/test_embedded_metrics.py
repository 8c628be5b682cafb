"""The lines for CloudWatch, held to a schema written out from the specification of the embedded metric format."""

import inspect
import json
from collections import Counter

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from caio.foundation.errors import LimitExceeded
from caio.observability import metrics as counting
from caio.observability.embedded_metrics import EmbeddedMetrics
from caio.observability.metrics import Metrics

#: The units of CloudWatch that are used here. A target is a number, or values with how often each came (100 at most).
UNITS = ["Seconds", "Milliseconds", "Count"]
NUMBERS = {"type": "array", "items": {"type": "number"}, "minItems": 1, "maxItems": 100}
TARGET = {
    "anyOf": [
        {"type": "number"},
        {
            "type": "object",
            "required": ["Values", "Counts", "Min", "Max", "Sum", "Count"],
            "additionalProperties": False,
            "properties": {
                "Values": NUMBERS,
                "Counts": NUMBERS,
                **{name: {"type": "number"} for name in ("Min", "Max", "Sum", "Count")},
            },
        },
    ]
}
SCHEMA = {
    "type": "object",
    "required": ["_aws"],
    "properties": {
        "_aws": {
            "type": "object",
            "required": ["Timestamp", "CloudWatchMetrics"],
            "additionalProperties": False,
            "properties": {
                "Timestamp": {"type": "integer", "minimum": 1_500_000_000_000, "maximum": 5_000_000_000_000},
                "CloudWatchMetrics": {
                    "type": "array",
                    "minItems": 1,
                    "items": {
                        "type": "object",
                        "required": ["Namespace", "Dimensions", "Metrics"],
                        "additionalProperties": False,
                        "properties": {
                            "Namespace": {"type": "string", "minLength": 1, "maxLength": 1024},
                            "Dimensions": {
                                "type": "array",
                                "minItems": 1,
                                "items": {
                                    "type": "array",
                                    "minItems": 1,
                                    "maxItems": 30,
                                    "items": {"type": "string", "minLength": 1, "maxLength": 250},
                                },
                            },
                            "Metrics": {
                                "type": "array",
                                "minItems": 1,
                                "maxItems": 100,
                                "items": {
                                    "type": "object",
                                    "required": ["Name"],
                                    "additionalProperties": False,
                                    "properties": {
                                        "Name": {"type": "string", "minLength": 1, "maxLength": 1024},
                                        "Unit": {"enum": UNITS},
                                        "StorageResolution": {"enum": [1, 60]},
                                    },
                                },
                            },
                        },
                    },
                },
            },
        },
    },
}
FORMAT = jsonschema_rs.validator_for(SCHEMA)
AT_TARGET = jsonschema_rs.validator_for(TARGET)

NOW = 1_790_000_000_123_456


class Lines:
    """What was written, and the metrics that it is about."""

    def __init__(self, tenants=(), calls=True):
        self.metrics = Metrics(tenants)
        self.written: list[str] = []
        self.embedded = EmbeddedMetrics(self.metrics, "production", lambda: NOW, self.written.append, calls=calls)

    async def tell(self):
        """The documents of one step."""
        self.written.clear()
        await self.embedded.step()
        text = "".join(self.written)
        assert text == "" or text.endswith("\n")
        return [json.loads(line) for line in text.splitlines()]


def check(document):
    """As the specification says, also what no schema can."""
    FORMAT.validate(document)
    (directive,) = document["_aws"]["CloudWatchMetrics"]
    for dimensions in directive["Dimensions"]:
        assert all(isinstance(document[name], str) and document[name] for name in dimensions)
    names = [each["Name"] for each in directive["Metrics"]]
    assert len(names) == len(set(names))
    for name in names:
        AT_TARGET.validate(document[name])
        if isinstance(told := document[name], dict):
            assert len(told["Values"]) == len(told["Counts"])
            assert told["Count"] == sum(told["Counts"])
            total = sum(value * count for value, count in zip(told["Values"], told["Counts"], strict=True))
            assert told["Sum"] == pytest.approx(total, rel=1e-9)
    assert set(document) == {"_aws", *names, *(name for each in directive["Dimensions"] for name in each)}


async def test_lines_are_what_the_format_says():
    lines = Lines(["acme"])
    lines.metrics.watch("caio_services", lambda: 12)
    lines.metrics.watch("caio_audit_lag_seconds", lambda: 0.25)
    lines.metrics.watch("caio_journal_waiting", lambda: 3)
    for histogram in (lines.metrics.routing_seconds, lines.metrics.first_token_seconds):
        for bound in histogram.bounds:
            histogram.add(bound)
        histogram.add(9000.0)
    for bound in lines.metrics.request_seconds.bounds:  # every cell there is: the longest line
        lines.metrics.call("chat", 200, bound, "acme", streamed=False)
    lines.metrics.call("chat", 200, 9000.0, "acme", streamed=False)
    documents = await lines.tell()
    assert len(documents) == 2
    for document in documents:
        check(document)
        assert document["_aws"]["Timestamp"] == NOW // 1000
        assert len(json.dumps(document)) < 16_000  # what every log driver passes on in one piece
    assert set(documents[0]) - {"_aws"} == {
        "Environment",
        "OrchestrationRequests",
        "OrchestrationErrors",
        "RefusedRequests",
        "TokensUsed",
        "RoutingLatency",
        "RequestLatency",
        "FirstTokenLatency",
        "ServiceCount",
        "AuditLag",
        "JournalWaiting",
    }
    assert len(documents[0]["RequestLatency"]["Values"]) == 92
    with pytest.raises(jsonschema_rs.ValidationError):
        FORMAT.validate({**documents[0], "_aws": {"CloudWatchMetrics": []}})


CALLS = st.tuples(
    st.sampled_from(counting.CALLS),
    st.sampled_from([200, 404, 429, 500, 503, 499]),
    st.floats(0.0001, 700),
    st.sampled_from(["acme", "other"]),
    st.booleans(),
)


@given(st.lists(st.lists(CALLS, max_size=8), max_size=5))
async def test_lines_add_up(steps):
    lines = Lines(["acme"])
    counted: Counter[tuple[str, str]] = Counter()
    times: Counter[str] = Counter()
    for calls in steps:
        for surface, status, seconds, tenant_id, streamed in calls:
            lines.metrics.call(surface, status, seconds, tenant_id, streamed=streamed)
            lines.metrics.used(tenant_id, 1, 2)
            if status == 429:
                lines.metrics.failed(LimitExceeded("", window="minute", limit=1, retry_after=1), tenant_id)
        for document in await lines.tell():
            whose = document.get("TenantID", "")
            for name in ("OrchestrationRequests", "OrchestrationErrors", "RefusedRequests", "TokensUsed"):
                counted[whose, name] += document[name]
            if told := document.get("RequestLatency"):
                times[whose] += told["Count"]
    everything = [each for calls in steps for each in calls]
    for whose in ("", "acme"):
        mine = [each for each in everything if whose in ("", each[3])]
        assert counted[whose, "OrchestrationRequests"] == len(mine)
        assert counted[whose, "OrchestrationErrors"] == sum(each[1] >= 500 for each in mine)
        assert counted[whose, "RefusedRequests"] == sum(each[1] == 429 for each in mine)
        assert counted[whose, "TokensUsed"] == 3 * len(mine)
        assert times[whose] == sum(not each[4] for each in mine)


async def test_tenants_have_lines_of_their_own():
    lines = Lines(["acme", "globex"])
    lines.metrics.call("chat", 200, 0.1, "globex", streamed=False)
    lines.metrics.call("chat", 200, 0.1, "stranger", streamed=False)
    of_all, acme, globex = await lines.tell()
    assert of_all["_aws"]["CloudWatchMetrics"][0]["Dimensions"] == [["Environment"]]
    for document, tenant_id, requests in ((acme, "acme", 0), (globex, "globex", 1)):
        check(document)
        assert document["_aws"]["CloudWatchMetrics"][0]["Dimensions"] == [["Environment", "TenantID"]]
        assert (document["TenantID"], document["OrchestrationRequests"]) == (tenant_id, requests)
    assert of_all["OrchestrationRequests"] == 2


async def test_nothing_is_written_for_a_request():
    lines = Lines()
    for _ in range(1000):
        lines.metrics.call("chat", 200, 0.1, "acme", streamed=False)
    assert lines.written == []
    assert not inspect.iscoroutinefunction(lines.metrics.call)
    assert len(await lines.tell()) == 1


async def test_a_process_that_serves_no_calls_leaves_theirs_out():
    lines = Lines(["acme"], calls=False)
    assert await lines.tell() == []
    lines.metrics.watch("caio_audit_lag_seconds", lambda: 1.5)
    (document,) = await lines.tell()
    check(document)
    assert {each["Name"] for each in document["_aws"]["CloudWatchMetrics"][0]["Metrics"]} == {"AuditLag"}


async def test_what_could_not_be_written_is_told_with_the_next():
    lines = Lines()
    lines.metrics.call("chat", 200, 0.1, None, streamed=False)

    def broken(_):
        raise BrokenPipeError

    write, lines.embedded._write = lines.embedded._write, broken
    with pytest.raises(BrokenPipeError):
        await lines.embedded.step()
    lines.embedded._write = write
    lines.metrics.call("chat", 200, 0.1, None, streamed=False)
    (document,) = await lines.tell()
    assert document["OrchestrationRequests"] == document["RequestLatency"]["Count"] == 2
