"""The names and the tags that everything gets, in one place.

A full deployment has the fixed names `caio-<environment>-<what>`, the same as Terraform's, because dashboards, scripts
and runbooks rely on them. A trial has none: CloudFormation makes names of the stack's, so that two trials fit in one
account and an update may replace what it must.
"""

from __future__ import annotations

from dataclasses import dataclass

import aws_cdk as cdk
from constructs import IConstruct

PROJECT = "caio"


@dataclass(frozen=True)
class Naming:
    """How the resources of one deployment are called and who owns them."""

    environment: str
    owner: str
    fixed: bool = True

    def of(self, what: str) -> str | None:
        """The name of `what`; None where CloudFormation is to make one."""
        return f"{PROJECT}-{self.environment}-{what}" if self.fixed else None

    def unique(self, what: str) -> str | None:
        """The name of `what` where names are shared with every account of the world: buckets, sign-in domains."""
        return f"{PROJECT}-{self.environment}-{what}-{cdk.Aws.ACCOUNT_ID}" if self.fixed else None

    def logs(self, what: str = "") -> str:
        """The log group of the containers, or of `what` beside them."""
        base = f"{PROJECT}-{self.environment}" if self.fixed else cdk.Aws.STACK_NAME
        return f"/ecs/{base}" if not what else f"/{PROJECT}/{base}/{what}"

    def tag(self, stack: cdk.Stack) -> None:
        """Tag everything in the stack with what a bill or a search is split by."""
        made_by = "cdk" if self.fixed else "cloudformation"
        named = {"Project": PROJECT, "Environment": self.environment, "ManagedBy": made_by, "Owner": self.owner}
        for key, value in named.items():
            cdk.Tags.of(stack).add(key, value)


def describe(construct: IConstruct, component: str, purpose: str) -> None:
    """Tag a part of a stack with what it belongs to and what it is for."""
    cdk.Tags.of(construct).add("Component", component)
    cdk.Tags.of(construct).add("Purpose", purpose)
