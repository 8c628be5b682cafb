"""All stacks of CAIO, wired: the three of a full deployment, in the order they are deployed, and the trial."""

from __future__ import annotations

import aws_cdk as cdk

from caio_cdk.auth import AuthStack
from caio_cdk.deployment import read
from caio_cdk.foundation import NetworkStack
from caio_cdk.infrastructure import InfrastructureStack
from caio_cdk.quickstart import QuickStart

QUICK_START = "CaioQuickStart"
#: Behaviour of the CDK that is off unless asked for; stated here, so that every way to synthesise has the same.
_FLAGS = {
    "@aws-cdk/aws-s3:serverAccessLogsUseBucketPolicy": True,
    "@aws-cdk/core:validateAgainstDefaultRules": True,
}


def application(outdir: str | None = None) -> cdk.App:
    """All stacks, not yet synthesised. Raises ValueError for a context that README.md does not know."""
    app = cdk.App(outdir=outdir, context=_FLAGS)
    deployment = read(app.node)
    foundation = NetworkStack(
        app, "CaioNetworkStack", deployment=deployment, description="CAIO: network, keys and image registry."
    )
    auth = AuthStack(app, "CaioAuthStack", deployment=deployment, description="CAIO: who people are.")
    InfrastructureStack(
        app,
        "CaioInfrastructureStack",
        deployment=deployment,
        foundation=foundation,
        auth=auth,
        description="CAIO: everything that serves.",
    )
    QuickStart(
        app,
        QUICK_START,
        description="CAIO, to try it: one task and one PostgreSQL database, ready in under ten minutes.",
    )
    return app
