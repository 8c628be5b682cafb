"""The operations targets in a real shell, with aws, terraform, docker and grype that write down what they are asked.

What the programs would do is their own business; what is held here is which of them is called, in which order, with
which arguments, and that nothing is changed which was not planned, shown and agreed to.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.infra_tools import INFRASTRUCTURE

OLD, NEW = "sha256:" + "a" * 64, "sha256:" + "b" * 64
SERVING = {"deploymentController": {"type": "ECS"}, "status": "ACTIVE", "taskDefinition": "api:7"}
TARGETS = {
    "create-state-bucket", "init", "validate", "format", "plan", "apply", "output", "build-images", "push-images",
    "deploy-full", "health-check", "logs-api", "logs-worker", "logs-lambda", "dashboard", "cost-estimate",
    "cost-actual",
    "scale-up", "scale-down", "backup-state", "restore-state", "dev-setup", "destroy",
}  # fmt: skip

#: Writes its name and arguments down, then says what the first matching prefix of its answers says.
_FAKE = """#!{python} -IS
import json, pathlib, sys
here = pathlib.Path(__file__).parent
call = [pathlib.Path(__file__).name, *sys.argv[1:]]
with (here / "calls").open("a") as calls:
    calls.write(json.dumps(call) + "\\n")
for prefix, output, code in json.loads((here / "answers").read_text()):
    if " ".join(call).startswith(prefix):
        (sys.stderr if code else sys.stdout).write(output)
        sys.exit(code)
if call[0] == "terraform":
    folder = pathlib.Path(call[1].removeprefix("-chdir="))
    for word in call[2:]:
        if word.startswith("-out="):
            (folder / word.removeprefix("-out=")).write_text("a plan")
"""


#: What ECS says of an environment that was never made.
NO_CLUSTER = "An error occurred (ClusterNotFoundException) when calling DescribeServices: Cluster not found."


@dataclass
class Operations:
    """A copy of the folder, with programs that only write down."""

    folder: Path
    bin: Path

    def answer(self, *answers: tuple[str, str, int]) -> None:
        """What the programs say, by how the call begins; before what is answered anyway."""
        usual = [
            ("aws sts get-caller-identity", "123456789012\n", 0),
            ("aws ecr describe-images", f"{NEW}\n", 0),
            ("aws ecs describe-services", json.dumps({"services": [SERVING]}), 0),
            ("aws ecs describe-task-definition", _definition(OLD), 0),
            ("git -C ../.. rev-parse HEAD", "0123abcd\n", 0),
            ("git -C ../.. log", "1700000000\n", 0),
        ]
        (self.bin / "answers").write_text(json.dumps([*answers, *usual]))

    def make(self, *words: str, said: str = "") -> subprocess.CompletedProcess[str]:
        command = ["make", "-C", str(self.folder), *words, f"CAIO={self.bin / 'caio'}"]
        environment = {"PATH": f"{self.bin}:{os.environ['PATH']}", "HOME": str(self.folder)}
        return subprocess.run(
            command, env=environment, input=said, capture_output=True, text=True, timeout=60, check=False
        )

    def script(self, name: str, *words: str) -> subprocess.CompletedProcess[str]:
        told = {name: value for name, value in os.environ.items() if name.startswith("CAIO_CANARY")}
        environment = {"PATH": f"{self.bin}:{os.environ['PATH']}", **told}
        return subprocess.run(
            [self.folder / "operations" / name, *words],
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    @property
    def calls(self) -> list[str]:
        """Every call so far, in order, as one would type it."""
        log = self.bin / "calls"
        return [" ".join(json.loads(line)) for line in log.read_text().splitlines()] if log.exists() else []

    def changes(self) -> list[str]:
        """The calls that change something outside this machine."""
        words = (
            " apply ",
            " push ",
            "register-task-definition",
            "run-task",
            "s3 cp",
            "create-deployment",
            "put-",
            "update-",
        )
        return [call for call in self.calls if any(word in f"{call} " for word in words)]


def _definition(digest: str) -> str:
    containers = [{"name": "api", "image": f"123456789012.dkr.ecr.us-east-1.amazonaws.com/caio@{digest}"}]
    collector = {"name": "collector", "image": "public.ecr.aws/collector:v1"}
    return json.dumps({"taskDefinition": {"containerDefinitions": [*containers, collector]}})


@pytest.fixture
def operations(tmp_path: Path) -> Operations:
    if shutil.which("make") is None or shutil.which("jq") is None:
        pytest.skip("make and jq are needed")
    folder, programs = tmp_path / "infrastructure" / "aws", tmp_path / "bin"
    folder.mkdir(parents=True)
    programs.mkdir()
    shutil.copy(INFRASTRUCTURE / "aws" / "Makefile", folder)
    shutil.copytree(INFRASTRUCTURE / "aws" / "operations", folder / "operations")
    for name in ("dev", "staging", "production"):
        environment = folder / "terraform" / "environments" / name
        environment.mkdir(parents=True)
        (environment / "terraform.tfvars").write_text(f'domain_name = "{name}.example.com" # covered\n')
        (environment / "terraform.tfvars.example").write_text("example\n")
    (folder / "terraform" / "bootstrap").mkdir()
    (tmp_path / "src" / "caio").mkdir(parents=True)
    (tmp_path / "src" / "caio" / "_version.py").write_text('__version__ = "1.2.3"\n')
    for name in ("aws", "terraform", "docker", "grype", "git", "caio"):
        program = programs / name
        program.write_text(_FAKE.replace("{python}", sys.executable))
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
    found = Operations(folder, programs)
    found.answer()
    return found


def test_every_target_of_the_handbook_is_there_and_listed(operations):
    listed = operations.make("help").stdout
    assert {name for name in TARGETS if f"  make {name} " in listed} == TARGETS
    assert operations.calls == [], "help asks nobody"


def test_a_dry_run_of_every_target_changes_nothing(operations):
    done = operations.make("-n", *sorted(TARGETS), "MIN=1", "MAX=2", "COPY=backups/x", "FUNCTION=f")
    assert done.returncode == 0, done.stderr
    assert operations.changes() == []


def test_an_unknown_environment_is_refused(operations):
    done = operations.make("plan", "ENV=prod")
    assert done.returncode
    assert "dev staging production" in done.stderr
    assert operations.calls == []


def test_apply_applies_the_saved_plan_and_nothing_else(operations):
    assert operations.make("apply", "ENV=staging").returncode
    assert operations.changes() == []
    assert operations.make("plan", "ENV=staging", "IMAGE=v1.2.3").returncode == 0
    assert operations.make("apply", "ENV=staging").returncode == 0
    assert operations.changes() == [
        "terraform -chdir=terraform/environments/staging apply -input=false -lock-timeout=60s caio.tfplan"
    ]
    assert operations.make("apply", "ENV=staging").returncode, "a plan is applied once"


def test_a_plan_names_a_digest_and_keeps_the_variables_file(operations):
    operations.make("plan", "ENV=staging", "IMAGE=v1.2.3")
    plan = operations.calls[-1]
    assert "-var-file=terraform.tfvars" in plan
    assert f"-var caio_image_tag={NEW}" in plan
    assert "imageTag=v1.2.3" in operations.calls[0]


def test_a_plan_without_an_image_keeps_the_one_that_runs(operations):
    operations.answer(("aws ecr describe-images", OLD, 0))
    operations.make("plan", "ENV=staging")
    assert f"imageDigest={OLD}" in operations.calls[-2]
    assert f"caio_image_tag={OLD}" in operations.calls[-1]


def test_an_image_that_is_not_there_is_not_planned(operations):
    operations.answer(("aws ecr describe-images", "", 254))
    done = operations.make("plan", "IMAGE=v9.9.9")
    assert done.returncode
    assert "has no image v9.9.9" in done.stderr
    assert not [call for call in operations.calls if call.startswith("terraform")]


def test_latest_is_no_version(operations):
    assert operations.make("plan", "IMAGE=latest").returncode
    assert operations.calls == []


@pytest.mark.parametrize("target", ["scale-up", "scale-down"])
def test_scaling_keeps_the_variables_file_and_the_image(operations, target):
    operations.answer(("aws ecr describe-images", OLD, 0))
    assert operations.make(target, "ENV=production", "MIN=6", "MAX=20", said="production\n").returncode == 0
    plan = next(call for call in operations.calls if " plan " in call)
    for words in ("-var-file=terraform.tfvars", f"caio_image_tag={OLD}", "min_capacity=6", "max_capacity=20", "-out="):
        assert words in plan
    assert [call.split()[2] for call in operations.changes()] == ["apply"]


@pytest.mark.parametrize("bounds", [(), ("MIN=5",), ("MIN=5", "MAX=4")])
def test_scaling_without_bounds_that_fit_does_nothing(operations, bounds):
    assert operations.make("scale-up", *bounds, said="dev\n").returncode
    assert operations.calls == []


@pytest.mark.parametrize(
    "words",
    [("destroy",), ("scale-up", "MIN=1", "MAX=2"), ("create-state-bucket",), ("restore-state", "COPY=backups/x")],
)
@pytest.mark.parametrize("said", ["", "yes\n"])
def test_what_cannot_be_taken_back_asks_for_the_environments_name(operations, words, said):
    operations.answer(("aws s3 ls s3://caio-terraform-state-123456789012/caio-saas", "", 1))
    done = operations.make(*words, "ENV=production", said=said)
    assert done.returncode
    assert operations.changes() == []


def test_a_new_environment_is_migrated_before_it_serves(operations):
    operations.answer(
        ("aws ecs describe-services --cluster caio-dev-cluster --services caio-dev-service", NO_CLUSTER, 254)
    )
    operations.make("deploy-full", "ENV=dev", said="dev\n")
    order = [call for call in operations.calls if " plan " in call or " apply " in call or "describe-task" in call]
    assert "-var serving=false" in order[0]
    assert " apply " in order[1]
    assert "caio-dev-migration" in order[2]


@pytest.mark.parametrize("target", ["deploy-full", "plan", "scale-up"])
def test_an_environment_that_does_not_answer_is_not_taken_for_a_new_one(operations, target):
    throttled = "An error occurred (ThrottlingException) when calling DescribeServices: Rate exceeded."
    operations.answer(("aws ecs describe-services", throttled, 254))
    done = operations.make(target, "ENV=production", "MIN=1", "MAX=2", said="production\n")
    assert done.returncode
    assert "Rate exceeded" in done.stderr
    assert not [call for call in operations.calls if call.startswith("terraform")]


def test_production_is_destroyed_by_the_digest_that_it_runs(operations):
    assert operations.make("destroy", "ENV=production", said="production\n").returncode == 0
    assert f"caio_image_tag={OLD}" in next(call for call in operations.calls if " plan " in call)


def test_a_deployment_migrates_applies_what_was_agreed_to_and_tries_it(operations):
    serving = ("aws ecs describe-task-definition --task-definition api:7", _definition(OLD), 0)
    operations.answer(serving, *[each for each in _migration(0) if "describe-services" not in each[0]])
    operations.make("deploy-full", "ENV=dev", said="no\n")
    assert not [call for call in operations.changes() if "docker" not in call]
    (operations.bin / "calls").unlink()
    operations.make("deploy-full", "ENV=dev", said="dev\n")
    done = [call for call in operations.changes() if "docker" not in call]
    assert [call.split()[2] for call in done] == ["register-task-definition", "run-task", "apply"]
    assert "serving=false" not in " ".join(operations.calls)


def test_the_application_alone_is_planned_where_it_is_asked_for(operations):
    operations.make("plan", "IMAGE=v1.2.3", "COMPONENT=application")
    assert "-target=module.caio.module.service" in operations.calls[-1]
    composed = (INFRASTRUCTURE / "aws" / "terraform" / "modules" / "caio" / "service.tf").read_text()
    assert 'module "service" {' in composed
    operations.make("plan", "IMAGE=v1.2.3")
    assert "-target" not in operations.calls[-1]


def test_destroy_applies_the_plan_that_was_shown(operations):
    assert operations.make("destroy", "ENV=dev", said="dev\n").returncode == 0
    planned, applied = [call for call in operations.calls if call.startswith("terraform")]
    assert " plan -destroy " in planned
    assert applied.endswith("apply -input=false caio.tfplan")


ABSENT = ("aws ecr describe-images", "", 254)


def test_an_image_is_built_by_a_builder_that_rewrites_times(operations):
    operations.answer(("docker buildx inspect caio", "", 1))
    assert operations.make("build-images").returncode == 0
    made, built = [call for call in operations.calls if call.startswith("docker")][-2:]
    assert made == "docker buildx create --name caio --driver docker-container"
    assert "--builder caio " in built
    assert "rewrite-timestamp=true" in built


def test_nothing_is_pushed_that_was_not_scanned(operations):
    operations.answer(ABSENT)
    assert operations.make("push-images").returncode == 0
    programs = [call.split()[0] for call in operations.calls if call.split()[0] in {"grype", "docker"}]
    assert programs == ["grype", "docker", "docker", "docker"]
    (operations.bin / "calls").unlink()
    operations.answer(("grype", "CVE-0000-0000 high", 1), ABSENT)
    assert operations.make("push-images").returncode
    assert operations.changes() == []


def test_a_tag_that_is_there_stays_what_it_is(operations):
    # A second commit of one version is pushed under its own tag alone; a second run of one commit pushes nothing.
    operations.answer(("aws ecr describe-images --repository-name caio --image-ids imageTag=sha-", "", 254))
    assert operations.make("push-images").returncode == 0
    (pushed,) = operations.changes()
    assert pushed.endswith("/caio:sha-0123abcd")
    operations.answer()
    (operations.bin / "calls").unlink()
    done = operations.make("push-images")
    assert done.returncode == 0
    assert operations.changes() == []
    assert "v1.2.3 is there already" in done.stdout


def test_only_a_commit_is_built(operations):
    operations.answer(("git -C ../.. status", " M src/caio/x.py\n", 0))
    assert operations.make("build-images").returncode
    assert not [call for call in operations.calls if call.startswith("docker")]
    operations.answer()
    assert operations.make("build-images").returncode == 0
    build = operations.calls[-1]
    assert ":sha-0123abcd" in build
    assert ":v1.2.3" in build
    assert "SOURCE_DATE_EPOCH=1700000000" in build
    assert "latest" not in build


def test_the_first_state_has_a_key_of_its_own_environment(operations):
    operations.make("init", "ENV=production")
    assert "-backend-config=bucket=caio-terraform-state-123456789012" in operations.calls[-1]
    assert "-chdir=terraform/environments/production" in operations.calls[-1]


def test_the_smoke_test_goes_to_a_name_that_the_certificate_covers(operations):
    operations.make("health-check", "ENV=staging")
    assert operations.calls[-1] == "caio ops smoke https://staging.example.com"


def test_restoring_keeps_the_present_state_and_respects_the_lock(operations):
    bucket = "s3://caio-terraform-state-123456789012"
    assert operations.make("restore-state", "COPY=backups/x", said="dev\n").returncode, "somebody holds the lock"
    assert operations.changes() == []
    operations.answer((f"aws s3 ls {bucket}/caio-saas/dev/terraform.tfstate.tflock", "", 1))
    assert operations.make("restore-state", "COPY=backups/x", said="dev\n").returncode == 0
    kept, restored = operations.changes()
    assert f"{bucket}/caio-saas/dev/terraform.tfstate {bucket}/caio-saas/dev/backups/" in kept
    assert restored.endswith(f"{bucket}/backups/x {bucket}/caio-saas/dev/terraform.tfstate")


def test_dev_setup_starts_a_variables_file_and_keeps_one(operations):
    variables = operations.folder / "terraform" / "environments" / "dev" / "terraform.tfvars"
    before = variables.read_text()
    assert operations.make("dev-setup").returncode == 0
    assert variables.read_text() == before
    variables.unlink()
    operations.make("dev-setup")
    assert variables.read_text() == "example\n"


# --- the scripts that the pipeline uses too -------------------------------------------------------


def _migration(code: int | None) -> tuple[tuple[str, str, int], ...]:
    network = {
        "awsvpcConfiguration": {"subnets": ["subnet-1"], "securityGroups": ["sg-1"], "assignPublicIp": "DISABLED"}
    }
    definition = {
        "family": "caio-staging-migration",
        "containerDefinitions": [{"name": "migration", "image": f"host:5000/caio@{OLD}", "command": ["db", "upgrade"]}],
        "taskDefinitionArn": "arn:old",
        "revision": 3,
        "status": "ACTIVE",
    }
    ended = {"containers": [{"exitCode": code} if code is not None else {}], "stoppedReason": "it stopped"}
    return (
        ("aws ecs describe-task-definition", json.dumps(definition), 0),
        ("aws ecs register-task-definition", "arn:new\n", 0),
        ("aws ecs describe-services", json.dumps(network), 0),
        ("aws ecs run-task", json.dumps({"tasks": [{"taskArn": "arn:task"}], "failures": []}), 0),
        ("aws ecs describe-tasks", json.dumps(ended), 0),
    )


def test_a_migration_runs_the_new_image_once_where_the_worker_runs(operations):
    operations.answer(*_migration(0))
    done = operations.script("migrate", "staging", "v1.2.3")
    assert done.returncode == 0, done.stderr
    registered = next(
        json.loads(line) for line in (operations.bin / "calls").read_text().splitlines() if "register" in line
    )
    document = json.loads(registered[registered.index("--cli-input-json") + 1])
    assert document["containerDefinitions"][0]["image"] == f"host:5000/caio@{NEW}"
    assert "revision" not in document, "AWS refuses what it has said itself"
    run = [call for call in operations.calls if "run-task" in call]
    assert len(run) == 1
    assert "--task-definition arn:new" in run[0]
    assert "subnet-1" in run[0]
    assert not [call for call in operations.calls if "update-service" in call]


@pytest.mark.parametrize("code", [1, None])
def test_a_migration_that_failed_is_said_to_have(operations, code):
    operations.answer(*_migration(code))
    done = operations.script("migrate", "staging", "v1.2.3")
    assert done.returncode
    assert "it stopped" in done.stderr
    assert "Nothing was switched" in done.stderr


def test_stable_on_the_old_image_is_no_deployment(operations):
    operations.answer(("aws ecs describe-task-definition", _definition(OLD), 0))
    done = operations.script("await-deployment", "staging", "v1.2.3")
    assert done.returncode
    assert "rolled back" in done.stderr
    operations.answer(("aws ecs describe-task-definition", _definition(NEW), 0))
    assert operations.script("await-deployment", "staging", "v1.2.3").returncode == 0
    assert "aws ecs wait services-stable" in " | ".join(operations.calls)


def test_unstable_services_are_no_deployment(operations):
    operations.answer(("aws ecs wait", "", 255), ("aws ecs describe-task-definition", _definition(NEW), 0))
    assert operations.script("await-deployment", "staging", "v1.2.3").returncode


def test_blue_and_green_are_shifted_by_codedeploy(operations):
    sets = [{"status": "ACTIVE", "taskDefinition": "api:6"}, {"status": "PRIMARY", "taskDefinition": "api:7"}]
    service = {**SERVING, "deploymentController": {"type": "CODE_DEPLOY"}, "taskSets": sets}
    operations.answer(
        ("aws ecs describe-services", json.dumps({"services": [service]}), 0),
        ("aws ecs describe-task-definition --task-definition caio-staging-api", "arn:api:7\n", 0),
        ("aws ecs describe-task-definition --task-definition api:7", _definition(NEW), 0),
        ("aws deploy create-deployment", "d-1\n", 0),
    )
    done = operations.script("await-deployment", "staging", NEW)
    assert done.returncode == 0, done.stderr
    created = next(call for call in operations.calls if "create-deployment" in call)
    assert "--application-name caio-staging-service" in created
    assert "arn:api:7" in created
    assert "aws deploy wait deployment-successful --deployment-id d-1" in operations.calls


def test_what_runs_is_nothing_before_there_is_a_service(operations):
    operations.answer(("aws ecs describe-services", NO_CLUSTER, 254))
    none = operations.script("deployed-image", "dev")
    assert (none.returncode, none.stdout) == (0, "")
    operations.answer(("aws ecs describe-services", json.dumps({"services": []}), 0))
    assert operations.script("deployed-image", "dev").stdout == ""
    operations.answer()
    assert operations.script("deployed-image", "dev").stdout == f"{OLD}\n"


def _runs(*runs: tuple[str, str]) -> tuple[tuple[str, str, int], ...]:
    found = [{"Timeline": {"Started": started}, "Status": {"State": state}} for started, state in runs]
    return (
        ("aws synthetics describe-canaries", "1\n", 0),
        ("aws synthetics get-canary-runs", json.dumps({"CanaryRuns": found}), 0),
    )


def test_only_a_canary_that_ran_after_the_deployment_says_something_of_it(operations, monkeypatch):
    monkeypatch.setenv("CAIO_CANARY_SECONDS", "2")
    monkeypatch.setenv("CAIO_CANARY_PAUSE", "0.2")
    before, after = "2020-01-01T00:00:00.123Z", "2999-01-01T00:00:00.123+00:00"
    operations.answer(*_runs((after, "PASSED"), (before, "FAILED")))
    assert operations.script("await-canary", "staging").returncode == 0
    operations.answer(*_runs((after, "FAILED"), (before, "PASSED")))
    assert "FAILED" in operations.script("await-canary", "staging").stderr
    operations.answer(*_runs((after, "RUNNING"), (before, "PASSED")))
    assert "did not run" in operations.script("await-canary", "staging").stderr
    operations.answer(("aws synthetics describe-canaries", "0\n", 0))
    assert "no canary" in operations.script("await-canary", "staging").stdout


def test_the_same_canary_makes_the_same_archive(operations, tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    (source / "canary.py").write_text("def handler(event, context): ...\n")
    archives = [tmp_path / "one.zip", tmp_path / "two.zip"]
    for archive in archives:
        assert operations.script("zip-canary", str(source), str(archive)).returncode == 0
        os.utime(source / "canary.py", (0, 1_000_000_000))
    assert archives[0].read_bytes() == archives[1].read_bytes()
    assert zipfile.ZipFile(archives[0]).namelist() == ["python/canary.py"]
