"""The scripts that the operations and the pipeline share: a migration, a deployment and a canary, each awaited."""

from __future__ import annotations

import json
import os
import zipfile

import pytest

from tests.support.recorded_operations import NEW, NO_CLUSTER, OLD, SERVING, definition, migration


def test_a_migration_runs_the_new_image_once_where_the_worker_runs(operations):
    operations.answer(*migration(0))
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
    operations.answer(*migration(code))
    done = operations.script("migrate", "staging", "v1.2.3")
    assert done.returncode
    assert "it stopped" in done.stderr
    assert "Nothing was switched" in done.stderr


def test_stable_on_the_old_image_is_no_deployment(operations):
    operations.answer(("aws ecs describe-task-definition", definition(OLD), 0))
    done = operations.script("await-deployment", "staging", "v1.2.3")
    assert done.returncode
    assert "rolled back" in done.stderr
    operations.answer(("aws ecs describe-task-definition", definition(NEW), 0))
    assert operations.script("await-deployment", "staging", "v1.2.3").returncode == 0
    assert "aws ecs wait services-stable" in " | ".join(operations.calls)


def test_unstable_services_are_no_deployment(operations):
    operations.answer(("aws ecs wait", "", 255), ("aws ecs describe-task-definition", definition(NEW), 0))
    assert operations.script("await-deployment", "staging", "v1.2.3").returncode


def test_blue_and_green_are_shifted_by_codedeploy(operations):
    sets = [{"status": "ACTIVE", "taskDefinition": "api:6"}, {"status": "PRIMARY", "taskDefinition": "api:7"}]
    service = {**SERVING, "deploymentController": {"type": "CODE_DEPLOY"}, "taskSets": sets}
    operations.answer(
        ("aws ecs describe-services", json.dumps({"services": [service]}), 0),
        ("aws ecs describe-task-definition --task-definition caio-staging-api", "arn:api:7\n", 0),
        ("aws ecs describe-task-definition --task-definition api:7", definition(NEW), 0),
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
    monkeypatch.setenv("CAIO_CANARY_SECONDS", "50")
    monkeypatch.setenv("CAIO_CANARY_PAUSE", "0.2")
    before, after = "2020-01-01T00:00:00.123Z", "2999-01-01T00:00:00.123+00:00"
    operations.answer(*_runs((after, "PASSED"), (before, "FAILED")))
    assert operations.script("await-canary", "staging").returncode == 0
    operations.answer(*_runs((after, "FAILED"), (before, "PASSED")))
    assert "FAILED" in operations.script("await-canary", "staging").stderr
    monkeypatch.setenv("CAIO_CANARY_SECONDS", "2")
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
