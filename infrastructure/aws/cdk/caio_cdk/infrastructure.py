"""CaioInfrastructureStack: everything that serves: entry, tasks, data, events, alarms, budget and backups."""

from __future__ import annotations

from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_certificatemanager as acm
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_ecs as ecs
from aws_cdk import aws_kms as kms
from aws_cdk import aws_logs as logs
from aws_cdk import aws_route53 as route53
from constructs import Construct

from caio_cdk import alarms, contract, permissions
from caio_cdk.auth import AuthStack
from caio_cdk.cache import PORT as CACHE_PORT
from caio_cdk.cache import Cache
from caio_cdk.compute import COLLECTOR_PORT, Compute, Size
from caio_cdk.containers import Given
from caio_cdk.database import PORT as DATABASE_PORT
from caio_cdk.database import Database
from caio_cdk.deployment import Deployment
from caio_cdk.entry import Entry
from caio_cdk.firewall import Firewall
from caio_cdk.foundation import NetworkStack
from caio_cdk.infrastructure_parameters import Parameters
from caio_cdk.messaging import Messaging
from caio_cdk.migration import Migration
from caio_cdk.safeguards import Budget, Recovery
from caio_cdk.secrets import Secrets
from caio_cdk.storage import Storage
from caio_cdk.watch import Alerts, dashboard

WORKERS = 1


class InfrastructureStack(cdk.Stack):
    def __init__(
        self,
        scope: Construct,
        id_: str,
        *,
        deployment: Deployment,
        foundation: NetworkStack,
        auth: AuthStack,
        **options: Any,
    ) -> None:
        super().__init__(scope, id_, **options)
        self._deployment, self._foundation, self._auth = deployment, foundation, auth
        self._naming, self._network = deployment.naming, foundation.network
        self._naming.tag(self)
        self.asked = Parameters(self)
        # By their ARNs: what is made here must not change the keys' policies, which belong to another stack.
        self._key = kms.Key.from_key_arn(self, "DataKey", foundation.keys.data.key_arn)
        self._tenants_key = kms.Key.from_key_arn(self, "TenantsKey", foundation.keys.tenants.key_arn)
        self._keep()
        self._open()
        self._run()
        self._watch()
        self._tell()

    def _keep(self) -> None:
        """Where data is: database, cache, buckets, sessions, queues, and the secrets that open them."""
        naming, profile, key = self._naming, self._deployment.profile, self._key
        self._secrets = Secrets(self, "Secrets", naming=naming, key=key, removal=cdk.RemovalPolicy.RETAIN)
        self._secrets.add_api_keys()
        self._cache_token = self._secrets.add_cache_token()
        self._database = Database(
            self,
            "Database",
            naming=naming,
            network=self._network,
            key=key,
            instance_class=profile.database_class,
            storage_gb=profile.database_gb,
            multi_az=profile.multi_az,
            backup_days=profile.backup_days,
            lasting=profile.lasting,
        )
        self._cache = Cache(
            self,
            "Cache",
            naming=naming,
            network=self._network,
            key=key,
            token=self._cache_token,
            node_type=profile.cache_node,
            nodes=profile.cache_nodes,
        )
        self._storage = Storage(self, "Storage", naming=naming, key=key)
        self._messaging = Messaging(self, "Messaging", naming=naming, key=key)

    def _open(self) -> None:
        """The entry, under a certificate that was brought or that the hosted zone's owner proves by DNS."""
        protected = self._deployment.profile.lasting
        self._entry = Entry(self, "Entry", naming=self._naming, network=self._network, protected=protected)
        self._entry.keep_log(self._storage.logs)
        domain, zone = self.asked.domain.value_as_string, self.asked.zone.value_as_string
        made = acm.CfnCertificate(
            self,
            "Certificate",
            domain_name=domain,
            validation_method="DNS",
            domain_validation_options=[
                acm.CfnCertificate.DomainValidationOptionProperty(domain_name=domain, hosted_zone_id=zone)
            ],
        )
        made.cfn_options.condition = self.asked.in_route_53
        zoned = self.asked.in_route_53.logical_id
        self._certificate = cdk.Fn.condition_if(zoned, made.ref, self.asked.certificate.value_as_string).to_string()
        self._entry.listen(self._certificate)
        alias = route53.CfnRecordSet(
            self,
            "Alias",
            name=domain,
            type="A",
            hosted_zone_id=zone,
            alias_target=route53.CfnRecordSet.AliasTargetProperty(
                dns_name=self._entry.balancer.load_balancer_dns_name,
                hosted_zone_id=self._entry.balancer.load_balancer_canonical_hosted_zone_id,
                evaluate_target_health=True,
            ),
        )
        alias.cfn_options.condition = self.asked.in_route_53
        if self._deployment.profile.firewall:
            Firewall(self, "Firewall", naming=self._naming, balancer=self._entry.balancer)

    def _run(self) -> None:
        naming, profile = self._naming, self._deployment.profile
        log_group = logs.LogGroup(
            self,
            "Logs",
            log_group_name=naming.logs(),
            retention=profile.retention,
            encryption_key=self._key,
            removal_policy=cdk.RemovalPolicy.RETAIN,
        )
        size = Size(profile.task_cpu, profile.task_memory, profile.min_tasks, profile.max_tasks, profile.rests_at_night)
        compute = Compute(
            self, "Compute", naming=naming, network=self._network, log_group=log_group, size=size, insights=True
        )
        self._compute = compute
        self._connect(compute.security_group)
        everyone = Given(
            image=f"{self._foundation.registry.repository_uri}:{self.asked.image_tag.value_as_string}",
            log_group=log_group,
            environment={"CAIO_ENV": self._deployment.caio_env} | self._database.environment(),
            secrets=self._secrets.login(),
        )
        serving = everyone.beside(self._environment(), self._serving_secrets())
        migration = compute.task("migration", everyone.beside({}, self._database.admin()))
        api, worker = compute.task("api", serving), compute.task("worker", serving)
        self._permit(compute)
        migrated = Migration(
            self,
            "Migration",
            naming=naming,
            network=self._network,
            key=self._key,
            compute=compute,
            task=migration,
            log_group=log_group,
            retention=profile.retention,
        )
        # Before the task can run it must be let: to read its secrets, and to reach the database.
        migrated.done.node.add_dependency(self._database, compute.permitted(), *compute.opened())
        compute.serve(api, worker, self._entry)
        for service in (compute.api, compute.worker):
            service.node.add_dependency(migrated.done)

    def _connect(self, tasks: ec2.SecurityGroup) -> None:
        tasks.connections.allow_to(self._database.security_group, ec2.Port.tcp(DATABASE_PORT), "PostgreSQL, from tasks")
        tasks.connections.allow_to(self._cache.security_group, ec2.Port.tcp(CACHE_PORT), "The cache, from tasks")

    def _environment(self) -> dict[str, str]:
        domain = self.asked.domain.value_as_string
        retired = self._deployment.retired_signing_keys
        return {
            "CAIO_API_HOST": "0.0.0.0",  # noqa: S104 - within the task's own network, behind its security group
            "CAIO_API_PORT": str(contract.API_PORT),
            "CAIO_OPS_PORT": str(contract.OPERATIONS_PORT),
            "CAIO_REDIS_URL": self._cache.url,
            # While a deployment runs, old tasks and new ones are there at once.
            "CAIO_PROCESSES": str(2 * (self._deployment.profile.max_tasks + WORKERS)),
            "CAIO_KMS_KEY_ID": self._tenants_key.key_arn,
            "CAIO_AUDIT_ORIGIN": domain,
            "CAIO_ANCHOR": f"s3://{self._storage.audit.bucket_name}/checkpoints",
            "CAIO_EVENT_BUS": self._messaging.bus.event_bus_arn,
            "CAIO_OIDC_ISSUER": self._auth.issuer,
            "CAIO_OIDC_AUDIENCE": self._auth.client.user_pool_client_id,
            "CAIO_CORS_ORIGINS": f"https://{domain}",
            "CAIO_TRUSTED_PROXIES": self._network.public_cidrs(),
            "CAIO_DRAIN_SECONDS": "35",
            "CAIO_GRACE_SECONDS": "70",
            "CAIO_METRICS_EMF": "true",
            "CAIO_OTLP_ENDPOINT": f"http://127.0.0.1:{COLLECTOR_PORT}",
            "AWS_REGION": cdk.Aws.REGION,
        } | ({"CAIO_RETIRED_SIGNING_KEYS": retired} if retired else {})

    def _serving_secrets(self) -> dict[str, ecs.Secret]:
        return self._secrets.serving() | {
            "CAIO_REDIS_PASSWORD": ecs.Secret.from_secrets_manager(self._cache_token, "token")
        }

    def _permit(self, compute: Compute) -> None:
        """What the tasks may do with all this. The migration's task has a role of its own that may do nothing."""
        role = compute.task_role
        permissions.may_wrap_keys(role, self._tenants_key)
        permissions.may_use_key(role, self._key)
        permissions.may_keep_objects(role, self._storage.artifacts)
        permissions.may_anchor(role, self._storage.audit)
        permissions.may_keep_sessions(role, self._storage.sessions)
        permissions.may_publish(role, self._messaging.bus)
        permissions.may_work_off(role, list(self._messaging.queues.values()))
        permissions.may_trace(role)
        self._foundation.registry.grant_pull(compute.execution_role)
        self._key.grant_decrypt(compute.execution_role)

    def _watch(self) -> None:
        naming, profile = self._naming, self._deployment.profile
        email = self.asked.email.value_as_string
        alerts = Alerts(self, "Alerts", naming=naming, key=self._key, email=email)
        entry, database, api = self._entry, self._database, self._compute.api
        serving = alarms.serving_alarms(entry, api)
        critical = [alarm for alarm in serving if alarm.what in ("errors", "nobody-ready")]
        paging = alerts.page_once([*critical, *alarms.budget_alarms(entry)])
        api.enable_deployment_alarms([paging[0].alarm_name], behavior=ecs.AlarmBehavior.ROLLBACK_ON_ALARM)
        alerts.watch(
            [alarm for alarm in serving if alarm not in critical]
            + alarms.database_alarms(database, profile.database_gb, profile.most_connections)
            + alarms.cache_alarms(self._cache)
            + alarms.queue_alarms(self._messaging.queues, self._messaging.dead)
        )
        self._draw()
        Budget(
            self,
            "Budget",
            naming=naming,
            monthly_usd=self.asked.budget.value_as_number,
            topic=alerts.topic,
            email=email,
        )
        where = f"arn:{cdk.Aws.PARTITION}:rds:{cdk.Aws.REGION}:{cdk.Aws.ACCOUNT_ID}:db:{database.instance.ref}"
        Recovery(
            self,
            "Recovery",
            naming=naming,
            key=self._key,
            days=min(profile.backup_days, 35),  # the most that a continuous backup may be kept
            resources=[where, self._storage.sessions.table_arn],
        )

    def _draw(self) -> None:
        entry, database, service = self._entry, self._database, self._compute.api
        environment = self._deployment.caio_env
        self._overview = dashboard(
            self,
            self._naming,
            "overview",
            {
                "Requests": [alarms.load_balancer(entry, "RequestCount", "Sum", 5)],
                "Failed, percent": [alarms.failing_share(entry)],
                "Answer time": [alarms.targets(entry, "TargetResponseTime", each, 5) for each in ("p50", "p95", "p99")],
                "Decision time": [alarms.own(environment, "RoutingLatency", each, 5) for each in ("p50", "p95", "p99")],
                "Tasks": [
                    alarms.targets(entry, each, "Maximum", 1) for each in ("HealthyHostCount", "UnHealthyHostCount")
                ],
                "CPU and memory": [
                    alarms.service(service, each, "Average", 5) for each in ("CPUUtilization", "MemoryUtilization")
                ],
                "Database": [alarms.database(database, "CPUUtilization", "Average", 5)],
                "Connections": [alarms.database(database, "DatabaseConnections", "Maximum", 5)],
                "Queues": [
                    alarms.queue(queue, "ApproximateNumberOfMessagesVisible", "Maximum", 5)
                    for queue in (*self._messaging.queues.values(), *self._messaging.dead.values())
                ],
            },
        )

    def _tell(self) -> None:
        board = (
            f"https://{cdk.Aws.REGION}.console.aws.amazon.com/cloudwatch/home?region={cdk.Aws.REGION}#dashboards:name="
        )
        validated = cdk.Fn.condition_if(
            self.asked.in_route_53.logical_id,
            f"Validated by CloudFormation in the hosted zone {self.asked.zone.value_as_string}",
            "None: the certificate was brought, validated",
        ).to_string()
        told = {
            "AlbDnsName": ("The load balancer's own name", self._entry.balancer.load_balancer_dns_name),
            "AlbArn": ("The load balancer", self._entry.balancer.load_balancer_arn),
            "EcsClusterName": ("The cluster", self._compute.cluster.cluster_name),
            "EcsServiceName": ("The API's service", self._compute.api.service_name),
            "DbEndpoint": ("The database's host, reached from the tasks alone", self._database.endpoint),
            "S3ArtifactsBucket": ("Where services' artifacts are kept", self._storage.artifacts.bucket_name),
            "CertificateValidationRecords": ("What is left to prove of the certificate", validated),
            "SessionTableName": ("The sessions' table", self._storage.sessions.table_name),
            "DashboardUrls": ("The dashboard", board + self._overview.dashboard_name),
        }
        for name, (description, value) in told.items():
            cdk.CfnOutput(self, name, description=description, value=value)
