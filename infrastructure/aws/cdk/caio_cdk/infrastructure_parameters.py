"""What is asked at each deployment of the infrastructure, and refused."""

from __future__ import annotations

import aws_cdk as cdk

_TAG = r"^(?!latest$)[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$"
_DOMAIN = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)+$"


class Parameters:
    def __init__(self, stack: cdk.Stack) -> None:
        def text(name: str, description: str, pattern: str, says: str, default: str | None = None) -> cdk.CfnParameter:
            return cdk.CfnParameter(
                stack,
                name,
                type="String",
                description=description,
                allowed_pattern=pattern,
                constraint_description=says,
                default=default,
            )

        self.image_tag = text(
            "ImageTag",
            "The tag of the image in the registry of CaioNetworkStack.",
            _TAG,
            "must be a tag, and not latest",
        )
        self.domain = text("DomainName", "The name that CAIO is served under.", _DOMAIN, "must be a host name")
        self.zone = text(
            "HostedZoneId",
            "The Route 53 zone of that name: the certificate and the record are made in it. Empty for DNS elsewhere.",
            r"^(Z[A-Z0-9]{1,31})?$",
            "must be the id of a hosted zone, or empty",
            default="",
        )
        self.certificate = text(
            "CertificateArn",
            "An ACM certificate, issued, of this region, where there is no hosted zone. Empty with one.",
            r"^(arn:aws[a-z-]*:acm:[a-z0-9-]+:\d{12}:certificate/[0-9a-f-]+)?$",
            "must be the ARN of an ACM certificate, or empty",
            default="",
        )
        self.email = text(
            "AlertEmail",
            "Who is told, and confirms that by mail.",
            r"^[^@\s]+@[^@\s]+\.[^@\s]+$",
            "must be an e-mail address",
        )
        self.budget = cdk.CfnParameter(
            stack,
            "MonthlyBudget",
            type="Number",
            description="What a month may cost, in USD.",
            default=1000,
            min_value=1,
            max_value=10_000_000,
        )
        no_zone = cdk.Fn.condition_equals(self.zone.value_as_string, "")
        no_certificate = cdk.Fn.condition_equals(self.certificate.value_as_string, "")
        self.in_route_53 = cdk.CfnCondition(stack, "InRoute53", expression=cdk.Fn.condition_not(no_zone))
        cdk.CfnRule(
            stack,
            "OneCertificate",
            assertions=[
                cdk.CfnRuleAssertion(
                    assert_=cdk.Fn.condition_not(cdk.Fn.condition_and(no_zone, no_certificate)),
                    assert_description="Name HostedZoneId, or CertificateArn: HTTPS needs a certificate",
                )
            ],
        )
