"""What whoever launches the trial is asked, what is refused, and what follows from the answers."""

from __future__ import annotations

import aws_cdk as cdk

#: CPU units and MiB of the task. CAIO's own size for one process is the middle one.
SIZES = {"small": ("512", "1024"), "medium": ("1024", "2048"), "large": ("2048", "4096")}
DATABASE_CLASSES = ["db.t3.small", "db.t3.medium", "db.t4g.small", "db.t4g.medium", "db.m6g.large", "db.m6i.large"]

_BYTE = r"(25[0-5]|2[0-4]\d|1?\d?\d)"
#: One network of at most 65,536 addresses, or the whole internet, which a certificate alone permits.
_CIDR = rf"^(0\.0\.0\.0/0|({_BYTE}\.){{3}}{_BYTE}/(1[6-9]|2\d|3[0-2]))$"
#: A tag that is not `latest`, or a digest: what is started tomorrow is what was started today.
_IMAGE = r"^[a-z0-9][a-z0-9._:/-]*(:(?!latest$)[A-Za-z0-9_][A-Za-z0-9._-]{0,127}|@sha256:[0-9a-f]{64})$"
_CERTIFICATE = r"^(arn:aws[a-z-]*:acm:[a-z0-9-]+:\d{12}:certificate/[0-9a-f-]+)?$"
_DOMAIN = r"^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)+)?$"


class Parameters:
    """The template's parameters, rules and conditions; they belong to `stack` itself, so that their names are plain."""

    def __init__(self, stack: cdk.Stack) -> None:
        self._stack = stack
        self.image = self._text(
            "ImageUri",
            "The image of CAIO: repository and version, or its digest. `latest` is refused.",
            pattern=_IMAGE,
            says="must be an image by its version (caio:1.2.3) or digest (caio@sha256:...), not latest",
        )
        self.email = self._text(
            "AlertEmail",
            "Who is told when something is wrong, and confirms that by mail.",
            pattern=r"^[^@\s]+@[^@\s]+\.[^@\s]+$",
            says="must be an e-mail address",
        )
        self.allowed_cidr = self._text(
            "AllowedCidr",
            "The network that may connect, such as your office's 203.0.113.0/24 or your own address with /32. "
            "0.0.0.0/0 (everybody) is taken only together with a certificate.",
            pattern=_CIDR,
            says="must be a network of /16 to /32, or 0.0.0.0/0 with a certificate",
        )
        self.size = self._text(
            "InstanceType",
            "Size of the task: small is 0.5 vCPU and 1 GB, medium 1 vCPU and 2 GB, large 2 vCPU and 4 GB.",
            default="medium",
            values=list(SIZES),
        )
        self.database_class = self._text(
            "DatabaseInstanceClass", "Size of the database.", default="db.t3.small", values=DATABASE_CLASSES
        )
        self.certificate = self._text(
            "CertificateArn",
            "The ACM certificate, of this region, that the API is served with. Empty: plain HTTP, for a trial.",
            default="",
            pattern=_CERTIFICATE,
            says="must be the ARN of an ACM certificate, or empty",
        )
        self.domain = self._text(
            "DomainName",
            "The name that the certificate is for and that you point to the load balancer. Empty without one.",
            default="",
            pattern=_DOMAIN,
            says="must be a host name in small letters, or empty",
        )
        self.product_code = self._text(
            "MarketplaceProductCode",
            "The product code, if you come from AWS Marketplace: the task may then meter its use. Empty otherwise.",
            default="",
            pattern=r"^[a-z0-9]{0,64}$",
            says="must be a product code of AWS Marketplace, or empty",
        )
        sizes = cdk.CfnMapping(
            stack, "Sizes", mapping={name: {"Cpu": cpu, "Memory": memory} for name, (cpu, memory) in SIZES.items()}
        )
        self.cpu = sizes.find_in_map(self.size.value_as_string, "Cpu")
        self.memory = sizes.find_in_map(self.size.value_as_string, "Memory")
        self.with_certificate = self._given("WithCertificate", self.certificate)
        self.from_marketplace = self._given("FromMarketplace", self.product_code)
        self._refuse()
        self._arrange()

    def _text(
        self,
        name: str,
        description: str,
        *,
        default: str | None = None,
        pattern: str | None = None,
        says: str | None = None,
        values: list[str] | None = None,
    ) -> cdk.CfnParameter:
        return cdk.CfnParameter(
            self._stack,
            name,
            type="String",
            description=description,
            default=default,
            allowed_pattern=pattern,
            allowed_values=values,
            constraint_description=says,
        )

    def _given(self, name: str, parameter: cdk.CfnParameter) -> cdk.CfnCondition:
        return cdk.CfnCondition(self._stack, name, expression=_is_given(parameter))

    def _refuse(self) -> None:
        everybody = cdk.Fn.condition_equals(self.allowed_cidr.value_as_string, "0.0.0.0/0")
        cdk.CfnRule(
            self._stack,
            "EverybodyOverHttpsAlone",
            rule_condition=cdk.Fn.condition_equals(self.certificate.value_as_string, ""),
            assertions=[
                cdk.CfnRuleAssertion(
                    assert_=cdk.Fn.condition_not(everybody),
                    assert_description="Without CertificateArn all is plain HTTP: AllowedCidr must be your network",
                )
            ],
        )
        cdk.CfnRule(
            self._stack,
            "CertificateHasItsName",
            rule_condition=_is_given(self.certificate),
            assertions=[
                cdk.CfnRuleAssertion(
                    assert_=_is_given(self.domain),
                    assert_description="CertificateArn needs DomainName: the name that the certificate is for",
                )
            ],
        )

    def _arrange(self) -> None:
        """How the console asks: in the order in which somebody would think of it."""
        groups = {
            "What runs": [self.image, self.size, self.database_class],
            "Who may connect, and how": [self.allowed_cidr, self.certificate, self.domain],
            "Who is told, and who pays": [self.email, self.product_code],
        }
        self._stack.template_options.metadata = {
            "AWS::CloudFormation::Interface": {
                "ParameterGroups": [
                    {"Label": {"default": label}, "Parameters": [each.logical_id for each in parameters]}
                    for label, parameters in groups.items()
                ],
                "ParameterLabels": {self.size.logical_id: {"default": "Task size"}},
            }
        }


def _is_given(parameter: cdk.CfnParameter) -> cdk.ICfnRuleConditionExpression:
    return cdk.Fn.condition_not(cdk.Fn.condition_equals(parameter.value_as_string, ""))
