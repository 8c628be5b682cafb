"""AWS WAF before the load balancer: AWS's own rule sets, and a bound on what one address may ask."""

from __future__ import annotations

from aws_cdk import aws_elasticloadbalancingv2 as elb
from aws_cdk import aws_wafv2 as wafv2
from constructs import Construct

from caio_cdk.naming import Naming, describe

#: Requests of one address in five minutes.
MOST_OF_ONE_ADDRESS = 10_000
#: Rule sets by name, with the rules that only count: a prompt is longer than 8 KB, and may well quote code.
_MANAGED = {
    "AWSManagedRulesAmazonIpReputationList": (),
    "AWSManagedRulesKnownBadInputsRuleSet": (),
    "AWSManagedRulesCommonRuleSet": (
        "SizeRestrictions_BODY",
        "CrossSiteScripting_BODY",
        "GenericLFI_BODY",
        "GenericRFI_BODY",
    ),
}


class Firewall(Construct):
    def __init__(self, scope: Construct, id_: str, *, naming: Naming, balancer: elb.IApplicationLoadBalancer) -> None:
        super().__init__(scope, id_)
        rules = [_managed(number, name, counted) for number, (name, counted) in enumerate(_MANAGED.items())]
        acl = wafv2.CfnWebACL(
            self,
            "Acl",
            name=naming.of("waf"),
            scope="REGIONAL",
            default_action=wafv2.CfnWebACL.DefaultActionProperty(allow={}),
            visibility_config=_seen("caio"),
            rules=[*rules, _rate(len(rules))],
        )
        wafv2.CfnWebACLAssociation(
            self, "Association", resource_arn=balancer.load_balancer_arn, web_acl_arn=acl.attr_arn
        )
        describe(self, "firewall", "Turns away floods and what is known to be bad")


def _managed(priority: int, name: str, counted: tuple[str, ...]) -> wafv2.CfnWebACL.RuleProperty:
    count = wafv2.CfnWebACL.RuleActionProperty(count={})
    return wafv2.CfnWebACL.RuleProperty(
        name=name,
        priority=priority,
        override_action=wafv2.CfnWebACL.OverrideActionProperty(none={}),
        visibility_config=_seen(name),
        statement=wafv2.CfnWebACL.StatementProperty(
            managed_rule_group_statement=wafv2.CfnWebACL.ManagedRuleGroupStatementProperty(
                vendor_name="AWS",
                name=name,
                rule_action_overrides=[
                    wafv2.CfnWebACL.RuleActionOverrideProperty(name=each, action_to_use=count) for each in counted
                ],
            )
        ),
    )


def _rate(priority: int) -> wafv2.CfnWebACL.RuleProperty:
    return wafv2.CfnWebACL.RuleProperty(
        name="RateOfOneAddress",
        priority=priority,
        action=wafv2.CfnWebACL.RuleActionProperty(block={}),
        visibility_config=_seen("RateOfOneAddress"),
        statement=wafv2.CfnWebACL.StatementProperty(
            rate_based_statement=wafv2.CfnWebACL.RateBasedStatementProperty(
                limit=MOST_OF_ONE_ADDRESS, aggregate_key_type="IP", evaluation_window_sec=300
            )
        ),
    )


def _seen(name: str) -> wafv2.CfnWebACL.VisibilityConfigProperty:
    return wafv2.CfnWebACL.VisibilityConfigProperty(
        cloud_watch_metrics_enabled=True, metric_name=name, sampled_requests_enabled=True
    )
