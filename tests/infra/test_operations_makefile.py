"""The operations targets in a real shell: which program is called, in which order, with which arguments.

Held here is that nothing is changed which was not planned, shown and agreed to. How images are made, and the scripts
that the pipeline uses too, have files of their own.
"""

from __future__ import annotations

import pytest

from tests.support.infra_tools import INFRASTRUCTURE
from tests.support.recorded_operations import NEW, NO_CLUSTER, OLD, definition, migration

TARGETS = {
    "create-state-bucket", "init", "validate", "format", "plan", "apply", "output", "build-images", "push-images",
    "deploy-full", "health-check", "logs-api", "logs-worker", "logs-lambda", "dashboard", "cost-estimate",
    "cost-actual",
    "scale-up", "scale-down", "backup-state", "restore-state", "dev-setup", "destroy",
}  # fmt: skip


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
    serving = ("aws ecs describe-task-definition --task-definition api:7", definition(OLD), 0)
    operations.answer(serving, *[each for each in migration(0) if "describe-services" not in each[0]])
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
