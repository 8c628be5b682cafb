"""``/metrics``: what a process has counted, as Prometheus reads it.

The names and labels are those of ``docs/reference/metrics.md``; a test compares them. prometheus_client writes the
text; it is imported by a process that has an operations listener, and by no other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from prometheus_client import generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from caio.observability.histograms import Histogram
from caio.observability.metrics import STATUS_CLASSES, Metrics

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4

#: Of what is watched: its name, whether it only ever grows, and what it says.
WATCHED = {
    "caio_calls_in_flight": (False, "Calls under way in this process, streams too."),
    "caio_calls_shed_total": (True, "Calls that were sent away because the process had too many."),
    "caio_journal_waiting": (False, "Journal entries that wait to be written."),
    "caio_audit_lag_seconds": (False, "Age of the oldest journal entry that is not in its audit log's tree."),
    "caio_breakers_open": (False, "Services that are left alone at present, over all tenants."),
    "caio_services": (False, "Services that are registered and not retired, over all tenants."),
    "caio_limiter_up": (False, "Whether the shared limiter answers: 1 or 0."),
}


def exposition(metrics: Metrics) -> bytes:
    """The text, in the format 0.0.4."""
    return generate_latest(_Counted(metrics))


class _Counted(Collector):
    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Metric]:
        yield from _calls(self._metrics)
        yield from _services(self._metrics)
        yield from _watched(self._metrics)
        yield from _loops(self._metrics)
        version = {"version": self._metrics.version}
        yield _labelled(
            GaugeMetricFamily("caio_build_info", "1, with the version.", labels=["version"]), [(version, 1)]
        )


def _calls(metrics: Metrics) -> Iterator[Metric]:
    yield _labelled(
        CounterMetricFamily("caio_requests_total", "Requests that were answered.", labels=["surface", "status_class"]),
        [
            ({"surface": surface, "status_class": name}, count)
            for surface, counts in metrics.requests.items()
            for name, count in zip(STATUS_CLASSES, counts, strict=True)
            if count
        ],
    )
    yield _histogram(
        "caio_request_seconds",
        "Calls answered whole: from the request to the answer.",
        metrics.request_seconds,
    )
    yield _histogram("caio_routing_seconds", "From what is wanted to the decision.", metrics.routing_seconds)
    yield _histogram(
        "caio_first_token_seconds", "Streams: from admission to the first content.", metrics.first_token_seconds
    )
    decisions = {"admitted": metrics.admitted, "refused": metrics.refused, "exhausted": metrics.exhausted}
    yield _by("caio_decisions_total", "Decisions about calls.", "result", decisions)
    yield _by("caio_admission_refused_total", "Calls that were refused.", "reason", metrics.refusals)
    yield GaugeMetricFamily("caio_streams_open", "Streams under way.", metrics.streams_open)


def _services(metrics: Metrics) -> Iterator[Metric]:
    yield _by("caio_upstream_attempts_total", "Calls of services that ended.", "outcome", metrics.attempts)
    yield CounterMetricFamily("caio_fallbacks_total", "Calls handed on to another service.", metrics.fallbacks)
    tokens = {"input": metrics.input_tokens, "output": metrics.output_tokens}
    yield _by("caio_tokens_total", "Tokens of calls that ended, as charged.", "direction", tokens)


def _watched(metrics: Metrics) -> Iterator[Metric]:
    for name, read in metrics.watched.items():
        grows, text = WATCHED[name]
        yield CounterMetricFamily(name, text, read()) if grows else GaugeMetricFamily(name, text, read())


def _loops(metrics: Metrics) -> Iterator[Metric]:
    if not metrics.loops:
        return
    ages = {each.name: each.age for each in metrics.loops}
    age = GaugeMetricFamily("caio_loop_age_seconds", "Time since the loop last succeeded.", labels=["loop"])
    yield _labelled(age, [({"loop": name}, seconds) for name, seconds in ages.items()])
    failures = {each.name: each.failed for each in metrics.loops}
    yield _by("caio_loop_failures_total", "Steps of the loop that failed.", "loop", failures)


def _by(name: str, text: str, label: str, counts: Mapping[str, int]) -> Metric:
    family = CounterMetricFamily(name, text, labels=[label])
    return _labelled(family, [({label: value}, count) for value, count in counts.items()])


def _labelled(family: Metric, samples: list[tuple[dict[str, str], float]]) -> Metric:
    suffix = "_total" if family.type == "counter" else ""
    for labels, value in samples:
        family.add_sample(family.name + suffix, labels, value)
    return family


def _histogram(name: str, text: str, histogram: Histogram) -> Metric:
    return HistogramMetricFamily(name, text, buckets=histogram.at_most(), sum_value=histogram.total)
