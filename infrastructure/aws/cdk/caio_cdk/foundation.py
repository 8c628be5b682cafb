"""CaioNetworkStack: what is there before the first image: the network, the keys, and the registry it is pushed to."""

from __future__ import annotations

from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_ecr as ecr
from constructs import Construct

from caio_cdk.deployment import Deployment
from caio_cdk.keys import Keys
from caio_cdk.naming import describe
from caio_cdk.network import Network

KEPT_IMAGES = 10


class NetworkStack(cdk.Stack):
    def __init__(self, scope: Construct, id_: str, *, deployment: Deployment, **options: Any) -> None:
        super().__init__(scope, id_, **options)
        naming, profile = deployment.naming, deployment.profile
        naming.tag(self)
        self.keys = Keys(self, "Keys", naming=naming, removal=cdk.RemovalPolicy.RETAIN)
        self.network = Network(
            self,
            "Network",
            naming=naming,
            key=self.keys.data,
            cidr=deployment.vpc_cidr,
            nat_gateways=deployment.nat_gateways,
            log_retention=profile.retention,
        )
        self.network.add_endpoints(private=profile.lasting)
        self.registry = ecr.Repository(
            self,
            "Registry",
            repository_name=f"caio-{naming.environment}",
            image_scan_on_push=True,
            image_tag_mutability=ecr.TagMutability.IMMUTABLE,
            encryption=ecr.RepositoryEncryption.KMS,
            encryption_key=self.keys.data,
            lifecycle_rules=[ecr.LifecycleRule(description="Keep the last ten", max_image_count=KEPT_IMAGES)],
            removal_policy=cdk.RemovalPolicy.RETAIN,
        )
        describe(self.registry, "registry", "Images of CAIO under tags that never move")
        cdk.CfnOutput(
            self, "EcrRepositoryUrl", description="Where images are pushed to", value=self.registry.repository_uri
        )
