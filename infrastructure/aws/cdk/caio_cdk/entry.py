"""Where requests come in: the load balancer, its security group, and the tasks that it asks whether they are ready."""

from __future__ import annotations

import aws_cdk as cdk
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_elasticloadbalancingv2 as elb
from aws_cdk import aws_s3 as s3
from constructs import Construct

from caio_cdk import contract
from caio_cdk.naming import Naming, describe
from caio_cdk.network import Network
from caio_cdk.shape import beneath

#: TLS 1.2 and 1.3 with forward secrecy, and nothing older.
TLS_POLICY = "ELBSecurityPolicy-TLS13-1-2-2021-06"
#: A stream may pause as long as CAIO lets a service pause, and some more.
IDLE_SECONDS = 300


class Entry(Construct):
    """A load balancer without listeners: a full deployment and a trial differ in these."""

    def __init__(self, scope: Construct, id_: str, *, naming: Naming, network: Network, protected: bool) -> None:
        super().__init__(scope, id_)
        self.security_group = ec2.SecurityGroup(
            self,
            "SecurityGroup",
            vpc=network.vpc,
            security_group_name=naming.of("alb"),
            description="Requests to CAIO, and on to its tasks",
            allow_all_outbound=False,
        )
        self.balancer = elb.ApplicationLoadBalancer(
            self,
            "LoadBalancer",
            load_balancer_name=naming.of("alb"),
            vpc=network.vpc,
            vpc_subnets=network.public,
            internet_facing=True,
            security_group=self.security_group,
            deletion_protection=protected,
            drop_invalid_header_fields=True,
            desync_mitigation_mode=elb.DesyncMitigationMode.STRICTEST,
            idle_timeout=cdk.Duration.seconds(IDLE_SECONDS),
        )
        self.targets = elb.ApplicationTargetGroup(
            self,
            "Targets",
            target_group_name=naming.of("tg"),
            vpc=network.vpc,
            port=contract.API_PORT,
            protocol=elb.ApplicationProtocol.HTTP,
            target_type=elb.TargetType.IP,
            # As long as ECS waits for the process: a stream that began is let finish.
            deregistration_delay=cdk.Duration.seconds(contract.STOP_SECONDS),
            health_check=elb.HealthCheck(
                path="/health/ready",
                healthy_http_codes="200",
                interval=cdk.Duration.seconds(30),
                timeout=cdk.Duration.seconds(10),
                healthy_threshold_count=2,
                unhealthy_threshold_count=3,
            ),
        )
        describe(self, "entry", "Takes requests from the internet")

    def keep_log(self, bucket: s3.Bucket) -> None:
        """Who asked for what, in files. Not by CDK's own call, which needs to know the region.

        Raises ValueError for a bucket that nobody is let write to."""
        self.balancer.set_attribute("access_logs.s3.enabled", "true")
        self.balancer.set_attribute("access_logs.s3.bucket", bucket.bucket_name)
        self.balancer.set_attribute("access_logs.s3.prefix", "alb")
        if bucket.policy is None:
            raise ValueError(f"{bucket.node.path} has no policy: let the load balancer write to it first.")
        self.balancer.node.add_dependency(bucket.policy)

    def listen(self, certificate_arn: str) -> None:
        """HTTPS for everybody; HTTP only to lead there."""
        for port, what in ((80, "HTTP, to be led to HTTPS"), (443, "HTTPS")):
            self.security_group.add_ingress_rule(ec2.Peer.any_ipv4(), ec2.Port.tcp(port), what)
        self.balancer.add_redirect(open=False)
        certificate = elb.ListenerCertificate.from_arn(certificate_arn)
        self.listener = elb.ApplicationListener(
            self,
            "Https",
            load_balancer=self.balancer,
            port=443,
            protocol=elb.ApplicationProtocol.HTTPS,
            open=False,
            certificates=[certificate],
            default_target_groups=[self.targets],
        )
        beneath(self.listener, elb.CfnListener).ssl_policy = TLS_POLICY

    def admit_to(self, tasks: ec2.ISecurityGroup) -> None:
        """Only the load balancer reaches the tasks, and it reaches nothing else."""
        tasks.connections.allow_from(
            self.security_group, ec2.Port.tcp(contract.API_PORT), "The API, from the load balancer"
        )
