"""The network: two zones, public and private subnets, and a record of who spoke to whom.

Addresses are those of every CAIO installation: in 10.0.0.0/16 the public subnets are 10.0.1.0/24 and 10.0.2.0/24, the
private ones 10.0.10.0/24 and 10.0.11.0/24. Zones are taken as CloudFormation finds them, so nothing is looked up.
"""

from __future__ import annotations

import ipaddress
from typing import cast

import aws_cdk as cdk
import jsii
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_logs as logs
from constructs import Construct

from caio_cdk.naming import Naming, describe

#: As many as CloudFormation names without being asked: a third would have to be looked up, with credentials.
ZONES = 2
PUBLIC, PRIVATE = "Public", "Private"
_FIRST = {PUBLIC: 1, PRIVATE: 10}
#: What tasks speak to by private address where there are endpoints, so that it neither costs NAT nor leaves the VPC.
_ENDPOINTS = {
    "EcrApi": ec2.InterfaceVpcEndpointAwsService.ECR,
    "EcrDocker": ec2.InterfaceVpcEndpointAwsService.ECR_DOCKER,
    "Logs": ec2.InterfaceVpcEndpointAwsService.CLOUDWATCH_LOGS,
    "SecretsManager": ec2.InterfaceVpcEndpointAwsService.SECRETS_MANAGER,
    "Sts": ec2.InterfaceVpcEndpointAwsService.STS,
    "Kms": ec2.InterfaceVpcEndpointAwsService.KMS,
}


@jsii.implements(ec2.IIpAddresses)
class _Addresses:
    """The CIDR of the VPC, cut so that a zone more never moves the subnets that are there."""

    def __init__(self, cidr: str) -> None:
        self._cidr = cidr
        self._blocks = [str(block) for block in ipaddress.ip_network(cidr).subnets(new_prefix=24)]

    def allocate_vpc_cidr(self) -> ec2.VpcIpamOptions:
        return ec2.VpcIpamOptions(cidr_block=self._cidr)

    def allocate_subnets_cidr(self, input_: ec2.AllocateCidrRequest) -> ec2.SubnetIpamOptions:
        taken = dict.fromkeys(_FIRST, 0)
        allocated = []
        for subnet in input_.requested_subnets:
            group = subnet.configuration.name
            allocated.append(ec2.AllocatedSubnet(cidr=self._blocks[_FIRST[group] + taken[group]]))
            taken[group] += 1
        return ec2.SubnetIpamOptions(allocated_subnets=allocated)


class Network(Construct):
    """A VPC over two availability zones. Without NAT the private subnets lead nowhere but to each other."""

    def __init__(
        self,
        scope: Construct,
        id_: str,
        *,
        naming: Naming,
        key: kms.IKey,
        cidr: str = "10.0.0.0/16",
        nat_gateways: int = 0,
        log_retention: logs.RetentionDays = logs.RetentionDays.ONE_MONTH,
        removal: cdk.RemovalPolicy = cdk.RemovalPolicy.RETAIN,
    ) -> None:
        super().__init__(scope, id_)
        self._cidr = cidr
        private = ec2.SubnetType.PRIVATE_WITH_EGRESS if nat_gateways else ec2.SubnetType.PRIVATE_ISOLATED
        self.vpc = ec2.Vpc(
            self,
            "Vpc",
            vpc_name=naming.of("vpc"),
            ip_addresses=cast(ec2.IIpAddresses, _Addresses(cidr)),  # by its structure, as jsii takes it
            max_azs=ZONES,
            nat_gateways=nat_gateways,
            restrict_default_security_group=False,  # would be a Lambda function; nothing is ever put into that group
            subnet_configuration=[
                ec2.SubnetConfiguration(
                    name=PUBLIC, subnet_type=ec2.SubnetType.PUBLIC, cidr_mask=24, map_public_ip_on_launch=False
                ),
                ec2.SubnetConfiguration(name=PRIVATE, subnet_type=private, cidr_mask=24),
            ],
        )
        self.public = ec2.SubnetSelection(subnet_group_name=PUBLIC)
        self.private = ec2.SubnetSelection(subnet_group_name=PRIVATE)
        self._record(naming, key, log_retention, removal)
        describe(self, "network", "Keeps data out of reach of the internet")

    def public_cidrs(self) -> str:
        """The networks that the load balancer speaks from, as CAIO_TRUSTED_PROXIES has them."""
        return ",".join(subnet.ipv4_cidr_block for subnet in self.vpc.select_subnets(subnet_group_name=PUBLIC).subnets)

    def add_endpoints(self, *, private: bool) -> None:
        """Free ways to S3 and DynamoDB; where `private`, paid ones too to what every start of a task needs."""
        for name, service in (
            ("S3", ec2.GatewayVpcEndpointAwsService.S3),
            ("DynamoDb", ec2.GatewayVpcEndpointAwsService.DYNAMODB),
        ):
            self.vpc.add_gateway_endpoint(name, service=service, subnets=[self.private])
        if private:
            self._add_interfaces()

    def _add_interfaces(self) -> None:
        group = ec2.SecurityGroup(
            self,
            "EndpointsSecurityGroup",
            vpc=self.vpc,
            description="HTTPS from within the VPC to the endpoints of AWS services",
            allow_all_outbound=False,
        )
        group.add_ingress_rule(ec2.Peer.ipv4(self._cidr), ec2.Port.tcp(443), "HTTPS from the VPC")
        for name, service in _ENDPOINTS.items():
            self.vpc.add_interface_endpoint(
                name, service=service, subnets=self.private, security_groups=[group], open=False
            )

    def _record(self, naming: Naming, key: kms.IKey, retention: logs.RetentionDays, removal: cdk.RemovalPolicy) -> None:
        group = logs.LogGroup(
            self,
            "FlowLogs",
            log_group_name=naming.logs("flow-logs"),
            retention=retention,
            encryption_key=key,
            removal_policy=removal,
        )
        role = iam.Role(self, "FlowLogsRole", assumed_by=iam.ServicePrincipal("vpc-flow-logs.amazonaws.com"))
        self.vpc.add_flow_log(
            "Flows",
            destination=ec2.FlowLogDestination.to_cloud_watch_logs(group, role),
            traffic_type=ec2.FlowLogTrafficType.ALL,
        )
