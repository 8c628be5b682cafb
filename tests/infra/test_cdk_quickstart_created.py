"""The published trial, created as a stack by an emulator that refuses the types and attributes it does not know.

What the emulator lacks is taken out of the template first, each piece declared with its reason; a piece that the
template no longer has fails the test, so the list cannot outlive its need. What was made is then asked of the emulated
services themselves. Not shown: routing, TLS, sign-in, times, and whether IAM's statements suffice.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from botocore.session import get_session

from tests.support.cdk_synthesis import PUBLISHED
from tests.support.emulators import emulator, port_for_an_emulator
from tests.support.infra_tools import environment

pytestmark = pytest.mark.infra

#: Types that the emulator has not.
LACKING = {
    "AWS::EC2::FlowLog": "the emulator has no flow logs",
    "AWS::EC2::SecurityGroupIngress": "the emulator knows only rules within a group; test_cdk_promises reads these",
    "AWS::EC2::SecurityGroupEgress": "the emulator knows only rules within a group; test_cdk_promises reads these",
}
#: An alarm over several metrics is refused by the emulator; its expression is read in test_cdk_promises.
COMPUTED_ALARMS = 1
#: The emulated database names no secret of its master user, so the test makes one in its place.
MASTER_SECRET = "MasterUserSecret.SecretArn"
ASKED = {"ImageUri": "caio:1.2.3", "AlertEmail": "ops@example.com", "AllowedCidr": "203.0.113.0/24"}
REGION = "eu-central-1"
STACK = "trial"
SECONDS = 120


@dataclass(frozen=True)
class Emulated:
    """An emulated account, by the address of its server."""

    address: str

    def client(self, service: str) -> Any:
        session = get_session()
        return session.create_client(
            service,
            region_name=REGION,
            endpoint_url=self.address,
            aws_access_key_id="testing",
            aws_secret_access_key="testing",
        )


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulated]:
    port = port_for_an_emulator()
    folder = tmp_path_factory.mktemp("ministack")
    own = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "BIND_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(port),
        "MINISTACK_REGION": REGION,
        "DOCKER_HOST": "unix:///nonexistent",
    }
    command = [environment("ministack") / "ministack"]
    with emulator(command, port, folder, environment=own, at=folder, seconds=SECONDS) as address:
        yield Emulated(address)


def creatable(master_secret: str) -> dict[str, Any]:
    """The published template without what the emulator lacks."""
    text = PUBLISHED.read_text()
    database = next(
        name for name, each in json.loads(text)["Resources"].items() if each["Type"] == "AWS::RDS::DBInstance"
    )
    attribute = json.dumps({"Fn::GetAtt": [database, MASTER_SECRET]})
    assert attribute in text
    template: dict[str, Any] = json.loads(text.replace(attribute, json.dumps(master_secret)))
    resources = template["Resources"]
    assert set(LACKING) <= {each["Type"] for each in resources.values()}
    computed = {name for name, each in resources.items() if "Metrics" in each.get("Properties", {})}
    assert len(computed) == COMPUTED_ALARMS
    gone = computed | {name for name, each in resources.items() if each["Type"] in LACKING}
    template["Resources"] = {name: each for name, each in resources.items() if name not in gone}
    for each in template["Resources"].values():
        if isinstance(each.get("DependsOn"), list):
            each["DependsOn"] = [name for name in each["DependsOn"] if name not in gone]
    return template


@pytest.fixture(scope="module")
def created(account: Emulated) -> dict[str, Any]:
    """The stack, once the emulator is done with it."""
    master = account.client("secretsmanager").create_secret(
        Name="rds!db-1", SecretString=json.dumps({"username": "caio_admin", "password": "of-the-emulator"})
    )
    formation = account.client("cloudformation")
    formation.create_stack(
        StackName=STACK,
        TemplateBody=json.dumps(creatable(master["ARN"])),
        Parameters=[{"ParameterKey": name, "ParameterValue": value} for name, value in ASKED.items()],
        Capabilities=["CAPABILITY_IAM"],
    )
    until = time.monotonic() + SECONDS
    while time.monotonic() < until:
        [stack] = formation.describe_stacks(StackName=STACK)["Stacks"]
        if not stack["StackStatus"].endswith("IN_PROGRESS"):
            break
        time.sleep(0.5)
    events = formation.describe_stack_events(StackName=STACK)["StackEvents"]
    failed = [
        f"{each['LogicalResourceId']}: {each.get('ResourceStatusReason')}"
        for each in events
        if "FAILED" in each["ResourceStatus"]
    ]
    assert (stack["StackStatus"], failed) == ("CREATE_COMPLETE", [])
    return dict(stack)


def test_every_resource_is_made(account: Emulated, created: dict[str, Any]):
    made = account.client("cloudformation").list_stack_resources(StackName=STACK)["StackResourceSummaries"]
    template = creatable("arn")
    conditional = {name for name, each in template["Resources"].items() if "Condition" in each}
    assert {each["LogicalResourceId"] for each in made} == set(template["Resources"]) - conditional
    assert len(conditional) == 2, "the HTTPS listener, and Marketplace's metering"


def test_the_emulator_refuses_what_it_does_not_know(account: Emulated):
    formation = account.client("cloudformation")
    unknown = {"Resources": {"Thing": {"Type": "AWS::Nowhere::Thing"}}}
    with pytest.raises(formation.exceptions.ClientError, match="AWS::Nowhere::Thing"):
        formation.create_stack(StackName="unknown", TemplateBody=json.dumps(unknown))


def test_the_outputs_lead_to_the_load_balancer(account: Emulated, created: dict[str, Any]):
    told = {each["OutputKey"]: each["OutputValue"] for each in created["Outputs"]}
    [balancer] = account.client("elbv2").describe_load_balancers()["LoadBalancers"]
    assert told["LoadBalancerDNS"] == balancer["DNSName"]
    assert told["ApplicationURL"] == f"http://{balancer['DNSName']}"
    assert told["SetupTime"] == "8-10 minutes"
    assert told["TransportSecurity"].startswith("WARNING")
    assert balancer["Scheme"] == "internet-facing"
    assert len(balancer["AvailabilityZones"]) == 2


def test_the_load_balancer_asks_for_readiness_and_forwards_to_tasks(account: Emulated, created: dict[str, Any]):
    entry = account.client("elbv2")
    [targets] = entry.describe_target_groups()["TargetGroups"]
    assert (targets["Port"], targets["TargetType"]) == (8080, "ip")
    assert (targets["HealthCheckPath"], targets["Matcher"]) == ("/health/ready", {"HttpCode": "200"})
    assert (targets["HealthCheckIntervalSeconds"], targets["HealthCheckTimeoutSeconds"]) == (30, 10)
    [listener] = entry.describe_listeners(LoadBalancerArn=targets["LoadBalancerArns"][0])["Listeners"]
    assert (listener["Port"], listener["DefaultActions"][0]["TargetGroupArn"]) == (80, targets["TargetGroupArn"])


def test_one_task_serves_and_is_replaced_alone(account: Emulated, created: dict[str, Any]):
    compute = account.client("ecs")
    [cluster] = compute.list_clusters()["clusterArns"]
    [name] = compute.list_services(cluster=cluster)["serviceArns"]
    [service] = compute.describe_services(cluster=cluster, services=[name])["services"]
    assert service["desiredCount"] == 1
    deployment = service["deploymentConfiguration"]
    assert (deployment["minimumHealthyPercent"], deployment["maximumPercent"]) == (0, 100)
    task = compute.describe_task_definition(taskDefinition=service["taskDefinition"])["taskDefinition"]
    assert (task["cpu"], task["memory"]) == ("1024", "2048")
    first, second = task["containerDefinitions"]
    assert (first["name"], first["command"]) == ("migration", ["db", "upgrade"])
    assert (second["name"], second["command"]) == ("api", ["serve"])
    assert first["image"] == second["image"] == ASKED["ImageUri"]
    [database] = account.client("rds").describe_db_instances()["DBInstances"]
    given = {each["name"]: each["value"] for each in second["environment"]}
    assert given["CAIO_DB_HOST"] == database["Endpoint"]["Address"]
    assert given["CAIO_TRUSTED_PROXIES"] == "10.0.1.0/24,10.0.2.0/24"


def test_the_database_is_private_and_encrypted(account: Emulated, created: dict[str, Any]):
    [database] = account.client("rds").describe_db_instances()["DBInstances"]
    assert database["DBInstanceClass"] == "db.t3.small"
    assert database["PubliclyAccessible"] is False
    assert database["StorageEncrypted"] is True
    subnets = {each["SubnetIdentifier"] for each in database["DBSubnetGroup"]["Subnets"]}
    known = account.client("ec2").describe_subnets(SubnetIds=sorted(subnets))["Subnets"]
    assert {each["CidrBlock"] for each in known} == {"10.0.10.0/24", "10.0.11.0/24"}


def test_the_secrets_are_made_and_differ(account: Emulated, created: dict[str, Any]):
    vault = account.client("secretsmanager")
    made = {
        name: value
        for each in vault.list_secrets()["SecretList"]
        for name, value in json.loads(vault.get_secret_value(SecretId=each["ARN"])["SecretString"]).items()
        if each["Name"].startswith(STACK)
    }
    assert set(made) == {"auth_secret_key", "signing_secret", "username", "password"}
    assert made["auth_secret_key"] != made["signing_secret"]
    assert min(len(made["auth_secret_key"]), len(made["signing_secret"])) >= 43


def test_http_is_let_in_from_the_named_network_alone(account: Emulated, created: dict[str, Any]):
    groups = account.client("ec2").describe_security_groups()["SecurityGroups"]
    let_in = {
        (rule["FromPort"], each["CidrIp"])
        for group in groups
        if group["GroupName"].startswith(STACK)
        for rule in group["IpPermissions"]
        for each in rule["IpRanges"]
    }
    assert let_in == {(80, ASKED["AllowedCidr"]), (443, ASKED["AllowedCidr"])}


def test_everything_is_gone_when_the_stack_is_deleted(account: Emulated, created: dict[str, Any]):
    formation = account.client("cloudformation")
    formation.delete_stack(StackName=STACK)
    until = time.monotonic() + SECONDS
    while time.monotonic() < until and account.client("rds").describe_db_instances()["DBInstances"]:
        time.sleep(0.5)
    assert not account.client("rds").describe_db_instances()["DBInstances"]
    assert not account.client("elbv2").describe_load_balancers()["LoadBalancers"]
    assert [each["Name"] for each in account.client("secretsmanager").list_secrets()["SecretList"]] == ["rds!db-1"]
