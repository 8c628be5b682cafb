"""Who is told and what is seen: a topic with somebody at its end, the alarms, one page for all of them, a dashboard."""

from __future__ import annotations

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_sns as sns
from constructs import Construct

from caio_cdk.alarms import Alarm
from caio_cdk.naming import Naming, describe

_PUBLISHERS = ("cloudwatch.amazonaws.com", "budgets.amazonaws.com", "events.amazonaws.com")


class Alerts(Construct):
    """A topic that somebody reads. A subscription counts once it was confirmed from the mail."""

    def __init__(self, scope: Construct, id_: str, *, naming: Naming, key: kms.IKey, email: str) -> None:
        super().__init__(scope, id_)
        self._naming = naming
        self.topic = sns.Topic(self, "Topic", topic_name=naming.of("alerts"), master_key=key, enforce_ssl=True)
        sns.Subscription(self, "ByMail", topic=self.topic, protocol=sns.SubscriptionProtocol.EMAIL, endpoint=email)
        self.topic.add_to_resource_policy(
            iam.PolicyStatement(
                sid="PublishersOfThisAccount",
                principals=[iam.ServicePrincipal(name) for name in _PUBLISHERS],
                actions=["sns:Publish"],
                resources=[self.topic.topic_arn],
                conditions={"StringEquals": {"aws:SourceAccount": cdk.Aws.ACCOUNT_ID}},
            )
        )
        describe(self, "monitoring", "Tells people what is wrong")

    def watch(self, alarms: list[Alarm]) -> list[cloudwatch.Alarm]:
        """Alarms that tell by themselves, and tell again when it is over."""
        made = [alarm.make(self, self._naming) for alarm in alarms]
        for alarm in made:
            alarm.add_alarm_action(actions.SnsAction(self.topic))
            alarm.add_ok_action(actions.SnsAction(self.topic))
        return made

    def page_once(self, critical: list[Alarm]) -> list[cloudwatch.Alarm]:
        """Alarms that say nothing themselves: whichever of them goes off, somebody is called once."""
        made = [alarm.make(self, self._naming) for alarm in critical]
        page = cloudwatch.CompositeAlarm(
            self,
            "Page",
            composite_alarm_name=self._naming.of("page"),
            alarm_description="CAIO fails requests or is about to: see the alarms beneath",
            alarm_rule=cloudwatch.AlarmRule.any_of(
                *(cloudwatch.AlarmRule.from_alarm(alarm, cloudwatch.AlarmState.ALARM) for alarm in made)
            ),
        )
        page.add_alarm_action(actions.SnsAction(self.topic))
        page.add_ok_action(actions.SnsAction(self.topic))
        return made


def dashboard(
    scope: Construct, naming: Naming, name: str, widgets: dict[str, list[cloudwatch.IMetric]]
) -> cloudwatch.Dashboard:
    """One page of graphs by title."""
    made = cloudwatch.Dashboard(scope, f"{name.capitalize()}Dashboard", dashboard_name=naming.of(name))
    graphs = [
        cloudwatch.GraphWidget(title=title, left=metrics, width=8, height=6) for title, metrics in widgets.items()
    ]
    for start in range(0, len(graphs), 3):
        made.add_widgets(*graphs[start : start + 3])
    return made
