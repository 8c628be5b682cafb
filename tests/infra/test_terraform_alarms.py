"""Alarms and dashboards look at metrics that exist, on the statistic that is meant, and somebody hears them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support.cloudwatch_metrics import metric_mistakes
from tests.support.emulated_terraform import Planned
from tests.support.terraform_resources import Resource, Resources
from tests.support.terraform_verdicts import alarm_mistakes, metrics_of, unheard_topics

# What must ring: (a part of the alarm's metrics, its threshold at most), by the requirements of operations.
WANTED: dict[str, Callable[[Resource], bool]] = {
    "5xx rate over 1 %": lambda alarm: "HTTPCode_Target_5XX_Count" in _names(alarm) and alarm.get("threshold") == 1,
    "p95 of responses over 1 s": lambda alarm: "TargetResponseTime" in _names(alarm) and alarm.get("threshold") == 1,
    "unhealthy hosts": lambda alarm: "UnHealthyHostCount" in _names(alarm) and alarm.get("threshold") == 0,
    "service CPU over 80 %": lambda alarm: _is(alarm, "AWS/ECS", "CPUUtilization", 80),
    "service memory over 85 %": lambda alarm: _is(alarm, "AWS/ECS", "MemoryUtilization", 85),
    "database CPU over 80 % for 15 min": lambda alarm: (
        _is(alarm, "AWS/RDS", "CPUUtilization", 80) and alarm["period"] * alarm["evaluation_periods"] == 900
    ),
    "database connections": lambda alarm: _is(alarm, "AWS/RDS", "DatabaseConnections"),
    "database storage": lambda alarm: (
        _is(alarm, "AWS/RDS", "FreeStorageSpace") or _is(alarm, "AWS/RDS", "FreeLocalStorage")
    ),
    "cache evictions": lambda alarm: _is(alarm, "AWS/ElastiCache", "Evictions"),
    "queue deeper than 100": lambda alarm: _is(alarm, "AWS/SQS", "ApproximateNumberOfMessagesVisible", 100),
    "dead letters": lambda alarm: _is(alarm, "AWS/SQS", "ApproximateNumberOfMessagesVisible", 0),
    "canary failed": lambda alarm: alarm.get("namespace") == "CloudWatchSynthetics",
}


def _is(alarm: Resource, namespace: str, metric: str, threshold: float | None = None) -> bool:
    same = alarm.get("namespace") == namespace and alarm.get("metric_name") == metric
    return same and threshold in {None, alarm.get("threshold")}


def _names(alarm: Resource) -> set[str]:
    return {metric for _, metric, _, _ in metrics_of(alarm)}


@pytest.fixture(scope="module")
def resources(each_plan: Planned) -> Resources:
    return Resources.of(each_plan.plan)


def test_every_alarm_looks_at_a_metric_that_exists(resources: Resources):
    alarms = resources.of_type("aws_cloudwatch_metric_alarm")
    assert [mistake for alarm in alarms for mistake in alarm_mistakes(alarm, complete=False)] == []
    assert len(alarms) >= 10


def test_every_alarm_that_was_made_has_its_dimensions(planned: Callable[[str], Planned]):
    applied = planned("staging").state
    assert applied is not None
    alarms = Resources.of(applied).of_type("aws_cloudwatch_metric_alarm")
    assert [mistake for alarm in alarms for mistake in alarm_mistakes(alarm)] == []


def test_everything_that_must_ring_has_an_alarm(planned: Callable[[str], Planned]):
    alarms = Resources.of(planned("production").plan).of_type("aws_cloudwatch_metric_alarm")
    assert [what for what, rings in WANTED.items() if not any(rings(alarm) for alarm in alarms)] == []


def test_latency_is_read_by_percentile(resources: Resources):
    for alarm in resources.of_type("aws_cloudwatch_metric_alarm"):
        for _, metric, _, statistic in metrics_of(alarm):
            if metric in {"TargetResponseTime", "RequestLatency", "FirstTokenLatency"}:
                assert re.fullmatch(r"p\d\d(\.\d+)?|PR\(.*\)|TC\(.*\)", statistic or ""), (
                    f"{alarm.address}: {statistic}"
                )


def test_every_topic_has_a_subscriber(planned: Callable[[str], Planned]):
    applied = planned("staging").state
    assert applied is not None
    state = Resources.of(applied)
    assert state.of_type("aws_sns_topic")
    assert unheard_topics(state) == []


def test_alarms_tell_a_topic_and_one_composite_pages(planned: Callable[[str], Planned]):
    applied = planned("staging").state
    assert applied is not None
    state = Resources.of(applied)
    topics = {each["arn"] for each in state.of_type("aws_sns_topic")}
    composites = state.of_type("aws_cloudwatch_composite_alarm")
    alarms = {each["alarm_name"]: each for each in state.of_type("aws_cloudwatch_metric_alarm")}
    inside = {name for each in composites for name in re.findall(r"ALARM\(\"?([^)\"]+)\"?\)", each["alarm_rule"])}
    assert composites
    assert inside <= set(alarms) | {each["alarm_name"] for each in composites}, "a composite over an alarm that is not"
    for composite in composites:
        assert set(composite.get("alarm_actions", [])) & topics, f"{composite.address} tells nobody"
    silent = {name for name, each in alarms.items() if not each.get("alarm_actions", [])}
    assert silent <= inside, "an alarm that is not in the composite acts itself: it tells a topic, or it scales"


def test_a_missing_canary_or_host_is_no_good_news(resources: Resources):
    for alarm in resources.of_type("aws_cloudwatch_metric_alarm"):
        if alarm.get("namespace") == "CloudWatchSynthetics":
            assert alarm["treat_missing_data"] == "breaching", alarm.address


# --- dashboards ---------------------------------------------------------------------------------


def dashboard_metrics(body: dict[str, Any]) -> Iterator[tuple[str, str, list[str]]]:
    """(namespace, metric, dimensions) of each line, CloudWatch's abbreviations written out."""
    for widget in body["widgets"]:
        before: list[str] = []
        for line in widget["properties"].get("metrics", []):
            parts = [part for part in line if isinstance(part, str)]
            if not parts:
                continue  # an expression
            if parts[0] == "...":
                parts = before[: len(before) - len(parts) + 1] + parts[1:]
            parts = [before[at] if part == "." else part for at, part in enumerate(parts)]
            before = parts
            yield parts[0], parts[1], parts[2::2]


def test_dashboards_draw_metrics_that_exist(planned: Callable[[str], Planned]):
    applied = planned("staging").state
    assert applied is not None
    dashboards = Resources.of(applied).of_type("aws_cloudwatch_dashboard")
    mistakes = []
    for dashboard in dashboards:
        for namespace, metric, dimensions in dashboard_metrics(dashboard.document("dashboard_body")):
            found = metric_mistakes(namespace, metric, dimensions, None)
            mistakes += [f"{dashboard.address}: {mistake}" for mistake in found]
    assert mistakes == []
    assert len(dashboards) == 6


# --- every check can fail --------------------------------------------------------------------------


def alarm(**values: Any) -> Resource:
    right = {
        "alarm_name": "caio-dev-p95",
        "namespace": "AWS/ApplicationELB",
        "metric_name": "TargetResponseTime",
        "extended_statistic": "p95",
        "dimensions": {"LoadBalancer": "app/caio/1"},
    }
    return Resource("alarm", "aws_cloudwatch_metric_alarm", right | values)


@pytest.mark.parametrize(
    "wrong",
    [
        {"metric_name": "TargetResponseTimes"},
        {"namespace": "AWS/ALB"},
        {"dimensions": {}},
        {"dimensions": {"LoadBalancerName": "app/caio/1"}},
        {"dimensions": {"LoadBalancer": ""}},
        {"extended_statistic": None, "statistic": "Average"},
        {"extended_statistic": "p99"},
        {
            "alarm_name": "x",
            "metric_name": "HTTPCode_Target_5XX_Count",
            "extended_statistic": None,
            "statistic": "Average",
        },
        {"metric_name": None},
    ],
)
def test_a_mistaken_alarm_is_noticed(wrong):
    assert alarm_mistakes(alarm()) == []
    assert alarm_mistakes(alarm(**wrong)) != []


def test_abbreviated_lines_of_dashboards_are_read():
    metrics = [
        ["AWS/ECS", "CPUUtilization", "ClusterName", "a", "ServiceName", "b", {"stat": "Average"}],
        [".", "MemoryUtilization", ".", ".", ".", "c"],
        ["...", "d", {"label": "x"}],
        [{"expression": "m1/m2"}],
    ]
    assert list(dashboard_metrics({"widgets": [{"properties": {"metrics": metrics}}, {"properties": {}}]})) == [
        ("AWS/ECS", "CPUUtilization", ["ClusterName", "ServiceName"]),
        ("AWS/ECS", "MemoryUtilization", ["ClusterName", "ServiceName"]),
        ("AWS/ECS", "MemoryUtilization", ["ClusterName", "ServiceName"]),
    ]
