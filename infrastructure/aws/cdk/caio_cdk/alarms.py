"""What wakes somebody: each alarm on the statistic that its sentence is about, with the dimensions its metric has.

A percentile is alarmed on the percentile and a rate on a rate, never on an average that hides it. Missing data is no
breach where it means that nothing happened, and is one where it means that nobody is there to report.
"""

from __future__ import annotations

from dataclasses import dataclass

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_ecs as ecs
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from caio_cdk.cache import Cache
from caio_cdk.database import Database
from caio_cdk.entry import Entry
from caio_cdk.naming import Naming

_MINUTES = cdk.Duration.minutes
_QUIET = cloudwatch.TreatMissingData.NOT_BREACHING
_MISSED = cloudwatch.TreatMissingData.BREACHING


@dataclass(frozen=True)
class Alarm:
    """One alarm: `of` periods of the metric, all beyond `above` (or beneath `below`)."""

    what: str
    says: str
    metric: cloudwatch.IMetric
    above: float | None = None
    below: float | None = None
    of: int = 1
    missing: cloudwatch.TreatMissingData = _QUIET

    def make(self, scope: Construct, naming: Naming) -> cloudwatch.Alarm:
        over = cloudwatch.ComparisonOperator.GREATER_THAN_THRESHOLD
        under = cloudwatch.ComparisonOperator.LESS_THAN_THRESHOLD
        return cloudwatch.Alarm(
            scope,
            "".join(part.capitalize() for part in self.what.split("-")),
            alarm_name=naming.of(self.what),
            alarm_description=self.says,
            metric=self.metric,
            threshold=self.above if self.above is not None else self.below or 0,
            comparison_operator=over if self.above is not None else under,
            evaluation_periods=self.of,
            treat_missing_data=self.missing,
        )


def failing_share(entry: Entry) -> cloudwatch.MathExpression:
    """Percent of requests answered 5xx by a task or by the load balancer; 0 while fewer than ten were, in 5 minutes."""
    return cloudwatch.MathExpression(
        expression="IF(failed > 10, 100 * failed / requests, 0)",
        label="Failed requests, percent",
        period=_MINUTES(5),
        using_metrics={
            "failed": cloudwatch.MathExpression(
                expression="FILL(of_tasks, 0) + FILL(of_balancer, 0)",
                period=_MINUTES(5),
                using_metrics={
                    "of_tasks": load_balancer(entry, "HTTPCode_Target_5XX_Count", "Sum", 5),
                    "of_balancer": load_balancer(entry, "HTTPCode_ELB_5XX_Count", "Sum", 5),
                },
            ),
            "requests": load_balancer(entry, "RequestCount", "Sum", 5),
        },
    )


def load_balancer(entry: Entry, name: str, statistic: str, minutes: int) -> cloudwatch.Metric:
    """A metric of the load balancer as a whole."""
    dimensions = {"LoadBalancer": entry.balancer.load_balancer_full_name}
    return _metric("AWS/ApplicationELB", name, statistic, minutes, dimensions)


def targets(entry: Entry, name: str, statistic: str, minutes: int) -> cloudwatch.Metric:
    """A metric of the API's tasks behind the load balancer."""
    dimensions = {
        "LoadBalancer": entry.balancer.load_balancer_full_name,
        "TargetGroup": entry.targets.target_group_full_name,
    }
    return _metric("AWS/ApplicationELB", name, statistic, minutes, dimensions)


def service(of: ecs.BaseService, name: str, statistic: str, minutes: int) -> cloudwatch.Metric:
    dimensions = {"ClusterName": of.cluster.cluster_name, "ServiceName": of.service_name}
    return _metric("AWS/ECS", name, statistic, minutes, dimensions)


def database(of: Database, name: str, statistic: str, minutes: int) -> cloudwatch.Metric:
    return _metric("AWS/RDS", name, statistic, minutes, {"DBInstanceIdentifier": of.instance.ref})


def cache(node: str, name: str, statistic: str, minutes: int) -> cloudwatch.Metric:
    return _metric("AWS/ElastiCache", name, statistic, minutes, {"CacheClusterId": node})


def queue(of: sqs.IQueue, name: str, statistic: str, minutes: int) -> cloudwatch.Metric:
    return _metric("AWS/SQS", name, statistic, minutes, {"QueueName": of.queue_name})


def own(environment: str, name: str, statistic: str, minutes: int) -> cloudwatch.Metric:
    """A metric that CAIO itself writes to its log, in the embedded metric format."""
    return _metric("CAIO", name, statistic, minutes, {"Environment": environment})


def _metric(namespace: str, name: str, statistic: str, minutes: int, dimensions: dict[str, str]) -> cloudwatch.Metric:
    return cloudwatch.Metric(
        namespace=namespace,
        metric_name=name,
        statistic=statistic,
        period=_MINUTES(minutes),
        dimensions_map=dimensions,
    )


def serving_alarms(entry: Entry, api: ecs.BaseService) -> list[Alarm]:
    """What callers would notice. A deployment goes back on the first."""
    return [
        Alarm("errors", "More than 1 % of requests fail", failing_share(entry), above=1, of=2),
        Alarm(
            "unhealthy",
            "A task does not answer ready",
            targets(entry, "UnHealthyHostCount", "Maximum", 1),
            above=0,
            of=3,
        ),
        Alarm(
            "nobody-ready",
            "No task is ready",
            targets(entry, "HealthyHostCount", "Minimum", 1),
            below=1,
            of=3,
            missing=_MISSED,
        ),
        Alarm("latency", "p95 of answers beyond 1 s", targets(entry, "TargetResponseTime", "p95", 5), above=1, of=2),
        Alarm("cpu", "The API's CPU beyond 80 %", service(api, "CPUUtilization", "Average", 5), above=80, of=2),
        Alarm(
            "memory", "The API's memory beyond 85 %", service(api, "MemoryUtilization", "Average", 5), above=85, of=2
        ),
    ]


def database_alarms(of: Database, storage_gb: int, most_connections: int) -> list[Alarm]:
    free = storage_gb * 1024**3 * 0.15
    return [
        Alarm(
            "db-cpu",
            "The database's CPU beyond 80 % for 15 minutes",
            database(of, "CPUUtilization", "Average", 5),
            above=80,
            of=3,
        ),
        Alarm(
            "db-storage",
            "Less than 15 % of the database's storage is free",
            database(of, "FreeStorageSpace", "Minimum", 5),
            below=free,
            of=2,
        ),
        Alarm(
            "db-connections",
            "More than 80 % of the database's connections are taken",
            database(of, "DatabaseConnections", "Maximum", 5),
            above=most_connections * 0.8,
            of=2,
        ),
    ]


def cache_alarms(of: Cache) -> list[Alarm]:
    """An eviction is a limit forgotten: the policy permits none, so a full memory is the sign."""
    alarms = []
    for number, node in enumerate(of.nodes, start=1):
        alarms += [
            Alarm(
                f"cache-{number}-memory",
                f"Cache node {number}: memory beyond 80 %",
                cache(node, "DatabaseMemoryUsagePercentage", "Maximum", 5),
                above=80,
                of=2,
            ),
            Alarm(
                f"cache-{number}-evictions",
                f"Cache node {number} forgot limits",
                cache(node, "Evictions", "Sum", 5),
                above=0,
            ),
        ]
    return alarms


def queue_alarms(queues: dict[str, sqs.Queue], dead: dict[str, sqs.Queue]) -> list[Alarm]:
    depth, age = "ApproximateNumberOfMessagesVisible", "Maximum"
    waiting = [
        Alarm(f"queue-{name}", f"More than 100 messages wait in `{name}`", queue(of, depth, age, 5), above=100, of=2)
        for name, of in queues.items()
    ]
    lost = [
        Alarm(f"dlq-{name}", f"A message of `{name}` was given up", queue(of, depth, age, 1), above=0)
        for name, of in dead.items()
    ]
    return waiting + lost


def budget_alarms(entry: Entry) -> list[Alarm]:
    """The error budget of 99.9 % over 30 days: gone within 2 days (fast), within 5 days (slow)."""

    def burns(minutes: int) -> cloudwatch.MathExpression:
        return cloudwatch.MathExpression(
            # With no task ready it is the load balancer that answers 503.
            expression="100 * (FILL(of_tasks, 0) + FILL(of_balancer, 0)) / requests",
            label="Failed requests, percent",
            period=_MINUTES(minutes),
            using_metrics={
                "of_tasks": load_balancer(entry, "HTTPCode_Target_5XX_Count", "Sum", minutes),
                "of_balancer": load_balancer(entry, "HTTPCode_ELB_5XX_Count", "Sum", minutes),
                "requests": load_balancer(entry, "RequestCount", "Sum", minutes),
            },
        )

    return [
        Alarm(
            "burn-fast", "The month's error budget is burnt in two days (14.4 times too fast)", burns(60), above=1.44
        ),
        Alarm("burn-slow", "The month's error budget is burnt in five days (6 times too fast)", burns(360), above=0.6),
    ]
