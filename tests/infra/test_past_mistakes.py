"""Mistakes that deployments of this kind have made, one test each; and each test is shown to notice its mistake.

Those that need what Terraform would make ask for a plan, and are slow; the others read the sources.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.support import delivery_rules as delivery
from tests.support import terraform_rules as rules
from tests.support.emulated_terraform import Planned
from tests.support.infra_tools import ENVIRONMENTS, INFRASTRUCTURE, MODULES, ROOT
from tests.support.terraform_graph import graph_of
from tests.support.terraform_resources import Resource, Resources
from tests.support.terraform_sources import Sources, wiring_mistakes
from tests.support.terraform_verdicts import (
    alarm_mistakes,
    impatient_queues,
    incomplete_buckets,
    keys_that_lock_out_logs,
    unheard_topics,
)

NAMES = ("dev", "staging", "production")
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.y*ml"))
HEALTH_CHECK = ROOT / "container" / "healthcheck.py"


def operating_texts() -> dict[str, str]:
    """Everything that builds, deploys or operates: by path, without what is generated."""
    places = [ROOT / ".github", INFRASTRUCTURE, ROOT / "container"]
    files = [path for place in places if place.is_dir() for path in place.rglob("*") if path.is_file()]
    files += [ROOT / name for name in ("Dockerfile", "compose.yaml", "Makefile")]
    ours = (".tf", ".yml", ".yaml", ".py", ".sh", ".md", ".json", ".example", "")
    skipped = {".terraform", "tools", "node_modules", "cdk.out", "__pycache__"}
    kept = [path for path in files if path.suffix in ours and not skipped & set(path.parts)]
    return {path.relative_to(ROOT).as_posix(): path.read_text() for path in sorted(kept)}


def everywhere(rule: Callable[[str], list[str]], *, beneath: tuple[str, ...] = ("",)) -> list[str]:
    """What a rule finds in every text below these folders."""
    texts = {path: text for path, text in operating_texts().items() if path.startswith(beneath)}
    texts = {path: text for path, text in texts.items() if not path.endswith(".md")}  # prose names what it warns of
    assert texts
    return [f"{path}: {mistake}" for path, text in texts.items() for mistake in rule(text)]


@pytest.fixture(scope="module")
def state(planned: Callable[[str], Planned]) -> Resources:
    applied = planned("staging").state
    assert applied is not None
    return Resources.of(applied)


# --- the database and its secret need each other ------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_nothing_waits_for_itself(name):
    graph = graph_of(Sources.read(ENVIRONMENTS / name))
    assert len(graph.needs) > 100, "the graph reaches the modules"
    assert graph.circle() == []


CIRCLE = """
resource "aws_db_instance" "this" {
  password = jsondecode(aws_secretsmanager_secret_version.login.secret_string)["password"]
}
resource "aws_secretsmanager_secret_version" "login" {
  secret_string = jsonencode({ password = var.password, host = local.host })
}
locals {
  host = aws_db_instance.this.address
}
"""


def test_a_circle_is_noticed():
    assert len(graph_of(Sources.of({"main.tf": CIRCLE})).circle()) == 4
    apart = CIRCLE.replace("aws_db_instance.this.address", '"db.internal"')
    assert graph_of(Sources.of({"main.tf": apart})).circle() == []


# --- undeclared variables; one state for all environments ---------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_every_name_is_declared(name):
    assert wiring_mistakes(Sources.read(ENVIRONMENTS / name)) == []
    assert wiring_mistakes(Sources.of({"main.tf": 'locals {\n  a = var.region\n}\noutput "a" {\n  value = local.a\n}'}))


def test_no_two_environments_share_a_state():
    assert rules.state_keys({name: Sources.read(ENVIRONMENTS / name) for name in NAMES}) == []
    shared = Sources.of({"b.tf": 'terraform {\n  backend "s3" {\n    key = "caio/terraform.tfstate"\n  }\n}'})
    assert "staging shares its state with dev" in rules.state_keys({"dev": shared, "staging": shared})


# --- a certificate that nobody validates ----------------------------------------------------------------


def unvalidated_listeners(sources: Sources) -> list[str]:
    """HTTPS listeners that do not wait for their certificate to be issued."""
    graph = graph_of(sources)
    listeners = [block for block in sources.resources("aws_lb_listener") if "certificate_arn" in block.body]
    return [
        listener.address
        for listener in listeners
        if sources.resources("aws_acm_certificate")
        and not any("aws_acm_certificate_validation" in each for each in graph.reached(f":{listener.address}"))
    ]


def test_certificates_are_validated_before_they_serve():
    sources = Sources.read(MODULES / "alb")
    assert sources.resources("aws_acm_certificate_validation")
    assert unvalidated_listeners(sources) == []
    listener = 'resource "aws_lb_listener" "https" {\n  certificate_arn = aws_acm_certificate.this.arn\n}\n'
    certificate = 'resource "aws_acm_certificate" "this" {\n  domain_name = "x"\n}\n'
    assert unvalidated_listeners(Sources.of({"main.tf": listener + certificate})) == ["aws_lb_listener.https"]


# --- a listener on 80 that nobody reaches -----------------------------------------------------------------


def unreachable_listeners(sources: Sources) -> set[str]:
    """Ports that a listener waits on and no rule lets anybody in to."""
    waiting = {str(block.body.get("port")) for block in sources.resources("aws_lb_listener")}
    rules_in = sources.resources("aws_vpc_security_group_ingress_rule")
    open_ = {str(block.body.get("from_port")) for block in rules_in}
    inline = [rule for group in sources.resources("aws_security_group") for rule in group.body.get("ingress", [])]
    return waiting - open_ - {str(rule.get("from_port")) for rule in inline}


def test_every_listener_can_be_reached():
    sources = Sources.read(MODULES / "alb")
    assert {"80", "443"} <= {str(block.body.get("port")) for block in sources.resources("aws_lb_listener")}
    assert unreachable_listeners(sources) == set()
    alone = 'resource "aws_lb_listener" "http" {\n  port = 80\n}\n'
    group = 'resource "aws_security_group" "alb" {\n  ingress {\n    from_port = 443\n  }\n}\n'
    assert unreachable_listeners(Sources.of({"main.tf": alone + group})) == {"80"}


# --- alarms that never ring -------------------------------------------------------------------------------


def alarm(**values: Any) -> Resource:
    right = {"namespace": "AWS/RDS", "metric_name": "CPUUtilization", "statistic": "Average", "alarm_name": "cpu"}
    return Resource(
        "alarm", "aws_cloudwatch_metric_alarm", right | {"dimensions": {"DBInstanceIdentifier": "db"}} | values
    )


def test_alarms_name_real_metrics_with_their_dimensions_and_percentiles(state: Resources):
    alarms = state.of_type("aws_cloudwatch_metric_alarm")
    assert alarms
    assert [mistake for each in alarms for mistake in alarm_mistakes(each)] == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"metric_name": "CPUUtilisation"},
        {"dimensions": {}},
        {"dimensions": {"DBInstance": "db"}},
        {
            "alarm_name": "p95 of responses",
            "namespace": "AWS/ApplicationELB",
            "metric_name": "TargetResponseTime",
            "dimensions": {"LoadBalancer": "x"},
        },
    ],
    ids=["misspelt", "no dimension", "another dimension", "p95 of an average"],
)
def test_an_alarm_that_never_rings_is_noticed(wrong):
    assert alarm_mistakes(alarm()) == []
    assert alarm_mistakes(alarm(**wrong)) != []


def test_every_topic_is_heard(state: Resources):
    assert state.of_type("aws_sns_topic")
    assert unheard_topics(state) == []


def test_an_unheard_topic_is_noticed():
    topics = tuple(Resource(arn, "aws_sns_topic", {"arn": arn}) for arn in ("a", "b"))
    heard = Resource("s", "aws_sns_topic_subscription", {"topic_arn": "a"})
    assert unheard_topics(Resources((*topics, heard), {})) == ["b"]


# --- a canary that asks for what is not served --------------------------------------------------------------

OPENAPI = json.loads((ROOT / "schemas" / "openapi.json").read_text())


def test_the_canary_asks_for_what_is_served():
    source = (MODULES / "canary" / "src" / "canary.py").read_text()
    assert len(delivery.paths_called(source)) >= 3
    assert delivery.unknown_paths(source, OPENAPI) == []


def test_a_canary_that_asks_for_nothing_real_is_noticed():
    source = 'ask("/health/ready")\nask("/api/v1/orchestrations")\nask(f"/api/v1/decisions/{n}/receipt")\n'
    assert delivery.unknown_paths(source, OPENAPI) == ["/api/v1/orchestrations"]


# --- a health check that passes on 503, or needs a package that is absent ------------------------------------


@contextmanager
def answering(status: int) -> Iterator[int]:
    """The port of a server that answers this status to everything."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def health(port: int, script: Path) -> int:
    """What the image's health check says, run by an interpreter without any package."""
    surroundings = {"PATH": os.environ["PATH"], "CAIO_OPS_PORT": str(port)}
    command = [sys.executable, "-ISB", str(script)]
    return subprocess.run(command, env=surroundings, capture_output=True, timeout=30, check=False).returncode


@pytest.mark.parametrize(("status", "healthy"), [(200, True), (503, False), (500, False), (404, False)])
def test_the_health_check_passes_on_200_alone_and_needs_no_package(status, healthy):
    with answering(status) as port:
        assert (health(port, HEALTH_CHECK) == 0) is healthy


def test_a_health_check_that_passes_on_503_or_needs_a_package_is_noticed(tmp_path):
    lenient, needy = tmp_path / "lenient.py", tmp_path / "needy.py"
    lenient.write_text(
        "import http.client, os\n"
        "c = http.client.HTTPConnection('127.0.0.1', int(os.environ['CAIO_OPS_PORT']))\n"
        "c.request('GET', '/health/ready')\nc.getresponse()\n"
    )
    needy.write_text("import httpx2\n")
    with answering(503) as port:
        assert health(port, lenient) == 0
    with answering(200) as port:
        assert health(port, needy) != 0


# --- images and workflows -------------------------------------------------------------------------------------


def test_no_image_is_named_by_a_tag_that_moves():
    assert everywhere(delivery.moving_tags) == []
    assert delivery.moving_tags("image: caio:latest") == ["image: caio:latest"]


def test_tests_do_not_run_where_they_are_not():
    assert everywhere(delivery.tests_in_the_image) == []
    assert "tests" in (ROOT / ".dockerignore").read_text() or "*" in (ROOT / ".dockerignore").read_text().split()
    assert delivery.tests_in_the_image("run: docker run caio pytest tests") != []


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_scan_before_they_push_and_hold_no_keys(workflow):
    text = workflow.read_text()
    assert delivery.pushes_before_scans(text) == []
    assert delivery.long_lived_keys(text) == []


def test_something_is_deployed_by_a_workflow():
    texts = [path.read_text() for path in WORKFLOWS]
    assert any(delivery.PUSH.search(text) for text in texts), "no workflow pushes an image"
    assert any("role-to-assume" in text for text in texts), "no workflow takes on a role"


PUSHING = """
jobs:
  image:
    permissions:
      id-token: write
    steps:
      - uses: aws-actions/configure-aws-credentials@v5
        with:
          role-to-assume: arn:aws:iam::1:role/deploy
      - run: trivy image caio
      - run: docker push caio
"""


def test_a_push_before_the_scan_and_a_long_lived_key_are_noticed():
    assert delivery.pushes_before_scans(PUSHING) == []
    assert delivery.long_lived_keys(PUSHING) == []
    turned = PUSHING.replace("trivy image", "x").replace(
        "docker push caio", "docker push caio\n      - run: trivy image caio"
    )
    assert delivery.pushes_before_scans(turned) == ["image pushes before it scans"]
    assert delivery.long_lived_keys(
        PUSHING.replace("role-to-assume: arn:aws:iam::1:role/deploy", "aws-access-key-id: x")
    )
    assert delivery.long_lived_keys(PUSHING.replace("id-token: write", "contents: read")) == [
        "image may ask for no token"
    ]


def test_the_smoke_test_asks_by_a_name_that_the_certificate_covers():
    assert everywhere(delivery.smoke_by_an_uncovered_name, beneath=(".github", "infrastructure", "Makefile")) == []
    assert delivery.smoke_by_an_uncovered_name("caio ops smoke https://$(terraform output -raw alb_dns_name)") != []


def test_nothing_is_deployed_twice():
    assert everywhere(delivery.forced_deployments, beneath=(".github", "infrastructure")) == []
    assert delivery.forced_deployments("aws ecs update-service --force-new-deployment") != []


def test_scaling_in_an_emergency_keeps_the_variables():
    assert everywhere(delivery.changes_without_variables, beneath=("infrastructure/aws/", ".github")) == []
    assert delivery.changes_without_variables("terraform apply -var min_capacity=20") != []
    assert delivery.changes_without_variables("terraform apply -auto-approve -var-file=a.tfvars") != []
    assert delivery.changes_without_variables("terraform apply -input=false caio.tfplan") == []


# --- a call to CloudWatch on each request -----------------------------------------------------------------------


def metric_calls(source: str) -> list[str]:
    """Lines that call CloudWatch itself instead of writing embedded metrics to the log."""
    calls = ("put_metric_data", '"cloudwatch"', "'cloudwatch'", "put_log_events", "monitoring.amazonaws")
    return [line.strip() for line in source.splitlines() if any(call in line for call in calls)]


def test_no_request_waits_for_cloudwatch():
    sources = {path: path.read_text() for path in (ROOT / "src").rglob("*.py")}
    assert [f"{path.name}: {line}" for path, text in sources.items() for line in metric_calls(text)] == []
    assert metric_calls('session.create_client("cloudwatch")') != []


# --- one bucket of three; queues; keys; the autoscaler ------------------------------------------------------------


def test_no_bucket_is_forgotten(state: Resources):
    assert len(state.of_type("aws_s3_bucket")) >= 4
    assert incomplete_buckets(state) == []


def test_a_forgotten_bucket_is_noticed():
    buckets = tuple(Resource(name, "aws_s3_bucket", {"bucket": name}) for name in ("a", "b", "c"))
    rule = Resource("r", "aws_s3_bucket_lifecycle_configuration", {"bucket": "a"})
    found = incomplete_buckets(Resources((*buckets, rule), {}))
    assert "b has no aws_s3_bucket_lifecycle_configuration" in found
    assert "a has no aws_s3_bucket_lifecycle_configuration" not in found


def test_no_message_comes_back_while_it_is_handled(state: Resources):
    assert impatient_queues(state) == []


def test_an_impatient_queue_is_noticed():
    def world(visibility: int) -> Resources:
        queue = Resource("q", "aws_sqs_queue", {"arn": "q", "visibility_timeout_seconds": visibility})
        handler = Resource("f", "aws_lambda_function", {"arn": "f", "timeout": 60})
        mapping = {"event_source_arn": "q", "function_name": "f"}
        return Resources((queue, handler, Resource("m", "aws_lambda_event_source_mapping", mapping)), {})

    assert impatient_queues(world(360)) == []
    assert impatient_queues(world(60)) != []


def test_logs_can_write_under_their_key(state: Resources):
    assert state.of_type("aws_kms_key")
    assert keys_that_lock_out_logs(state) == []


def test_a_key_that_locks_out_logs_is_noticed():
    def world(*statements: dict[str, Any]) -> Resources:
        policy = json.dumps({"Statement": list(statements)})
        key = Resource("k", "aws_kms_key", {"arn": "k", "policy": policy})
        return Resources((key, Resource("g", "aws_cloudwatch_log_group", {"kms_key_id": "k"})), {})

    owner = {"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::1:root"}, "Action": "kms:*"}
    logs = {
        "Effect": "Allow",
        "Principal": {"Service": "logs.us-east-1.amazonaws.com"},
        "Action": ["kms:Encrypt", "kms:Decrypt", "kms:GenerateDataKey*", "kms:DescribeKey"],
    }
    assert keys_that_lock_out_logs(world(owner, logs)) == []
    assert len(keys_that_lock_out_logs(world(owner))) == 4
    assert keys_that_lock_out_logs(world(logs)) == ["k can never be changed again"]


def fights_the_autoscaler(sources: Sources) -> list[str]:
    """Services whose number of tasks Terraform would set back to the number it was made with."""
    found = []
    for block in sources.resources("aws_ecs_service"):
        ignored = [name for each in block.body.get("lifecycle", []) for name in each.get("ignore_changes", [])]
        if "desired_count" in block.body and "desired_count" not in ignored:
            found.append(block.address)
    return found


def test_the_number_of_tasks_is_the_autoscalers():
    sources = Sources.read(MODULES / "ecs_service")
    assert sources.resources("aws_ecs_service")
    assert sources.resources("aws_appautoscaling_target")
    assert fights_the_autoscaler(sources) == []
    service = (
        'resource "aws_ecs_service" "api" {\n  desired_count = 2\n  lifecycle {\n    ignore_changes = [tags]\n  }\n}'
    )
    assert fights_the_autoscaler(Sources.of({"main.tf": service})) == ["aws_ecs_service.api"]


# --- recovery that nobody drilled -----------------------------------------------------------------------------------


def test_recovery_is_not_claimed_where_it_was_not_drilled():
    pages = {path: path.read_text() for path in (ROOT / "docs").rglob("*.md")}
    found = {path.name: delivery.undrilled_claims(text) for path, text in pages.items()}
    assert {name: mistakes for name, mistakes in found.items() if mistakes} == {}
    assert delivery.undrilled_claims("We recover within RTO 15 minutes.") != []
    assert delivery.undrilled_claims("RTO 15 minutes is an objective: no restore was ever drilled.") == []
