"""The Helm chart: rendered by Helm's engine, held to Kubernetes' schemas and to the container's contract.

No cluster is asked: what a scheduler, a network plugin or an admission controller does with it is not known here.
"""

from __future__ import annotations

import functools
import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from caio._version import __version__
from tests.support.infra_tools import CONTAINER, INFRASTRUCTURE, LAST_SECONDS, ROOT, environment

CHART = INFRASTRUCTURE / "kubernetes" / "caio"
CONTRACT: dict[str, Any] = yaml.safe_load(CONTAINER.read_text())
SCHEMA: dict[str, Any] = json.loads((CHART / "values.schema.json").read_text())
VALUES: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text())

DIGEST = "sha256:" + "a" * 64
LEAST: dict[str, Any] = {
    "image": {"repository": "registry.example.com/caio"},
    "secrets": {"application": "caio", "migration": "caio-migration"},
    "config": {
        "CAIO_DB_HOST": "database.example.com",
        "CAIO_REDIS_URL": "rediss://cache.example.com:6379/0",
        "CAIO_AUDIT_ORIGIN": "caio.example.com",
        "CAIO_ANCHOR": "none",
    },
}


def with_(**changes: Any) -> dict[str, Any]:
    """The least values with further ones, a level deep."""
    return LEAST | {name: {**LEAST.get(name, {}), **value} for name, value in changes.items()}


def config(**changes: Any) -> dict[str, Any]:
    return with_(config=changes)


#: Every variable of the contract set, and every switch the other way.
SAID = {*LEAST["config"], "CAIO_ENV", "CAIO_DB_SSLMODE", "CAIO_DRAIN_SECONDS", "CAIO_GRACE_SECONDS"}
URLS = {"CAIO_OTLP_ENDPOINT": "http://collector:4318", "CAIO_REDIS_URL": "rediss://cache.example.com:6380/0"}
ALL_SET = {name: "x" for name in VALUES["config"] if name not in SAID} | URLS | {"CAIO_DB_PORT": "6432"}
RENDERED: dict[str, dict[str, Any]] = {
    "least": LEAST,
    "everything": {
        **config(**ALL_SET),
        "image": {**LEAST["image"], "digest": DIGEST, "tag": "v9", "pullSecrets": [{"name": "pull"}]},
        "autoscaling": {"enabled": False},
        "metrics": {"enabled": True, "from": [{"namespaceSelector": {"matchLabels": {"team": "metrics"}}}]},
        "serviceAccount": {"annotations": {"eks.amazonaws.com/role-arn": "arn:aws:iam::1:role/caio"}},
        "service": {"annotations": {"a": "b"}, "port": 8080},
        "podAnnotations": {"c": "d"},
        "nodeSelector": {"kubernetes.io/arch": "arm64"},
        "tolerations": [{"key": "spot", "operator": "Exists"}],
    },
    "no policies": with_(networkPolicy={"enabled": False}),
    "ports of their kind": {
        **config(
            CAIO_REDIS_URL="rediss://limits.example.com:6390/0",
            CAIO_CACHE_REDIS_URL="rediss://cache.example.com",
            CAIO_OTLP_ENDPOINT="https://traces.example.com/v1",
        ),
        "networkPolicy": {"egressPorts": [8443]},
    },
}
REFUSED: dict[str, dict[str, Any]] = {
    "no values": {},
    "the tag latest": with_(image={"tag": "latest"}),
    "a tag in the repository": with_(image={"repository": "registry.example.com/caio:v1"}),
    "no repository": with_(image={"repository": ""}),
    "a digest that is none": with_(image={"digest": "sha256:abc"}),
    "no secrets": with_(secrets={"application": ""}),
    "no database": config(CAIO_DB_HOST=""),
    "no Redis for several processes": config(CAIO_REDIS_URL=""),
    "a password in the URL": config(CAIO_REDIS_URL="rediss://:password@cache:6379"),
    "a password among values": config(CAIO_DB_PASSWORD="x"),
    "a signing secret among values": config(CAIO_SIGNING_SECRET="x"),
    "a key of AWS among values": config(AWS_SECRET_ACCESS_KEY="x"),
    "a port of its own": config(CAIO_API_PORT="1"),
    "no anchor": config(CAIO_ANCHOR=""),
    "a port of the database that is none": config(CAIO_DB_PORT="postgresql"),
    "a password in the address of a Redis": config(CAIO_CACHE_REDIS_URL="rediss://:x@cache.example.com"),
    "traces to no URL": config(CAIO_OTLP_ENDPOINT="collector:4318"),
    "an environment that is none": config(CAIO_ENV="prod"),
    "an unknown value": {**LEAST, "replicas": 3},
    "metrics for nobody": with_(metrics={"enabled": True, "from": []}),
    "callers that are nobody": with_(networkPolicy={"from": []}),
}


@functools.cache
def _rendered() -> dict[str, dict[str, Any]]:
    python = environment("chart") / "python"
    command = [str(python), str(ROOT / "tests" / "support" / "chart_rendering.py"), str(CHART)]
    asked = json.dumps(RENDERED | REFUSED)
    done = subprocess.run(command, input=asked, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, dict[str, Any]] = json.loads(done.stdout)
    return found


def manifests(name: str, kind: str) -> list[dict[str, Any]]:
    return [each for each in _rendered()[name]["manifests"] if each["kind"] == kind]


def pods(name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each pod of a rendering, by its component: api, worker, migration."""
    for each in manifests(name, "Deployment") + manifests(name, "Job"):
        template = each["spec"]["template"]
        yield template["metadata"]["labels"]["app.kubernetes.io/component"], template["spec"]


def variables(name: str, component: str) -> tuple[set[str], dict[str, str]]:
    """The variables that a component is given as values, and those from Secrets with the Secret's name."""
    container = dict(pods(name))[component]["containers"][0]
    plain = {each["name"] for each in container["env"] if "value" in each}
    secret = {each["name"]: each["valueFrom"]["secretKeyRef"] for each in container["env"] if "valueFrom" in each}
    assert all(reference["key"] == variable for variable, reference in secret.items())
    if "envFrom" in container:
        (settings,) = manifests(name, "ConfigMap")
        assert container["envFrom"] == [{"configMapRef": {"name": settings["metadata"]["name"]}}]
        plain |= set(settings["data"])
    return plain, {variable: reference["name"] for variable, reference in secret.items()}


def test_its_values_name_the_contracts_variables_and_no_others():
    told = {*CONTRACT["environment"]["all"], *CONTRACT["environment"]["serving"], *CONTRACT["environment"]["optional"]}
    its_own = {"CAIO_API_HOST", "CAIO_API_PORT", "CAIO_OPS_PORT", "CAIO_PROCESSES"}
    assert set(VALUES["config"]) == told - its_own
    assert its_own <= set(SCHEMA["properties"]["config"]["propertyNames"]["not"]["anyOf"][1]["enum"])


def test_its_values_hold_no_secret():
    assert VALUES["secrets"] == {"application": "", "migration": ""}
    secrets = {name for names in CONTRACT["secrets"].values() for name in names}
    assert not secrets & set(VALUES["config"])


def test_every_value_has_a_schema():
    assert set(VALUES) == set(SCHEMA["properties"]) - {"global"}
    for name, value in VALUES.items():
        inner = SCHEMA["properties"][name].get("properties")
        if isinstance(value, dict) and value and inner and name != "config":
            assert set(value) == set(inner), name


def test_its_versions_are_the_programs():
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["appVersion"] == __version__


@pytest.mark.infra
@pytest.mark.parametrize("name", RENDERED)
def test_it_renders_what_kubernetes_takes(name):
    found = _rendered()[name]
    assert "error" not in found
    assert found["problems"] == []
    assert len(found["manifests"]) > 6


@pytest.mark.infra
@pytest.mark.parametrize("name", REFUSED)
def test_it_refuses(name):
    assert "error" in _rendered()[name]


@pytest.mark.infra
def test_every_part_is_there():
    kinds = {each["kind"] for each in _rendered()["least"]["manifests"]}
    assert kinds == {
        "Deployment", "Job", "ConfigMap", "Service", "ServiceAccount", "PodDisruptionBudget", "HorizontalPodAutoscaler",
        "NetworkPolicy",
    }  # fmt: skip
    assert not [each for name in RENDERED for each in manifests(name, "Secret")]


@pytest.mark.infra
@pytest.mark.parametrize("component", ["api", "worker"])
def test_what_serves_is_given_the_contracts_environment(component):
    plain, secret = variables("everything", component)
    stated = CONTRACT["environment"]
    assert plain == {*stated["all"], *stated["serving"], *stated["optional"], "CAIO_OPS_HOST"}
    assert secret == dict.fromkeys([*CONTRACT["secrets"]["all"], *CONTRACT["secrets"]["serving"]], "caio")
    assert "CAIO_OPS_HOST" not in variables("least", component)[0], "loopback's alone unless metrics are scraped"


@pytest.mark.infra
def test_the_migration_is_given_the_contracts_environment():
    plain, secret = variables("everything", "migration")
    assert plain == set(CONTRACT["environment"]["all"])
    assert secret == dict.fromkeys(CONTRACT["secrets"]["all"], "caio") | dict.fromkeys(
        CONTRACT["secrets"]["migration"], "caio-migration"
    )


@pytest.mark.infra
@pytest.mark.parametrize("name", RENDERED)
def test_commands_are_the_contracts(name):
    found = {component: pod["containers"][0]["args"] for component, pod in pods(name)}
    assert found == CONTRACT["commands"]


@pytest.mark.infra
@pytest.mark.parametrize("name", RENDERED)
def test_pods_may_do_no_more_than_they_need(name):
    for component, pod in pods(name):
        assert pod["automountServiceAccountToken"] is False
        assert pod["enableServiceLinks"] is False
        security = pod["securityContext"]
        assert (security["runAsNonRoot"], security["runAsUser"]) == (True, CONTRACT["user"])
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}
        (container,) = pod["containers"]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "privileged": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert {mount["mountPath"] for mount in container["volumeMounts"]} == {CONTRACT["data_directory"], "/tmp"}
        assert all(set(volume) == {"name", "emptyDir"} for volume in pod["volumes"])
        assert container["resources"]["limits"]["memory"] == container["resources"]["requests"]["memory"], component


@pytest.mark.infra
def test_probes_ask_the_right_port_the_right_question():
    containers = {component: pod["containers"][0] for component, pod in pods("least")}
    ports = {each["name"]: each["containerPort"] for each in containers["api"]["ports"]}
    assert ports == CONTRACT["ports"]
    for probe, path in (("livenessProbe", "live"), ("startupProbe", "live"), ("readinessProbe", "ready")):
        assert containers["api"][probe]["httpGet"] == {"path": f"/health/{path}", "port": "api"}
        assert containers["worker"][probe]["exec"]["command"] == ["healthcheck", f"/health/{path}"]
    assert "livenessProbe" not in containers["migration"]


@pytest.mark.infra
def test_a_pod_drains_in_the_time_it_has():
    for component, pod in pods("least"):
        if component != "migration":
            assert pod["terminationGracePeriodSeconds"] == CONTRACT["stop_seconds"]
    probe = dict(pods("least"))["api"]["containers"][0]["readinessProbe"]
    drain = int(VALUES["config"]["CAIO_DRAIN_SECONDS"])
    assert probe["periodSeconds"] * probe["failureThreshold"] < drain < CONTRACT["stop_seconds"] / 2
    assert drain + int(VALUES["config"]["CAIO_GRACE_SECONDS"]) + LAST_SECONDS <= CONTRACT["stop_seconds"]


@pytest.mark.infra
def test_the_database_is_migrated_before_anything_changes():
    (job,) = manifests("least", "Job")
    hooks = job["metadata"]["annotations"]
    assert hooks["helm.sh/hook"] == "pre-install,pre-upgrade"
    assert "hook-failed" not in hooks["helm.sh/hook-delete-policy"], "a failed one is kept, with its log"
    spec = job["spec"]["template"]["spec"]
    assert "envFrom" not in spec["containers"][0], "the release's ConfigMap is not there yet"
    assert "serviceAccountName" not in spec, "nor is its account"


@pytest.mark.infra
@pytest.mark.parametrize("name", ["least", "everything"])
def test_selectors_find_their_own_pods_and_no_others(name):
    labels = {
        each["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/component"]: each["spec"]["template"][
            "metadata"
        ]["labels"]
        for each in manifests(name, "Deployment") + manifests(name, "Job")
    }

    def chosen(selector: dict[str, str]) -> list[str]:
        return [component for component, held in labels.items() if selector.items() <= held.items()]

    (service,) = manifests(name, "Service")
    assert chosen(service["spec"]["selector"]) == ["api"]
    for each in manifests(name, "Deployment"):
        component = each["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/component"]
        assert chosen(each["spec"]["selector"]["matchLabels"]) == [component]
    budgets = [chosen(each["spec"]["selector"]["matchLabels"]) for each in manifests(name, "PodDisruptionBudget")]
    assert budgets == [["api"], ["worker"]]
    policies = [chosen(each["spec"]["podSelector"]["matchLabels"]) for each in manifests(name, "NetworkPolicy")]
    assert policies == [["api"], ["worker"], ["migration"]]


@pytest.mark.infra
def test_nobody_reaches_what_they_need_not():
    least = {each["metadata"]["name"]: each["spec"] for each in manifests("least", "NetworkPolicy")}
    assert [[port["port"] for port in rule["ports"]] for rule in least["prod-caio-api"]["ingress"]] == [[8080]]
    assert "ingress" not in least["prod-caio-worker"]
    assert "ingress" not in least["prod-caio-migration"]
    assert all(set(spec["policyTypes"]) == {"Ingress", "Egress"} for spec in least.values())
    scraped = {each["metadata"]["name"]: each["spec"] for each in manifests("everything", "NetworkPolicy")}
    for name in ("prod-caio-api", "prod-caio-worker"):
        rule = scraped[name]["ingress"][-1]
        assert [port["port"] for port in rule["ports"]] == [9090]
        assert rule["from"] == RENDERED["everything"]["metrics"]["from"]


@pytest.mark.infra
@pytest.mark.parametrize(
    ("name", "ports"),
    [
        ("least", {443, 5432, 6379}),
        ("everything", {443, 6432, 6380, 4318}),
        ("ports of their kind", {443, 5432, 6390, 6379, 8443}),
    ],
)
def test_the_way_out_leads_to_the_ports_that_are_configured(name, ports):
    for policy in manifests(name, "NetworkPolicy"):
        (rule,) = policy["spec"]["egress"]
        open_ = [(port["port"], port["protocol"]) for port in rule["ports"]]
        assert sorted(open_) == sorted([(53, "UDP"), (53, "TCP"), *((port, "TCP") for port in ports)])


@pytest.mark.infra
def test_the_autoscaler_alone_decides_how_many_where_it_is_on():
    (scaler,) = manifests("least", "HorizontalPodAutoscaler")
    api = next(each for each in manifests("least", "Deployment") if each["metadata"]["name"].endswith("-api"))
    assert scaler["spec"]["scaleTargetRef"]["name"] == api["metadata"]["name"]
    assert "replicas" not in api["spec"]
    behavior = scaler["spec"]["behavior"]
    assert behavior["scaleDown"]["stabilizationWindowSeconds"] > behavior["scaleUp"]["stabilizationWindowSeconds"]
    assert manifests("everything", "HorizontalPodAutoscaler") == []
    assert all("replicas" in each["spec"] for each in manifests("everything", "Deployment"))


@pytest.mark.infra
def test_all_processes_that_may_run_at_once_are_counted():
    (settings,) = manifests("least", "ConfigMap")
    surge = 2
    most = VALUES["autoscaling"]["maxReplicas"] + VALUES["worker"]["replicas"] + surge
    assert settings["data"]["CAIO_PROCESSES"] == str(most)


@pytest.mark.infra
def test_a_digest_goes_before_a_tag_and_the_version_is_the_default():
    images = {name: {pod["containers"][0]["image"] for _, pod in pods(name)} for name in RENDERED}
    assert images["everything"] == {f"registry.example.com/caio@{DIGEST}"}
    assert images["least"] == {f"registry.example.com/caio:v{__version__}"}
