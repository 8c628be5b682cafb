"""The published trial template, read as CloudFormation and a cautious customer would: without CDK, in milliseconds.

Laws
----
- whoever_launches_is_told_what_is_asked: every parameter and output is described, patterns explain themselves.
- defaults_are_accepted_by_their_own_parameter.
- the_template_fits_into_a_request: 51,200 bytes.
- plain_http_is_for_a_named_network: never for the whole internet, and a certificate comes with its name.
- no_secret_is_written_down: not in parameters, values, or outputs.
- the_container_gets_what_the_contract_names.
- the_database_is_ready_before_the_api_starts: the migration must succeed, and alone has the master's password.
- one_process_holds_the_database: the old task is gone before the next one starts.
- nothing_stays_when_the_trial_ends.
"""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import yaml

from tests.support.cdk_synthesis import PUBLISHED, containers, names_given, of_type
from tests.support.infra_tools import CONTAINER, LAST_SECONDS

TEMPLATE: dict[str, Any] = json.loads(PUBLISHED.read_text())
CONTRACT: dict[str, Any] = yaml.safe_load(CONTAINER.read_text())
ASKED = {
    "ImageUri": "registry.example/caio:1.2.3",
    "AlertEmail": "ops@example.com",
    "AllowedCidr": "203.0.113.0/24",
}


def accepts(parameter: str, value: str) -> bool:
    """Whether CloudFormation would take the value."""
    known = TEMPLATE["Parameters"][parameter]
    if "AllowedValues" in known:
        return value in known["AllowedValues"]
    return re.fullmatch(known["AllowedPattern"], value) is not None


def holds(expression: Any, given: dict[str, str]) -> bool:
    """The truth of an expression of conditions and rules."""
    if isinstance(expression, str):
        raise TypeError(expression)
    [(function, operands)] = expression.items()
    if function == "Fn::Not":
        return not holds(operands[0], given)
    if function == "Fn::Equals":
        left, right = (given[each["Ref"]] if isinstance(each, dict) else each for each in operands)
        return bool(left == right)
    raise NotImplementedError(function)


def permitted(**values: str) -> bool:
    """Whether CloudFormation would begin: every parameter accepted, no rule broken."""
    defaults = {name: each["Default"] for name, each in TEMPLATE["Parameters"].items() if "Default" in each}
    given = defaults | ASKED | values
    if not all(accepts(name, value) for name, value in given.items()):
        return False
    rules = TEMPLATE["Rules"].values()
    return all(
        holds(assertion["Assert"], given)
        for rule in rules
        if holds(rule.get("RuleCondition", {"Fn::Equals": ["", ""]}), given)
        for assertion in rule["Assertions"]
    )


CERTIFICATE = "arn:aws:acm:eu-central-1:123456789012:certificate/12345678-1234-1234-1234-123456789012"


def test_whoever_launches_is_told_what_is_asked():
    for name, parameter in TEMPLATE["Parameters"].items():
        assert parameter["Description"], name
        assert "AllowedValues" in parameter or parameter["ConstraintDescription"], name
    for name, output in TEMPLATE["Outputs"].items():
        assert output["Description"], name
    console = TEMPLATE["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
    assert sorted(each for group in console for each in group["Parameters"]) == sorted(TEMPLATE["Parameters"])


def test_the_promised_parameters_and_outputs_are_there():
    assert TEMPLATE["Parameters"]["DatabaseInstanceClass"]["Default"] == "db.t3.small"
    size = TEMPLATE["Parameters"]["InstanceType"]["Default"]
    assert TEMPLATE["Mappings"]["Sizes"][size] == {"Cpu": "1024", "Memory": "2048"}
    assert "MarketplaceProductCode" in TEMPLATE["Parameters"]
    assert {"ApplicationURL", "LoadBalancerDNS", "SetupTime"} <= set(TEMPLATE["Outputs"])
    assert TEMPLATE["Outputs"]["SetupTime"]["Value"] == "8-10 minutes"


def test_defaults_are_accepted_by_their_own_parameter():
    for name, parameter in TEMPLATE["Parameters"].items():
        assert "Default" not in parameter or accepts(name, parameter["Default"]), name
    assert permitted()


def test_the_template_fits_into_a_request():
    assert PUBLISHED.stat().st_size <= 51_200


@pytest.mark.parametrize("cidr", ["0.0.0.0/0", "0.0.0.0/1", "128.0.0.0/1", "10.0.0.0/8", "::/0", "203.0.113.9", ""])
def test_plain_http_is_for_a_named_network(cidr: str):
    assert not permitted(AllowedCidr=cidr)
    assert "Default" not in TEMPLATE["Parameters"]["AllowedCidr"]


def test_everybody_may_connect_where_there_is_a_certificate_with_its_name():
    assert permitted(AllowedCidr="0.0.0.0/0", CertificateArn=CERTIFICATE, DomainName="caio.example.com")
    assert not permitted(CertificateArn=CERTIFICATE)
    assert not permitted(CertificateArn="arn:aws:iam::123456789012:server-certificate/x", DomainName="caio.example.com")


def test_the_entry_speaks_http_to_the_named_network_alone():
    [rules] = [
        group["SecurityGroupIngress"]
        for name, group in of_type(TEMPLATE, "AWS::EC2::SecurityGroup").items()
        if name.startswith("Entry")
    ]
    assert {rule["FromPort"] for rule in rules} == {80, 443}
    assert all(rule["CidrIp"] == {"Ref": "AllowedCidr"} for rule in rules)
    plain = of_type(TEMPLATE, "AWS::ElasticLoadBalancingV2::Listener")["HttpListener"]
    condition, secure, insecure = plain["DefaultActions"][0]["Fn::If"]
    assert (condition, secure["Type"], insecure["Type"]) == ("WithCertificate", "redirect", "forward")
    assert secure["RedirectConfig"]["Protocol"] == "HTTPS"
    warned = TEMPLATE["Outputs"]["TransportSecurity"]["Value"]["Fn::If"]
    assert warned[0] == "WithCertificate"
    assert warned[2].startswith("WARNING: plain HTTP")


@pytest.mark.parametrize("image", ["caio", "caio:latest", "registry.example:5000/caio:latest", "caio@sha256:abc"])
def test_an_image_is_named_by_what_does_not_move(image: str):
    assert not permitted(ImageUri=image)


def test_an_image_may_be_named_by_version_or_digest():
    assert permitted(ImageUri="123456789012.dkr.ecr.eu-central-1.amazonaws.com/caio:v1.2.3")
    assert permitted(ImageUri="registry.example:5000/caio@sha256:" + "0" * 64)


def test_no_secret_is_written_down():
    text = PUBLISHED.read_text()
    assert not re.search(r"AKIA[0-9A-Z]{16}|-----BEGIN|resolve:ssm", text)
    for name in TEMPLATE["Parameters"]:
        assert not re.search("password|secret|token", name, re.IGNORECASE), name
    for secret in of_type(TEMPLATE, "AWS::SecretsManager::Secret").values():
        assert "SecretString" not in secret
        assert secret["GenerateSecretString"]["PasswordLength"] >= 43
    [database] = of_type(TEMPLATE, "AWS::RDS::DBInstance").values()
    assert database["ManageMasterUserPassword"] is True
    assert "MasterUserPassword" not in database
    assert "SecretString" not in json.dumps(TEMPLATE["Outputs"])


def test_the_container_gets_what_the_contract_names():
    absent = set(CONTRACT["without_in_trial"])
    made = containers(TEMPLATE)
    assert set(made) == {"api", "migration"}  # the trial's one process does the worker's work
    for role, group in (("api", "serving"), ("migration", "migration")):
        plain, secret = names_given(made[role])
        assert plain == {*CONTRACT["environment"]["all"], *CONTRACT["environment"].get(group, [])} - absent
        assert secret == {*CONTRACT["secrets"]["all"], *CONTRACT["secrets"][group]} - absent
        assert made[role]["Command"] == CONTRACT["commands"][role]
        assert made[role]["User"] == str(CONTRACT["user"])
        assert made[role]["StopTimeout"] == CONTRACT["stop_seconds"]
        if role != "migration":
            values = {each["Name"]: each["Value"] for each in made[role]["Environment"]}
            served = int(values["CAIO_DRAIN_SECONDS"]) + int(values["CAIO_GRACE_SECONDS"])
            assert served + LAST_SECONDS <= CONTRACT["stop_seconds"]
        assert made[role]["ReadonlyRootFilesystem"] is True
        assert made[role]["Privileged"] is False
        assert made[role]["LinuxParameters"]["Capabilities"] == {"Drop": ["ALL"]}
        written = {mount["ContainerPath"] for mount in made[role]["MountPoints"]}
        assert {CONTRACT["data_directory"], "/tmp"} <= written
    assert made["api"]["PortMappings"][0]["ContainerPort"] == CONTRACT["ports"]["api"]
    # What ECS kills a task for: a database that is away is no reason.
    assert made["api"]["HealthCheck"]["Command"] == ["CMD", "healthcheck", "/health/live"]


def test_a_task_may_read_its_secrets_and_reach_its_database_before_it_starts():
    resources = TEMPLATE["Resources"]
    (service,) = [each for each in resources.values() if each["Type"] == "AWS::ECS::Service"]
    (task,) = [each for each in resources.values() if each["Type"] == "AWS::ECS::TaskDefinition"]
    role = task["Properties"]["ExecutionRoleArn"]["Fn::GetAtt"][0]
    policies = {
        name
        for name, each in resources.items()
        if each["Type"] == "AWS::IAM::Policy" and {"Ref": role} in each["Properties"]["Roles"]
    }
    rules = {
        name
        for name, each in resources.items()
        if each["Type"].startswith("AWS::EC2::SecurityGroup") and re.match("TaskSecurityGroup(to|from)", name)
    }
    assert len(policies) == 1
    assert len(rules) == 2
    assert policies | rules <= set(service["DependsOn"])


def test_the_database_is_ready_before_the_api_starts():
    made = containers(TEMPLATE)
    assert made["api"]["DependsOn"] == [{"Condition": "SUCCESS", "ContainerName": "migration"}]
    assert made["migration"]["Essential"] is False
    assert made["api"]["Essential"] is True
    assert not {name for name in names_given(made["api"])[1] if "ADMIN" in name}


def test_one_process_holds_the_database():
    [service] = of_type(TEMPLATE, "AWS::ECS::Service").values()
    deployment = service["DeploymentConfiguration"]
    assert (deployment["MinimumHealthyPercent"], deployment["MaximumPercent"]) == (0, 100)
    assert deployment["DeploymentCircuitBreaker"] == {"Enable": True, "Rollback": True}
    assert service["DesiredCount"] == 1
    assert service["HealthCheckGracePeriodSeconds"] >= 120
    [depends] = [each["DependsOn"] for each in TEMPLATE["Resources"].values() if each["Type"] == "AWS::ECS::Service"]
    [listening] = of_type(TEMPLATE, "AWS::CloudFormation::WaitConditionHandle")
    assert listening in depends
    assert TEMPLATE["Resources"][listening]["Metadata"]["Listener"] == {
        "Fn::If": ["WithCertificate", {"Ref": "HttpsListener"}, {"Ref": "HttpListener"}]
    }


def test_the_database_is_closed_and_encrypted():
    [database] = of_type(TEMPLATE, "AWS::RDS::DBInstance").values()
    assert database["PubliclyAccessible"] is False
    assert database["StorageEncrypted"] is True
    assert database["AllocatedStorage"] == "20"
    assert int(database["EngineVersion"].split(".")[0]) >= 15
    [parameters] = of_type(TEMPLATE, "AWS::RDS::DBParameterGroup").values()
    assert parameters["Parameters"]["rds.force_ssl"] == "1"
    subnets = of_type(TEMPLATE, "AWS::EC2::Subnet")
    [group] = of_type(TEMPLATE, "AWS::RDS::DBSubnetGroup").values()
    assert all(not subnets[each["Ref"]]["MapPublicIpOnLaunch"] for each in group["SubnetIds"])
    routed = {
        each["SubnetId"]["Ref"]
        for name, each in of_type(TEMPLATE, "AWS::EC2::SubnetRouteTableAssociation").items()
        for route in of_type(TEMPLATE, "AWS::EC2::Route").values()
        if route["RouteTableId"] == each["RouteTableId"]
    }
    assert routed, "the public subnets lead somewhere"
    assert not routed & {each["Ref"] for each in group["SubnetIds"]}


def test_nothing_stays_when_the_trial_ends():
    for name, resource in TEMPLATE["Resources"].items():
        assert resource.get("DeletionPolicy", "Delete") == "Delete", name
    [database] = of_type(TEMPLATE, "AWS::RDS::DBInstance").values()
    assert database["DeletionProtection"] is False
    assert database["DeleteAutomatedBackups"] is True
    assert not of_type(TEMPLATE, "AWS::S3::Bucket")
