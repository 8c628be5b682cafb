"""The trial: one task and one database, from one template, in an account that needs no preparation.

What it leaves out, and why: no NAT (the task has a public address, and a security group that lets nobody but the load
balancer in), no Redis, no queues, no identity provider (one process needs none of them), no Object Lock (a bucket that
nobody may delete would outlive the trial), nothing that stays behind when the stack is deleted, the keys' 30 days of
waiting apart. One process holds the database, so an update stops it before the next one starts.

Who may connect is named by a person, never assumed. Without a certificate the API speaks HTTP, to one network of
65,536 addresses at most and never to the whole internet: CloudFormation refuses it before it makes anything.

The database is brought up to date by a container that must succeed before the API starts, in the same task: the
master's password is given to that container alone.
"""

from __future__ import annotations

from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_ecs as ecs
from aws_cdk import aws_elasticloadbalancingv2 as elb
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from aws_cdk import aws_sns as sns
from constructs import Construct

from caio_cdk import contract, permissions
from caio_cdk.alarms import database_alarms, serving_alarms
from caio_cdk.containers import Given, add_container, add_volumes
from caio_cdk.database import Database
from caio_cdk.entry import TLS_POLICY, Entry
from caio_cdk.keys import Keys
from caio_cdk.naming import Naming
from caio_cdk.network import Network
from caio_cdk.quickstart_parameters import Parameters
from caio_cdk.secrets import Secrets
from caio_cdk.shape import beneath

ENVIRONMENT = "trial"
STORAGE_GB = 20
SETUP_TIME = "8-10 minutes"
#: ECS Exec is root without capabilities, whom the server's own directory is closed to: it gets one beside it.
FIRST_KEY = "env CAIO_DATA_DIR=/tmp/operator caio keys create first --embedded"
_GONE = cdk.RemovalPolicy.DESTROY


class QuickStart(cdk.Stack):
    def __init__(self, scope: Construct, id_: str, **options: Any) -> None:
        # Nothing is uploaded and nothing assumed: the account needs no bootstrapping.
        synthesizer = cdk.DefaultStackSynthesizer(generate_bootstrap_version_rule=False)
        super().__init__(scope, id_, synthesizer=synthesizer, **options)
        self.asked = Parameters(self)
        naming = Naming(ENVIRONMENT, self.asked.email.value_as_string, fixed=False)
        naming.tag(self)
        self._naming = naming
        self._keys = Keys(self, "Keys", naming=naming, removal=_GONE)
        self._network = Network(
            self,
            "Network",
            naming=naming,
            key=self._keys.data,
            log_retention=logs.RetentionDays.ONE_WEEK,
            removal=_GONE,
        )
        self._secrets = Secrets(self, "Secrets", naming=naming, key=self._keys.data, removal=_GONE)
        self._database = Database(
            self,
            "Database",
            naming=naming,
            network=self._network,
            key=self._keys.data,
            instance_class=self.asked.database_class.value_as_string,
            storage_gb=STORAGE_GB,
            multi_az=False,
            backup_days=1,
            lasting=False,
        )
        self._entry = Entry(self, "Entry", naming=naming, network=self._network, protected=False)
        self._logs = logs.LogGroup(
            self,
            "Logs",
            log_group_name=naming.logs(),
            retention=logs.RetentionDays.ONE_MONTH,
            encryption_key=self._keys.data,
            removal_policy=_GONE,
        )
        self._listen()
        self._serve()
        self._watch()
        self._tell()

    def _listen(self) -> None:
        """HTTPS where there is a certificate, and then HTTP only to lead there; else HTTP, from the named network."""
        allowed, secure = self.asked.allowed_cidr.value_as_string, self.asked.with_certificate
        group = self._entry.security_group
        group.add_ingress_rule(ec2.Peer.ipv4(allowed), ec2.Port.tcp(80), "HTTP, from the named network")
        group.add_ingress_rule(ec2.Peer.ipv4(allowed), ec2.Port.tcp(443), "HTTPS, from the named network")
        # As CloudFormation spells them: within a condition CDK translates no names.
        forward = {"Type": "forward", "TargetGroupArn": self._entry.targets.target_group_arn}
        to_https = {"Protocol": "HTTPS", "Port": "443", "StatusCode": "HTTP_301"}
        redirect = {"Type": "redirect", "RedirectConfig": to_https}
        plain = elb.CfnListener(
            self,
            "HttpListener",
            load_balancer_arn=self._entry.balancer.load_balancer_arn,
            port=80,
            protocol="HTTP",
            default_actions=[cdk.Fn.condition_if(secure.logical_id, redirect, forward)],
        )
        encrypted = elb.CfnListener(
            self,
            "HttpsListener",
            load_balancer_arn=self._entry.balancer.load_balancer_arn,
            port=443,
            protocol="HTTPS",
            ssl_policy=TLS_POLICY,
            certificates=[elb.CfnListener.CertificateProperty(certificate_arn=self.asked.certificate.value_as_string)],
            default_actions=[
                elb.CfnListener.ActionProperty(type="forward", target_group_arn=self._entry.targets.target_group_arn)
            ],
        )
        encrypted.cfn_options.condition = secure
        # ECS refuses a service whose target group has no listener yet. A dependency cannot be on what may not exist, so
        # it is on this, which makes nothing and refers to the one that forwards.
        self._listening = cdk.CfnWaitConditionHandle(self, "Listening")
        self._listening.add_metadata("Listener", cdk.Fn.condition_if(secure.logical_id, encrypted.ref, plain.ref))

    def _serve(self) -> None:
        cluster = ecs.Cluster(
            self, "Cluster", vpc=self._network.vpc, container_insights_v2=ecs.ContainerInsights.ENABLED
        )
        self._cluster = cluster
        task = self._task()
        group = ec2.SecurityGroup(
            self,
            "TaskSecurityGroup",
            vpc=self._network.vpc,
            description="The task: in from the load balancer, out to the database and by HTTPS to AI services",
            allow_all_outbound=False,
        )
        group.add_egress_rule(ec2.Peer.any_ipv4(), ec2.Port.tcp(443), "AI services, AWS, the image's registry")
        group.connections.allow_to(self._database.security_group, ec2.Port.tcp(5432), "PostgreSQL, from the task")
        self._entry.admit_to(group)
        self._service = ecs.FargateService(
            self,
            "Service",
            cluster=cluster,
            task_definition=task,
            desired_count=1,
            assign_public_ip=True,
            vpc_subnets=self._network.public,
            security_groups=[group],
            # One process holds the database: the old one is gone before the new one starts.
            min_healthy_percent=0,
            max_healthy_percent=100,
            circuit_breaker=ecs.DeploymentCircuitBreaker(enable=True, rollback=True),
            # The migration of an empty database, then two answers of readiness.
            health_check_grace_period=cdk.Duration.seconds(240),
            enable_execute_command=True,
            propagate_tags=ecs.PropagatedTagSource.SERVICE,
        )
        self._service.attach_to_application_target_group(self._entry.targets)
        # Before a task can start it must be let: its first failures would count against the whole deployment.
        let = task.obtain_execution_role().node.find_child("DefaultPolicy")
        rules = [
            each
            for each in group.node.children
            if isinstance(each, ec2.CfnSecurityGroupIngress | ec2.CfnSecurityGroupEgress)
        ]
        self._service.node.add_dependency(self._listening, self._database, let, *rules)

    def _task(self) -> ecs.FargateTaskDefinition:
        task = ecs.FargateTaskDefinition(
            self,
            "Task",
            cpu=256,
            memory_limit_mib=512,
            runtime_platform=ecs.RuntimePlatform(
                cpu_architecture=ecs.CpuArchitecture.ARM64, operating_system_family=ecs.OperatingSystemFamily.LINUX
            ),
        )
        shape = beneath(task, ecs.CfnTaskDefinition)
        shape.cpu, shape.memory = self.asked.cpu, self.asked.memory
        add_volumes(task, with_exec=True)
        everyone = Given(
            image=self.asked.image.value_as_string,
            log_group=self._logs,
            environment={"CAIO_ENV": "production"} | self._database.environment(),
            secrets=self._secrets.login(),
            trial=True,
        )
        migration = add_container(task, "migration", everyone.beside({}, self._database.admin()), essential=False)
        api = add_container(task, "api", everyone.beside(self._environment(), self._secrets.serving()), with_exec=True)
        api.add_container_dependencies(
            ecs.ContainerDependency(container=migration, condition=ecs.ContainerDependencyCondition.SUCCESS)
        )
        permissions.may_wrap_keys(task.task_role, self._keys.tenants)
        permissions.may_pull_images(task.obtain_execution_role())
        self._let_marketplace_meter(task)
        return task

    def _environment(self) -> dict[str, str]:
        here = f"{cdk.Aws.STACK_NAME}.{cdk.Aws.REGION}.{cdk.Aws.ACCOUNT_ID}"
        return {
            "CAIO_API_HOST": "0.0.0.0",  # noqa: S104 - within the task's own network, behind its security group
            "CAIO_API_PORT": str(contract.API_PORT),
            "CAIO_OPS_PORT": str(contract.OPERATIONS_PORT),
            "CAIO_PROCESSES": "1",
            "CAIO_KMS_KEY_ID": self._keys.tenants.key_arn,
            "CAIO_AUDIT_ORIGIN": here,
            "CAIO_ANCHOR": "none",
            "CAIO_TRUSTED_PROXIES": self._network.public_cidrs(),
            "CAIO_DRAIN_SECONDS": "35",
            "CAIO_GRACE_SECONDS": "70",
            "CAIO_METRICS_EMF": "true",
            "AWS_REGION": cdk.Aws.REGION,
        }

    def _let_marketplace_meter(self, task: ecs.FargateTaskDefinition) -> None:
        """Whoever comes from AWS Marketplace is charged by it: the task may register and meter its use there."""
        policy = iam.Policy(self, "MarketplaceMetering", roles=[task.task_role])
        policy.add_statements(
            iam.PolicyStatement(
                actions=["aws-marketplace:RegisterUsage", "aws-marketplace:MeterUsage"],
                resources=["*"],  # neither action knows resources
            )
        )
        beneath(policy, iam.CfnPolicy).cfn_options.condition = self.asked.from_marketplace

    def _watch(self) -> None:
        topic = sns.Topic(self, "Alerts", master_key=self._keys.data, enforce_ssl=True)
        sns.Subscription(
            self,
            "AlertsByMail",
            topic=topic,
            protocol=sns.SubscriptionProtocol.EMAIL,
            endpoint=self.asked.email.value_as_string,
        )
        topic.add_to_resource_policy(
            iam.PolicyStatement(
                sid="AlarmsOfThisAccount",
                principals=[iam.ServicePrincipal("cloudwatch.amazonaws.com")],
                actions=["sns:Publish"],
                resources=[topic.topic_arn],
                conditions={"StringEquals": {"aws:SourceAccount": cdk.Aws.ACCOUNT_ID}},
            )
        )
        for alarm in serving_alarms(self._entry, self._service) + database_alarms(self._database, STORAGE_GB, 150):
            alarm.make(self, self._naming).add_alarm_action(actions.SnsAction(topic))

    def _tell(self) -> None:
        secure = self.asked.with_certificate.logical_id
        dns = self._entry.balancer.load_balancer_dns_name
        url = cdk.Fn.condition_if(secure, f"https://{self.asked.domain.value_as_string}", f"http://{dns}").to_string()
        warned = cdk.Fn.condition_if(
            secure,
            f"HTTPS alone. Point {self.asked.domain.value_as_string} to {dns} (CNAME or alias).",
            "WARNING: plain HTTP. API keys and contents pass unencrypted between AllowedCidr and AWS: for a trial "
            "with test data alone. Name CertificateArn and DomainName to encrypt.",
        ).to_string()
        first_key = (
            f"aws ecs execute-command --region {cdk.Aws.REGION} --cluster {self._cluster.cluster_name} "
            f"--container api --interactive --command '{FIRST_KEY}' --task $(aws ecs list-tasks "
            f"--region {cdk.Aws.REGION} --cluster {self._cluster.cluster_name} --query 'taskArns[0]' --output text)"
        )
        told = {
            "ApplicationURL": ("Where CAIO answers", url),
            "LoadBalancerDNS": ("The load balancer's own name", dns),
            "SetupTime": ("How long the creation of this stack takes", SETUP_TIME),
            "TransportSecurity": ("Whether requests are encrypted on their way", warned),
            "FirstKeyCommand": ("Makes the first API key and prints it once, to you alone", first_key),
        }
        for name, (description, value) in told.items():
            cdk.CfnOutput(self, name, description=description, value=value)
