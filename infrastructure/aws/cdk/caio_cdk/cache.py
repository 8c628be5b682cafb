"""The cache that keeps limits: TLS, a token, and nothing evicted. What it forgets is read again from the database."""

from __future__ import annotations

from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_elasticache as elasticache
from aws_cdk import aws_kms as kms
from aws_cdk import aws_secretsmanager as secretsmanager
from constructs import Construct

from caio_cdk.naming import Naming, describe
from caio_cdk.network import PRIVATE, Network

PORT = 6379
_ENGINE, _VERSION, _FAMILY = "valkey", "8.0", "valkey8"


class Cache(Construct):
    """A replication group of `nodes` nodes, spread over the zones; with one node there is nothing to fail over to."""

    def __init__(
        self,
        scope: Construct,
        id_: str,
        *,
        naming: Naming,
        network: Network,
        key: kms.IKey,
        token: secretsmanager.ISecret,
        node_type: str,
        nodes: int,
    ) -> None:
        super().__init__(scope, id_)
        self.security_group = ec2.SecurityGroup(
            self,
            "SecurityGroup",
            vpc=network.vpc,
            security_group_name=naming.of("cache"),
            description="The cache, from the application alone",
            allow_all_outbound=False,
        )
        subnets = elasticache.CfnSubnetGroup(
            self,
            "Subnets",
            description="Private subnets of CAIO",
            subnet_ids=network.vpc.select_subnets(subnet_group_name=PRIVATE).subnet_ids,
        )
        parameters = elasticache.CfnParameterGroup(
            self,
            "Parameters",
            cache_parameter_group_family=_FAMILY,
            description="A limit is never evicted: a full cache refuses, and CAIO says so",
            properties={"maxmemory-policy": "noeviction"},
        )
        name = naming.of("cache")
        self.group = elasticache.CfnReplicationGroup(
            self,
            "Group",
            replication_group_id=name,
            replication_group_description="CAIO's limits and heartbeats",
            engine=_ENGINE,
            engine_version=_VERSION,
            cache_node_type=node_type,
            num_cache_clusters=nodes,
            automatic_failover_enabled=nodes > 1,
            multi_az_enabled=nodes > 1,
            port=PORT,
            transit_encryption_enabled=True,
            transit_encryption_mode="required",
            at_rest_encryption_enabled=True,
            kms_key_id=key.key_arn,
            auth_token=token.secret_value_from_json("token").unsafe_unwrap(),  # a reference, resolved by CloudFormation
            cache_subnet_group_name=subnets.ref,
            cache_parameter_group_name=parameters.ref,
            security_group_ids=[self.security_group.security_group_id],
            auto_minor_version_upgrade=True,
            preferred_maintenance_window="sun:05:00-sun:06:00",
        )
        #: As CloudWatch names them: the group's name and three digits.
        self.nodes = [f"{name}-{number:03}" for number in range(1, nodes + 1)]
        self.url = f"rediss://{self.group.attr_primary_end_point_address}:{PORT}/0"
        describe(self, "cache", "Keeps limits that several processes share")
