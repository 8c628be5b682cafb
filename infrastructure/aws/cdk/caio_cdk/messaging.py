"""Events and what follows from them: a bus, its archive, and queues that give a message up only into another queue."""

from __future__ import annotations

import aws_cdk as cdk
from aws_cdk import aws_events as events
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from caio_cdk.naming import Naming, describe

_SECONDS, _DAYS = cdk.Duration.seconds, cdk.Duration.days
SOURCE = "caio"
#: How long a handler of the queue's messages may take. A message stays invisible six times as long.
HANDLER_SECONDS = {"events": 60, "jobs": 900}
#: Rules by name: what an event's type begins with, and where it goes.
RULES = {"all": ("caio.", "events"), "workflows": ("caio.workflow.", "jobs")}
RECEIVES, KEPT_DAYS = 3, 14


class Messaging(Construct):
    def __init__(self, scope: Construct, id_: str, *, naming: Naming, key: kms.IKey) -> None:
        super().__init__(scope, id_)
        self._naming, self._key = naming, key
        self.bus = events.EventBus(self, "Bus", event_bus_name=naming.of("bus"), kms_key=key)
        self.bus.archive(
            "Archive",
            archive_name=naming.of("archive"),
            description="Every event of CAIO, to replay",
            event_pattern=events.EventPattern(source=[SOURCE]),
            retention=_DAYS(30),
        )
        self.undelivered = self._queue("Undelivered", "undelivered-dlq", 60, None)
        self.queues: dict[str, sqs.Queue] = {}
        self.dead: dict[str, sqs.Queue] = {"undelivered": self.undelivered}
        for name, seconds in HANDLER_SECONDS.items():
            self.dead[name] = self._queue(f"{name.capitalize()}Dead", f"{name}-dlq", seconds, None)
            self.queues[name] = self._queue(name.capitalize(), name, seconds, self.dead[name])
        for name, (prefix, queue) in RULES.items():
            self._rule(name, prefix, self.queues[queue])
        self._take_from_bus()
        describe(self, "events", "Events and the work that follows from them")

    def _queue(self, id_: str, name: str, handler_seconds: int, dead: sqs.Queue | None) -> sqs.Queue:
        return sqs.Queue(
            self,
            id_,
            queue_name=self._naming.of(name),
            visibility_timeout=_SECONDS(6 * handler_seconds),
            retention_period=_DAYS(4 if dead else KEPT_DAYS),
            dead_letter_queue=sqs.DeadLetterQueue(queue=dead, max_receive_count=RECEIVES) if dead else None,
            encryption=sqs.QueueEncryption.KMS,
            encryption_master_key=self._key,
            enforce_ssl=True,
        )

    def _rule(self, name: str, prefix: str, queue: sqs.Queue) -> None:
        events.CfnRule(
            self,
            f"{name.capitalize()}Rule",
            name=self._naming.of(name),
            event_bus_name=self.bus.event_bus_name,
            description=f"Events whose type begins with {prefix}",
            event_pattern={"source": [SOURCE], "detail-type": [{"prefix": prefix}]},
            targets=[
                events.CfnRule.TargetProperty(
                    id="queue",
                    arn=queue.queue_arn,
                    dead_letter_config=events.CfnRule.DeadLetterConfigProperty(arn=self.undelivered.queue_arn),
                    retry_policy=events.CfnRule.RetryPolicyProperty(
                        maximum_event_age_in_seconds=3600, maximum_retry_attempts=10
                    ),
                )
            ],
        )

    def _take_from_bus(self) -> None:
        """EventBridge puts messages in, from rules of this account alone."""
        rules = f"arn:{cdk.Aws.PARTITION}:events:{cdk.Aws.REGION}:{cdk.Aws.ACCOUNT_ID}:rule/{self.bus.event_bus_name}/*"
        for queue in (*self.queues.values(), self.undelivered):
            queue.add_to_resource_policy(
                iam.PolicyStatement(
                    sid="EventsOfThisBus",
                    principals=[iam.ServicePrincipal("events.amazonaws.com")],
                    actions=["sqs:SendMessage"],
                    resources=[queue.queue_arn],
                    conditions={"ArnLike": {"aws:SourceArn": rules}},
                )
            )
