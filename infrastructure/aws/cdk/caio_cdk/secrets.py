"""The secrets that the containers get, each made by Secrets Manager: nobody types one and no template holds one.

Secrets Manager generates one value in a secret, so the two keys of the installation are two secrets here (Terraform
keeps both in one). The database's login does not rotate beneath running tasks: docs/runbooks says how to change it.
"""

from __future__ import annotations

import aws_cdk as cdk
from aws_cdk import aws_ecs as ecs
from aws_cdk import aws_kms as kms
from aws_cdk import aws_secretsmanager as secretsmanager
from constructs import Construct

from caio_cdk.naming import Naming, describe

DATABASE_LOGIN = "caio_login"


class Secrets(Construct):
    def __init__(
        self, scope: Construct, id_: str, *, naming: Naming, key: kms.IKey, removal: cdk.RemovalPolicy
    ) -> None:
        super().__init__(scope, id_)
        self._naming, self._key, self._removal = naming, key, removal
        login = f'{{"username": "{DATABASE_LOGIN}"}}'
        self.database = self._made("DbCredentials", "db-credentials", "The application's login", "password", 48, login)
        self.auth = self._made("AuthSecret", "auth-secret", "The master key is derived from it", "auth_secret_key", 64)
        self.signing = self._made("SigningSecret", "signing-secret", "Seed of the receipts' key", "signing_secret", 64)
        describe(self, "secrets", "Keys and passwords of the application")

    def serving(self) -> dict[str, ecs.Secret]:
        """What the API and the worker get of these."""
        return self.login() | {
            "CAIO_AUTH_SECRET_KEY": ecs.Secret.from_secrets_manager(self.auth, "auth_secret_key"),
            "CAIO_SIGNING_SECRET": ecs.Secret.from_secrets_manager(self.signing, "signing_secret"),
        }

    def login(self) -> dict[str, ecs.Secret]:
        """What every container gets: the login that the migration makes and the others use."""
        return {
            "CAIO_DB_USER": ecs.Secret.from_secrets_manager(self.database, "username"),
            "CAIO_DB_PASSWORD": ecs.Secret.from_secrets_manager(self.database, "password"),
        }

    def add_cache_token(self) -> secretsmanager.Secret:
        return self._made("CacheAuth", "cache-auth", "The cache's token", "token", 64)

    def add_api_keys(self) -> secretsmanager.Secret:
        """Keys of providers and integrations, which people put in, each under a name of its own."""
        return secretsmanager.Secret(
            self,
            "ApiKeys",
            secret_name=self._naming.of("api-keys"),
            description="CAIO: keys of providers and integrations, one a name; empty until somebody fills it",
            encryption_key=self._key,
            secret_string_value=cdk.SecretValue.unsafe_plain_text("{}"),
            removal_policy=self._removal,
        )

    def _made(
        self, id_: str, name: str, what: str, field: str, length: int, template: str = "{}"
    ) -> secretsmanager.Secret:
        return secretsmanager.Secret(
            self,
            id_,
            secret_name=self._naming.of(name),
            description=f"CAIO: {what[0].lower()}{what[1:]}",
            encryption_key=self._key,
            removal_policy=self._removal,
            generate_secret_string=secretsmanager.SecretStringGenerator(
                secret_string_template=template,
                generate_string_key=field,
                password_length=length,
                exclude_punctuation=True,  # letters and digits pass through URLs, shells and the cache's token alike
            ),
        )
