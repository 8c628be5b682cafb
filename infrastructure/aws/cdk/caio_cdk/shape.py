"""The CloudFormation resource beneath one of CDK's constructs, for the properties that the construct does not offer."""

from __future__ import annotations

from typing import TypeVar

import aws_cdk as cdk
from constructs import IConstruct

Resource = TypeVar("Resource", bound=cdk.CfnResource)


def beneath(construct: IConstruct, kind: type[Resource]) -> Resource:
    """The construct's own resource. Raises TypeError where CDK makes another kind than expected."""
    found = construct.node.default_child
    if not isinstance(found, kind):
        raise TypeError(f"{construct.node.path} is made of {type(found).__name__}, not of {kind.__name__}.")
    return found
