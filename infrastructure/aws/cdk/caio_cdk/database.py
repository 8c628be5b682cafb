"""PostgreSQL that only the application reaches, over TLS only, with a master password that RDS makes and rotates."""

from __future__ import annotations

import aws_cdk as cdk
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_ecs as ecs
from aws_cdk import aws_kms as kms
from aws_cdk import aws_rds as rds
from aws_cdk import aws_secretsmanager as secretsmanager
from constructs import Construct

from caio_cdk.naming import Naming, describe
from caio_cdk.network import Network

#: The newest major version that RDS does not call deprecated; the minor version is RDS's choice, and upgraded by it.
MAJOR_VERSION = "18"
NAME, PORT, MASTER = "caio", 5432, "caio_admin"


class Database(Construct):
    def __init__(
        self,
        scope: Construct,
        id_: str,
        *,
        naming: Naming,
        network: Network,
        key: kms.IKey,
        instance_class: str,
        storage_gb: int,
        multi_az: bool,
        backup_days: int,
        lasting: bool,
    ) -> None:
        """`lasting`: protected from deletion, and leaving a snapshot behind. A trial's is not."""
        super().__init__(scope, id_)
        self._naming, self._network, self._key = naming, network, key
        self.security_group = ec2.SecurityGroup(
            self,
            "SecurityGroup",
            vpc=network.vpc,
            security_group_name=naming.of("db"),
            description="PostgreSQL, from the application alone",
            allow_all_outbound=False,
        )
        self.instance = self._instance(instance_class, storage_gb, multi_az, backup_days, lasting)
        self.instance.apply_removal_policy(cdk.RemovalPolicy.SNAPSHOT if lasting else cdk.RemovalPolicy.DESTROY)
        self.endpoint = self.instance.attr_endpoint_address
        self.master = secretsmanager.Secret.from_secret_attributes(
            self,
            "Master",
            secret_complete_arn=self.instance.get_att("MasterUserSecret.SecretArn").to_string(),
            encryption_key=key,
        )
        describe(self, "database", "Tenants and contracts and decisions and audit logs")

    def environment(self) -> dict[str, str]:
        return {
            "CAIO_DB_HOST": self.endpoint,
            "CAIO_DB_PORT": str(PORT),
            "CAIO_DB_NAME": NAME,
            "CAIO_DB_SSLMODE": "require",
        }

    def admin(self) -> dict[str, ecs.Secret]:
        """The master user, for the migration alone."""
        return {
            "CAIO_DB_ADMIN_USER": ecs.Secret.from_secrets_manager(self.master, "username"),
            "CAIO_DB_ADMIN_PASSWORD": ecs.Secret.from_secrets_manager(self.master, "password"),
        }

    def _instance(
        self, instance_class: str, storage_gb: int, multi_az: bool, backup_days: int, lasting: bool
    ) -> rds.CfnDBInstance:
        subnets = rds.CfnDBSubnetGroup(
            self,
            "Subnets",
            db_subnet_group_description="Private subnets of CAIO",
            subnet_ids=self._network.vpc.select_subnets(subnet_group_name="Private").subnet_ids,
        )
        parameters = rds.CfnDBParameterGroup(
            self,
            "Parameters",
            family=f"postgres{MAJOR_VERSION}",
            description="TLS for every connection; slow statements and waits are logged",
            parameters={"rds.force_ssl": "1", "log_min_duration_statement": "1000", "log_lock_waits": "1"},
        )
        return rds.CfnDBInstance(
            self,
            "Instance",
            db_instance_identifier=self._naming.of("db"),
            engine="postgres",
            engine_version=MAJOR_VERSION,
            db_instance_class=instance_class,
            db_name=NAME,
            port=str(PORT),
            allocated_storage=str(storage_gb),
            max_allocated_storage=storage_gb * 5,
            storage_type="gp3",
            storage_encrypted=True,
            kms_key_id=self._key.key_arn,
            master_username=MASTER,
            manage_master_user_password=True,
            master_user_secret=rds.CfnDBInstance.MasterUserSecretProperty(kms_key_id=self._key.key_arn),
            db_subnet_group_name=subnets.ref,
            db_parameter_group_name=parameters.ref,
            vpc_security_groups=[self.security_group.security_group_id],
            publicly_accessible=False,
            multi_az=multi_az,
            backup_retention_period=backup_days,
            preferred_backup_window="03:00-04:00",
            preferred_maintenance_window="sun:04:00-sun:05:00",
            auto_minor_version_upgrade=True,
            copy_tags_to_snapshot=True,
            deletion_protection=lasting,
            delete_automated_backups=not lasting,
            enable_cloudwatch_logs_exports=["postgresql", "upgrade"],
            enable_performance_insights=lasting,
            performance_insights_kms_key_id=self._key.key_arn if lasting else None,
            performance_insights_retention_period=7 if lasting else None,
        )
