"""The metrics that AWS publishes, as its documentation names them: for alarms and dashboards to be compared with.

For each namespace: the sets of dimensions under which a metric is published, and the metrics. A metric asked for by
another name, or under other dimensions, has no data for ever, and its alarm never rings. Sources: the CloudWatch pages
of each service's guide (Application Load Balancer, ECS and Container Insights, RDS and Aurora, ElastiCache, SQS,
DynamoDB, Lambda, EventBridge, Synthetics, WAF, NAT gateway, Backup, Billing); for CAIO its own table of signals.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Namespace:
    """What a service publishes."""

    dimensions: tuple[frozenset[str], ...]
    metrics: frozenset[str]


def _namespace(dimensions: Iterable[str], metrics: str) -> Namespace:
    return Namespace(tuple(frozenset(each.split()) for each in dimensions), frozenset(metrics.split()))


NAMESPACES: Mapping[str, Namespace] = {
    "AWS/ApplicationELB": _namespace(
        ["LoadBalancer", "LoadBalancer TargetGroup", "LoadBalancer AvailabilityZone", "TargetGroup"],
        "ActiveConnectionCount ClientTLSNegotiationErrorCount ConsumedLCUs HTTPCode_ELB_4XX_Count "
        "HTTPCode_ELB_5XX_Count HTTPCode_Target_2XX_Count HTTPCode_Target_3XX_Count HTTPCode_Target_4XX_Count "
        "HTTPCode_Target_5XX_Count HealthyHostCount NewConnectionCount ProcessedBytes RejectedConnectionCount "
        "RequestCount RequestCountPerTarget TargetConnectionErrorCount TargetResponseTime UnHealthyHostCount",
    ),
    "AWS/ECS": _namespace(["ClusterName", "ClusterName ServiceName"], "CPUUtilization MemoryUtilization"),
    "ECS/ContainerInsights": _namespace(
        ["ClusterName", "ClusterName ServiceName"],
        "CpuReserved CpuUtilized DeploymentCount DesiredTaskCount EphemeralStorageUtilized MemoryReserved "
        "MemoryUtilized NetworkRxBytes NetworkTxBytes PendingTaskCount RunningTaskCount ServiceCount TaskCount "
        "TaskSetCount",
    ),
    "AWS/RDS": _namespace(
        ["DBInstanceIdentifier", "DBClusterIdentifier", "DBClusterIdentifier Role", "ProxyName"],
        "AuroraReplicaLag BurstBalance CPUCreditBalance CPUUtilization Deadlocks DBLoad DatabaseConnections "
        "DiskQueueDepth CommitLatency FreeLocalStorage FreeStorageSpace FreeableMemory MaximumUsedTransactionIDs "
        "OldestReplicationSlotLag ReadIOPS ReadLatency ReadThroughput ReplicaLag ServerlessDatabaseCapacity "
        "SwapUsage VolumeBytesUsed WriteIOPS WriteLatency WriteThroughput ClientConnections "
        "DatabaseConnectionsCurrentlyBorrowed",
    ),
    "AWS/ElastiCache": _namespace(
        ["CacheClusterId", "CacheClusterId CacheNodeId"],
        "CPUCreditBalance CPUUtilization CacheHitRate CacheHits CacheMisses CurrConnections CurrItems "
        "DatabaseMemoryUsagePercentage EngineCPUUtilization Evictions FreeableMemory NetworkBytesIn "
        "NetworkBytesOut NewConnections ReplicationLag SwapUsage",
    ),
    "AWS/SQS": _namespace(
        ["QueueName"],
        "ApproximateAgeOfOldestMessage ApproximateNumberOfMessagesDelayed ApproximateNumberOfMessagesNotVisible "
        "ApproximateNumberOfMessagesVisible NumberOfEmptyReceives NumberOfMessagesDeleted NumberOfMessagesReceived "
        "NumberOfMessagesSent",
    ),
    "AWS/DynamoDB": _namespace(
        ["TableName", "TableName Operation", ""],
        "ConditionalCheckFailedRequests ConsumedReadCapacityUnits ConsumedWriteCapacityUnits ReadThrottleEvents "
        "SuccessfulRequestLatency SystemErrors ThrottledRequests TimeToLiveDeletedItemCount UserErrors "
        "WriteThrottleEvents",
    ),
    "AWS/Lambda": _namespace(
        ["FunctionName", "FunctionName Resource", ""],
        "ConcurrentExecutions DeadLetterErrors Duration Errors Invocations IteratorAge Throttles",
    ),
    "AWS/Events": _namespace(
        ["RuleName", "EventBusName RuleName", "EventBusName", ""],
        "DeadLetterInvocations FailedInvocations Invocations InvocationsFailedToBeSentToDlq InvocationsSentToDlq "
        "MatchedEvents ThrottledRules TriggeredRules",
    ),
    "CloudWatchSynthetics": _namespace(
        ["CanaryName", "CanaryName StepName"], "2xx 4xx 5xx Duration Failed SuccessPercent"
    ),
    "AWS/WAFV2": _namespace(
        ["WebACL Rule Region", "WebACL Rule"], "AllowedRequests BlockedRequests CountedRequests PassedRequests"
    ),
    "AWS/NATGateway": _namespace(
        ["NatGatewayId"],
        "ActiveConnectionCount BytesInFromDestination BytesOutToDestination ErrorPortAllocation PacketsDropCount",
    ),
    "AWS/Backup": _namespace(
        ["BackupVaultName", "ResourceType", "BackupVaultName ResourceType", ""],
        "NumberOfBackupJobsCompleted NumberOfBackupJobsExpired NumberOfBackupJobsFailed NumberOfCopyJobsFailed "
        "NumberOfRestoreJobsCompleted NumberOfRestoreJobsFailed",
    ),
    "AWS/Billing": _namespace(["Currency", "Currency ServiceName"], "EstimatedCharges"),
    "AWS/SNS": _namespace(
        ["TopicName"], "NumberOfMessagesPublished NumberOfNotificationsDelivered NumberOfNotificationsFailed"
    ),
    "CAIO": _namespace(
        ["Environment", "Environment TenantID"],
        "AuditLag FirstTokenLatency JournalWaiting OrchestrationErrors OrchestrationRequests RefusedRequests "
        "RequestLatency RoutingLatency ServiceCount TokensUsed",
    ),
}

# Published for the account or for a table's operation only.
DIMENSIONS_OF: Mapping[tuple[str, str], tuple[frozenset[str], ...]] = {
    ("AWS/DynamoDB", "UserErrors"): (frozenset(),),
    ("AWS/DynamoDB", "SystemErrors"): (frozenset({"TableName", "Operation"}),),
    ("AWS/DynamoDB", "ThrottledRequests"): (frozenset({"TableName", "Operation"}),),
    ("AWS/DynamoDB", "SuccessfulRequestLatency"): (frozenset({"TableName", "Operation"}),),
    ("AWS/ApplicationELB", "HealthyHostCount"): (frozenset({"LoadBalancer", "TargetGroup"}),),
    ("AWS/ApplicationELB", "UnHealthyHostCount"): (frozenset({"LoadBalancer", "TargetGroup"}),),
    ("AWS/ApplicationELB", "RequestCountPerTarget"): (
        frozenset({"TargetGroup"}),
        frozenset({"LoadBalancer", "TargetGroup"}),
    ),
    ("AWS/ApplicationELB", "HTTPCode_ELB_5XX_Count"): (
        frozenset({"LoadBalancer"}),
        frozenset({"LoadBalancer", "AvailabilityZone"}),
    ),
    ("AWS/ApplicationELB", "HTTPCode_ELB_4XX_Count"): (
        frozenset({"LoadBalancer"}),
        frozenset({"LoadBalancer", "AvailabilityZone"}),
    ),
}

COUNTS = frozenset({"Sum", "SampleCount"})
LEVELS = frozenset({"Average", "Maximum", "Minimum"})
# What a metric is read by: a count is summed, a level is not; a time also by percentiles (pNN).
STATISTICS: Mapping[tuple[str, str], frozenset[str]] = {
    ("AWS/ApplicationELB", "HTTPCode_Target_5XX_Count"): COUNTS,
    ("AWS/ApplicationELB", "HTTPCode_ELB_5XX_Count"): COUNTS,
    ("AWS/ApplicationELB", "RequestCount"): COUNTS,
    ("AWS/ApplicationELB", "UnHealthyHostCount"): LEVELS,
    ("AWS/ApplicationELB", "HealthyHostCount"): LEVELS,
    ("AWS/ECS", "CPUUtilization"): LEVELS,
    ("AWS/ECS", "MemoryUtilization"): LEVELS,
    ("AWS/RDS", "CPUUtilization"): LEVELS,
    ("AWS/RDS", "DatabaseConnections"): LEVELS,
    ("AWS/RDS", "FreeStorageSpace"): LEVELS,
    ("AWS/ElastiCache", "Evictions"): COUNTS | LEVELS,
    ("AWS/SQS", "ApproximateNumberOfMessagesVisible"): LEVELS,
    ("CloudWatchSynthetics", "SuccessPercent"): LEVELS,
    ("CloudWatchSynthetics", "Failed"): COUNTS,
    ("CAIO", "OrchestrationErrors"): COUNTS,
    ("CAIO", "OrchestrationRequests"): COUNTS,
    ("CAIO", "RefusedRequests"): COUNTS,
    ("CAIO", "TokensUsed"): COUNTS,
}


def metric_mistakes(
    namespace: str, metric: str, dimensions: Iterable[str], statistic: str | None, *, complete: bool = True
) -> list[str]:
    """Why there would never be data, or data that say something else; none when all is well.

    With ``complete=False`` further dimensions may follow: a plan leaves out those whose values are not known yet.
    """
    known, given = NAMESPACES.get(namespace), frozenset(dimensions)
    if known is None:
        return [f"nobody publishes the namespace {namespace}"]
    if metric not in known.metrics:
        return [f"{namespace} has no metric {metric}"]
    published = DIMENSIONS_OF.get((namespace, metric), known.dimensions)
    if given not in published and (complete or not any(given < each for each in published)):
        return [f"{namespace} {metric} is not published by {sorted(given) or 'no dimension'}"]
    allowed = STATISTICS.get((namespace, metric))
    if statistic is not None and allowed is not None and statistic not in allowed:
        return [f"{namespace} {metric} read as {statistic} says something else: {', '.join(sorted(allowed))}"]
    return []
