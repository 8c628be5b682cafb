"""Every policy that a role carries says what AWS understands, and no more than is needed.

parliament judges each document: unknown actions, resources that an action cannot apply to, conditions without effect.
What it does not judge is asserted here: no `*` where a resource can be named, and secrets by name.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from tests.support.emulated_terraform import Planned
from tests.support.infra_tools import environment
from tests.support.terraform_resources import Resources

JUDGE = """
import json, sys
import parliament

found = []
for name, text in json.load(sys.stdin).items():
    for each in parliament.analyze_policy_string(text).findings:
        found.append([name, each.issue, str(each.detail)])
print(json.dumps(found))
"""
# Findings that are known to be wrong, by (the end of the address, issue, part of the detail): the reason.
EXPLAINED: Mapping[tuple[str, str, str], str] = {}


def findings(policies: Mapping[str, str]) -> list[tuple[str, str, str]]:
    """What parliament finds: (policy, issue, detail). Statements on a resource name no resource of their own kind."""
    done = subprocess.run(
        [environment("checkov") / "python", "-W", "ignore", "-c", JUDGE],
        input=json.dumps(policies),
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return [(name, issue, detail) for name, issue, detail in json.loads(done.stdout)]


def policies_of_roles(state: Resources) -> dict[str, str]:
    """The documents attached to roles, by address."""
    kinds = ("aws_iam_policy", "aws_iam_role_policy", "aws_iam_user_policy", "aws_iam_group_policy")
    return {each.address: each["policy"] for each in state.of_type(*kinds)}


def statements(policies: Mapping[str, str]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for name, text in policies.items():
        found = json.loads(text)["Statement"]
        yield from ((name, each) for each in (found if isinstance(found, list) else [found]))


def listed(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value or [])


@pytest.fixture(scope="module")
def policies(planned: Callable[[str], Planned]) -> dict[str, str]:
    applied = planned("staging").state
    assert applied is not None
    return policies_of_roles(Resources.of(applied))


def test_parliament_finds_nothing(policies: dict[str, str]):
    assert len(policies) >= 3
    found = findings(policies)
    unexplained = [
        each
        for each in found
        if not any(each[0].endswith(end) and each[1] == issue and part in each[2] for end, issue, part in EXPLAINED)
    ]
    assert unexplained == []
    assert len([each for each in found if each not in unexplained]) >= len(EXPLAINED), "an explanation explains nothing"


def broad(policies: Mapping[str, str]) -> list[str]:
    """Statements that allow a service whole, or read secrets, keys and objects wherever they are."""
    found = []
    for name, each in statements(policies):
        if each["Effect"] != "Allow":
            continue
        actions, resources = listed(each.get("Action")), listed(each.get("Resource"))
        found += [f"{name} allows {action}" for action in actions if action == "*" or action.endswith(":*")]
        found += [f"{name} allows all but some" for word in ("NotAction", "NotResource") if word in each]
        named = ("secretsmanager:Get", "kms:", "s3:", "dynamodb:", "sqs:", "events:Put", "iam:PassRole")
        if "*" in resources and "Condition" not in each:
            found += [f"{name} allows {action} everywhere" for action in actions if action.startswith(named)]
    return found


def test_no_policy_is_broad(policies: dict[str, str]):
    assert broad(policies) == []


def test_the_execution_role_reads_exactly_the_tasks_secrets(planned: Callable[[str], Planned]):
    applied = planned("staging").state
    assert applied is not None
    state = Resources.of(applied)
    tasks = state.of_type("aws_ecs_task_definition")
    containers = [container for task in tasks for container in json.loads(task["container_definitions"])]
    used = {secret["valueFrom"].split(":")[6] for each in containers for secret in each.get("secrets", [])}
    execution = {task["execution_role_arn"].rsplit("/", 1)[-1] for task in tasks}
    readable = set()
    for policy in state.of_type("aws_iam_role_policy"):
        if policy["role"] in execution:
            for each in json.loads(policy["policy"])["Statement"]:
                if "secretsmanager:GetSecretValue" in listed(each["Action"]):
                    readable |= {arn.split(":")[6] for arn in listed(each["Resource"])}
    assert used
    assert readable == used


def document(**changes: Any) -> dict[str, str]:
    right = {"Effect": "Allow", "Action": ["s3:GetObject"], "Resource": ["arn:aws:s3:::artifacts/*"]}
    return {"policy": json.dumps({"Version": "2012-10-17", "Statement": [right | changes]})}


WRONG = [
    {"Action": ["s3:GetObjects"]},
    {"Action": ["s3:ListBucket"], "Resource": ["arn:aws:s3:::artifacts/*"]},
    {"Condition": {"StringEquals": {"s3:NoSuchKey": "x"}}},
]


@pytest.mark.infra
@pytest.mark.parametrize("wrong", WRONG)
def test_parliament_notices_a_mistake(wrong):
    assert findings(document()) == []
    assert findings(document(**wrong)) != []


@pytest.mark.parametrize(
    "wrong",
    [{"Action": "*"}, {"Action": "s3:*"}, {"Resource": "*"}, {"NotAction": ["s3:GetObject"]}],
)
def test_a_broad_policy_is_noticed(wrong):
    assert broad(document()) == []
    assert broad(document(**wrong)) != []
