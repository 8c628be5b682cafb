"""The containers of the tasks are given what the container's contract says: these names, from these places."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import yaml

from tests.support.emulated_terraform import Planned
from tests.support.infra_tools import CONTAINER, LAST_SECONDS
from tests.support.terraform_resources import Resources

CONTRACT: dict[str, Any] = yaml.safe_load(CONTAINER.read_text())
# Names that only a service that serves requests needs; a worker listens for its operations alone.
API_ONLY = {"CAIO_API_HOST", "CAIO_API_PORT", "CAIO_CORS_ORIGINS", "CAIO_TRUSTED_PROXIES", "CAIO_PROCESSES"}
Container = Mapping[str, Any]


def wanted(role: str) -> tuple[set[str], set[str]]:
    """The plain names and the secret names that the contract gives a container."""
    part = "migration" if role == "migration" else "serving"
    plain, secret = CONTRACT["environment"], CONTRACT["secrets"]
    return {*plain["all"], *plain.get(part, [])}, {*secret["all"], *secret.get(part, [])}


def role_of(container: Container) -> str | None:
    """api, worker or migration by the command; None for a sidecar."""
    command = list(container.get("command") or [])
    roles = {tuple(words): role for role, words in CONTRACT["commands"].items()}
    return roles.get(tuple(command), "api" if container["name"] in {"api", "caio"} and not command else None)


def environment_mistakes(role: str, container: Container) -> list[str]:
    """Names that are missing or too many, secrets given in the clear, and values that are empty."""
    plain = {each["name"]: each["value"] for each in container.get("environment", [])}
    secret = {each["name"]: each["valueFrom"] for each in container.get("secrets", [])}
    names, secrets = wanted(role)
    must = names - (API_ONLY if role == "worker" else set())
    found = [f"{role} lacks {name}" for name in sorted(must - set(plain))]
    optional = set() if role == "migration" else {*CONTRACT["environment"]["optional"]}
    found += [f"{role} is given {name}, unknown to the contract" for name in sorted(set(plain) - names - optional)]
    found += [f"{role} lacks the secret {name}" for name in sorted(secrets - set(secret))]
    found += [f"{role} is given the secret {name}, which it does not need" for name in sorted(set(secret) - secrets)]
    found += [f"{name} is in the clear" for name in sorted(set(plain) & _all_secrets())]
    found += [f"{name} is in the clear" for name in plain if re.search(r"PASSWORD|SECRET|TOKEN$", name)]
    found += [
        f"{name} does not come from a secret store"
        for name, place in secret.items()
        if not re.match(r"arn:aws[\w-]*:(secretsmanager|ssm):", place)
    ]
    return found


def _all_secrets() -> set[str]:
    return {name for names in CONTRACT["secrets"].values() for name in names}


@pytest.fixture(scope="module")
def state(planned: Callable[[str], Planned]) -> Resources:
    applied = planned("staging").state
    assert applied is not None
    return Resources.of(applied)


@pytest.fixture(scope="module")
def containers(state: Resources) -> dict[str, Container]:
    """Our containers by role; each role once."""
    tasks = state.of_type("aws_ecs_task_definition")
    every = [container for task in tasks for container in json.loads(task["container_definitions"])]
    ours = {role: each for each in every if (role := role_of(each)) is not None}
    assert set(ours) == set(CONTRACT["commands"]), f"containers: {[each['name'] for each in every]}"
    return ours


def test_containers_are_given_what_the_contract_says(containers: dict[str, Container]):
    assert [mistake for role, each in containers.items() for mistake in environment_mistakes(role, each)] == []


def test_values_are_those_of_production_like_containers(containers: dict[str, Container], state: Resources):
    plain = {each["name"]: each["value"] for each in containers["api"]["environment"]}
    assert plain["CAIO_ENV"] in {"staging", "production"}
    assert plain["CAIO_API_PORT"] == str(CONTRACT["ports"]["api"])
    assert plain["CAIO_OPS_PORT"] == str(CONTRACT["ports"]["operations"])
    assert plain["CAIO_DB_SSLMODE"] in {"require", "verify-full"}
    assert re.fullmatch(r"rediss://[^@]+:6379/0", plain["CAIO_REDIS_URL"]), "TLS, and no password in the address"
    assert plain["CAIO_AUDIT_ORIGIN"]
    assert plain["CAIO_ANCHOR"]
    assert plain["CAIO_DB_HOST"] != ""
    assert plain["CAIO_EVENT_BUS"] in {each["name"] for each in state.of_type("aws_cloudwatch_event_bus")}


def test_containers_can_write_nowhere_else_and_are_nobody(containers: dict[str, Container]):
    for role, each in containers.items():
        assert each["readonlyRootFilesystem"] is True, role
        assert str(each.get("user", CONTRACT["user"])).split(":")[0] == str(CONTRACT["user"]), role
        assert not each.get("privileged"), role
        places = {mount["containerPath"] for mount in each.get("mountPoints", [])}
        assert {CONTRACT["data_directory"], "/tmp"} <= places, f"{role} cannot write where it must: {places}"


def test_streams_have_time_to_end(containers: dict[str, Container], state: Resources):
    for role in ("api", "worker"):
        assert containers[role]["stopTimeout"] == CONTRACT["stop_seconds"]
        plain = {each["name"]: each["value"] for each in containers[role]["environment"]}
        served = int(plain["CAIO_DRAIN_SECONDS"]) + int(plain["CAIO_GRACE_SECONDS"])
        assert served + LAST_SECONDS <= CONTRACT["stop_seconds"]
    for group in state.of_type("aws_lb_target_group"):
        assert int(group["deregistration_delay"]) >= 35, "shorter than the drain"
    assert state.one("aws_lb")["idle_timeout"] == 300


def test_images_are_named_for_good(containers: dict[str, Container]):
    images = {each["image"] for each in containers.values()}
    assert len(images) == 1, "one image, three commands"
    (image,) = images
    assert re.search(r"(@sha256:[0-9a-f]{64}|:[\w.-]+)$", image)
    assert not image.endswith(":latest")


def test_outputs_are_those_of_the_contract(planned: Callable[[str], Planned]):
    planned_outputs = planned("staging").plan["planned_values"]["outputs"]
    assert set(planned_outputs) == set(CONTRACT["outputs"])
    assert planned_outputs["db_endpoint"]["sensitive"] is True
    for name, output in planned_outputs.items():
        assert not re.search(r"password|token|BEGIN", json.dumps(output.get("value"))), name


# --- every check can fail --------------------------------------------------------------------------


def container(role: str) -> dict[str, Any]:
    plain, secret = wanted(role)
    return {
        "environment": [{"name": name, "value": "x"} for name in sorted(plain)],
        "secrets": [{"name": name, "valueFrom": "arn:aws:secretsmanager:r:1:secret:s"} for name in sorted(secret)],
    }


@pytest.mark.parametrize("role", ["api", "worker", "migration"])
def test_a_container_out_of_step_is_noticed(role):
    right = container(role)
    assert environment_mistakes(role, right) == []
    plain, secret = right["environment"], right["secrets"]
    leaked = {"name": "CAIO_DB_PASSWORD", "value": "x"}
    retired = {"environment": [*plain, {"name": "CAIO_RETIRED_SIGNING_KEYS", "value": "x"}]}
    assert (environment_mistakes(role, right | retired) == []) is (role != "migration")
    for wrong in (
        {"environment": [each for each in plain if each["name"] != "CAIO_DB_HOST"]},
        {"environment": [*plain, {"name": "CAIO_DB_HOSTS", "value": "x"}]},
        {"environment": [*plain, leaked]},
        {"secrets": secret[1:]},
        {"secrets": [*secret, {"name": "CAIO_OTHER", "valueFrom": secret[0]["valueFrom"]}]},
        {"secrets": [{**each, "valueFrom": "hunter2"} for each in secret]},
    ):
        assert environment_mistakes(role, right | wrong) != []
