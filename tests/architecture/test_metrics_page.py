"""docs/reference/metrics.md names every metric with its type and labels, and no other."""

from __future__ import annotations

import json
import re
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from caio.observability.embedded_metrics import EmbeddedMetrics
from caio.observability.exposition import WATCHED, exposition
from caio.observability.metrics import OUTCOMES, REASONS, SURFACES, Metrics

PAGE = (Path(__file__).parents[2] / "docs/reference/metrics.md").read_text()
EXPOSED = re.compile(r"^\| `(?P<name>caio_\w+)` \| (?P<type>\w+) \|(?P<labels>[^|]*)\|", re.MULTILINE)
EMBEDDED = re.compile(r"^\| `(?P<name>[A-Z]\w+)` \| (?P<unit>\w+) \|", re.MULTILINE)


class Loop:
    name, failed, age = "work", 1, 2.0


def everything() -> Metrics:
    """Metrics of which each has a value."""
    metrics = Metrics(["acme"])
    for name in WATCHED:
        metrics.watch(name, lambda: 1.0)
    metrics.loops = [Loop()]
    metrics.call("chat", 200, 0.1, "acme", streamed=False)
    metrics.routing_seconds.add(0.1)
    metrics.first_token_seconds.add(0.1)
    return metrics


def test_the_page_names_what_prometheus_reads():
    told = {}
    for family in text_string_to_metric_families(exposition(everything()).decode()):
        name = family.name + ("_total" if family.type == "counter" else "")
        labels = {label for sample in family.samples for label in sample.labels} - {"le"}
        told[name] = family.type, labels
    stated = {row["name"]: (row["type"], set(re.findall(r"`(\w+)`", row["labels"]))) for row in EXPOSED.finditer(PAGE)}
    assert stated == told
    for name in (*SURFACES, *REASONS, "ok", "violated"):
        assert f"`{name}`" in PAGE
    assert len(OUTCOMES) == len(set(OUTCOMES))


async def test_the_page_names_what_cloudwatch_reads():
    written: list[str] = []
    await EmbeddedMetrics(everything(), "test", lambda: 0, written.append).step()
    of_all, of_tenant = (
        {each["Name"]: each["Unit"] for each in json.loads(line)["_aws"]["CloudWatchMetrics"][0]["Metrics"]}
        for line in "".join(written).splitlines()
    )
    assert {row["name"]: row["unit"] for row in EMBEDDED.finditer(PAGE)} == of_all
    (sentence,) = [line for line in PAGE.splitlines() if "`CAIO_METRICS_TENANTS`" in line]
    assert {name for name in of_all if f"`{name}`" in sentence} == set(of_tenant)
