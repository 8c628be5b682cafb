"""The CDK application as a whole: it synthesises anywhere, always to the same, and AWS's own rules have no more to say.

Laws
----
- synthesis_needs_no_account: no credentials, no look-ups, nothing uploaded.
- every_finding_is_explained_and_every_explanation_has_its_finding, in production and outside of it.
- two_syntheses_are_the_same_to_the_byte.
- what_is_published_is_what_is_synthesised.
- no_template_has_a_fault_that_cfn_lint_knows.
- a_wrong_context_is_refused_in_a_sentence.
- a_new_account_has_enough: none of Lambda's concurrency is reserved, of which new accounts have ten and may give none.
- an_outage_burns_the_error_budget: what the load balancer answers itself, with no task ready, counts as failed.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.cdk_synthesis import FULL, PUBLISHED, QUICK_START, run_cdk, synthesised, template
from tests.support.infra_tools import environment

pytestmark = pytest.mark.infra

#: Synthesises with nothing acknowledged, and prints what was found and what is accepted as lists of [path, rule].
_FINDINGS = """
import json, pathlib, sys
from caio_cdk.application import application
from caio_cdk.deployment import read
from caio_cdk.findings import accepted, check

app = application()
table = sorted({(each.path, each.rule) for each in accepted(read(app.node).profile)})
check(app, ())
try:
    app.synth()
except Exception as refused:
    print(refused, file=sys.stderr)
report = json.loads(pathlib.Path(app.outdir, "validation-report.json").read_text())
prefix = {"AwsSolutions": "", "CloudFormation Validate": "CloudFormation-Validate::"}
found = sorted({
    (construct["constructPath"], prefix[plugin["pluginName"]] + violation["ruleName"])
    for plugin in report["pluginReports"]
    for violation in plugin["violations"]
    for construct in violation["violatingConstructs"]
})
print(json.dumps([found, table]))
"""


#: What each context is answered with.
_REFUSALS = """
import json, sys
import aws_cdk as cdk
from caio_cdk.deployment import read

said = []
for context in json.loads(sys.argv[1]):
    try:
        read(cdk.App(context=context).node)
        said.append("accepted")
    except ValueError as refused:
        said.append(str(refused))
print(json.dumps(said))
"""


@dataclass(frozen=True)
class Unexplained:
    """A synthesis in which nothing was acknowledged: its assembly, what was found, and what is accepted."""

    assembly: Path
    found: list[list[str]]
    table: list[list[str]]


@pytest.fixture(scope="module")
def production(shared_folder: Path) -> Path:
    return synthesised(shared_folder, "production")[0]


@pytest.fixture(scope="module")
def unexplained(shared_folder: Path) -> Callable[[str], Unexplained]:
    def synthesise(name: str) -> Unexplained:
        folder, printed = synthesised(shared_folder, f"unexplained-{name}", {"environment": name}, ("-c", _FINDINGS))
        return Unexplained(folder, *json.loads(printed.splitlines()[-1]))

    return synthesise


def test_synthesis_needs_no_account(production: Path):
    for stack in (*FULL, QUICK_START):
        said = json.loads((production / "manifest.json").read_text())
        assert said["artifacts"][stack]["environment"] == "aws://unknown-account/unknown-region"
        assert "missing" not in said, "nothing is looked up"
        resources = template(production, stack)["Resources"]
        assert not [name for name in resources if name.startswith("Custom")], "nothing is uploaded"
    assert "BootstrapVersion" not in template(production, QUICK_START)["Parameters"]


@pytest.mark.parametrize("name", ["production", "staging"])
def test_every_finding_is_explained_and_every_explanation_has_its_finding(
    name: str, unexplained: Callable[[str], Unexplained]
):
    synthesis = unexplained(name)
    assert synthesis.found == synthesis.table


def test_two_syntheses_are_the_same_to_the_byte(production: Path, unexplained: Callable[[str], Unexplained]):
    for stack in (*FULL, QUICK_START):
        name = f"{stack}.template.json"
        assert (unexplained("production").assembly / name).read_bytes() == (production / name).read_bytes()


def test_what_is_published_is_what_is_synthesised(production: Path):
    published = json.loads(PUBLISHED.read_text())
    assert published == template(production, QUICK_START), "run infrastructure/aws/cdk/publish_quickstart.py"


def test_no_template_has_a_fault_that_cfn_lint_knows(production: Path, unexplained: Callable[[str], Unexplained]):
    assemblies = (production, unexplained("staging").assembly)
    templates = [str(folder / f"{stack}.template.json") for folder in assemblies for stack in FULL]
    linter = environment("lint") / "cfn-lint"
    done = subprocess.run(
        [str(linter), *templates, str(PUBLISHED)], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_wrong_context_is_refused_in_a_sentence(tmp_path: Path):
    asked = {
        "choose one of production, staging, dev": {"environment": "prod"},
        "a /16 is needed": {"vpc_cidr": "10.0.0.0/20"},
        "choose single or per_az": {"nat": "none"},
        "retired_signing_keys: public keys": {"retired_signing_keys": "key-7"},
        "accepted": {"environment": "dev", "vpc_cidr": "10.7.0.0/16", "nat": "per_az"},
    }
    done = run_cdk(tmp_path, "-c", _REFUSALS, json.dumps(list(asked.values())))
    assert done.returncode == 0, done.stderr
    for due, said in zip(asked, json.loads(done.stdout.splitlines()[-1]), strict=True):
        assert due in said


def test_a_new_account_has_enough(production: Path):
    for stack in (*FULL, QUICK_START):
        assert "ReservedConcurrentExecutions" not in json.dumps(template(production, stack))


def test_an_outage_burns_the_error_budget(production: Path):
    resources = template(production, "CaioInfrastructureStack")["Resources"].values()
    named = [each["Properties"] for each in resources if each["Type"] == "AWS::CloudWatch::Alarm"]
    burning = [each for each in named if "-burn-" in each["AlarmName"]]
    assert len(burning) == 2
    for each in burning:
        metrics = {metric["MetricStat"]["Metric"]["MetricName"] for metric in each["Metrics"] if "MetricStat" in metric}
        assert metrics == {"RequestCount", "HTTPCode_Target_5XX_Count", "HTTPCode_ELB_5XX_Count"}
