"""CaioAuthStack: who people are. Any other OpenID Connect issuer may take its place by configuration."""

from __future__ import annotations

from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_cognito as cognito
from constructs import Construct

from caio_cdk.deployment import Deployment
from caio_cdk.naming import describe

#: CAIO's roles, which an operator maps the groups to: docs/how-to/sign-in-with-oidc.md.
GROUPS = ("admin", "developer", "user", "auditor", "billing", "operator")


class AuthStack(cdk.Stack):
    """A user pool with one public client: authorization code with PKCE, no secret that a browser could leak."""

    def __init__(self, scope: Construct, id_: str, *, deployment: Deployment, **options: Any) -> None:
        super().__init__(scope, id_, **options)
        naming = deployment.naming
        naming.tag(self)
        callback = cdk.CfnParameter(
            self,
            "CallbackUrl",
            description="Where a browser returns to after signing in.",
            default="http://localhost:8080/callback",
            allowed_pattern=r"^(https://[^\s*]+|http://localhost(:\d+)?(/[^\s*]*)?)$",
            constraint_description="must be an https URL, or http on localhost",
        )
        self.pool = cognito.UserPool(
            self,
            "Pool",
            user_pool_name=naming.of("users"),
            self_sign_up_enabled=False,
            sign_in_aliases=cognito.SignInAliases(email=True),
            sign_in_case_sensitive=False,
            auto_verify=cognito.AutoVerifiedAttrs(email=True),
            account_recovery=cognito.AccountRecovery.EMAIL_ONLY,
            mfa=cognito.Mfa.REQUIRED,
            mfa_second_factor=cognito.MfaSecondFactor(sms=False, otp=True),
            feature_plan=cognito.FeaturePlan.PLUS,
            standard_threat_protection_mode=cognito.StandardThreatProtectionMode.FULL_FUNCTION,
            password_policy=cognito.PasswordPolicy(
                min_length=12,
                require_lowercase=True,
                require_uppercase=True,
                require_digits=True,
                require_symbols=True,
                temp_password_validity=cdk.Duration.days(3),
            ),
            deletion_protection=deployment.profile.lasting,
            removal_policy=cdk.RemovalPolicy.RETAIN if deployment.profile.lasting else cdk.RemovalPolicy.DESTROY,
        )
        self.client = self.pool.add_client(
            "Client",
            generate_secret=False,
            prevent_user_existence_errors=True,
            enable_token_revocation=True,
            auth_flows=cognito.AuthFlow(user_srp=True),
            access_token_validity=cdk.Duration.hours(1),
            id_token_validity=cdk.Duration.hours(1),
            refresh_token_validity=cdk.Duration.days(1),
            supported_identity_providers=[cognito.UserPoolClientIdentityProvider.COGNITO],
            o_auth=cognito.OAuthSettings(
                flows=cognito.OAuthFlows(authorization_code_grant=True),
                scopes=[cognito.OAuthScope.OPENID, cognito.OAuthScope.EMAIL, cognito.OAuthScope.PROFILE],
                callback_urls=[callback.value_as_string],
            ),
        )
        prefix = naming.unique("signin") or ""
        self.pool.add_domain("Domain", cognito_domain=cognito.CognitoDomainOptions(domain_prefix=prefix))
        for name in GROUPS:
            self.pool.add_group(name.capitalize(), group_name=name, description=f"CAIO's role {name}")
        describe(self.pool, "identity", "Signs people in")
        self.issuer = f"https://cognito-idp.{self.region}.{cdk.Aws.URL_SUFFIX}/{self.pool.user_pool_id}"
        cdk.CfnOutput(self, "UserPoolId", description="The user pool", value=self.pool.user_pool_id)
