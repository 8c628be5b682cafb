"""What an account is given once: where states are kept, the registry, and the role that the pipeline takes on."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.support.emulated_terraform import BOOTSTRAP, Planned
from tests.support.terraform_resources import Resources


@pytest.fixture(scope="module")
def bootstrap(planned: Callable[[str], Planned]) -> Resources:
    return Resources.of(planned(BOOTSTRAP).plan)


def test_the_state_bucket_is_versioned_encrypted_and_closed(bootstrap: Resources):
    bucket = bootstrap.one("aws_s3_bucket")
    assert bucket["bucket"].startswith("caio-terraform-state-")
    assert bucket["bucket"].rsplit("-", 1)[-1].isdigit(), "the account is in the name: names are the world's"
    assert bootstrap.one("aws_s3_bucket_versioning").block("versioning_configuration")["status"] == "Enabled"
    rule = bootstrap.one("aws_s3_bucket_server_side_encryption_configuration").block("rule")
    assert rule["apply_server_side_encryption_by_default"][0]["sse_algorithm"] == "aws:kms"
    closed = bootstrap.one("aws_s3_bucket_public_access_block").values
    assert all(closed[name] for name in ("block_public_acls", "block_public_policy", "restrict_public_buckets"))


def test_images_cannot_be_changed_and_are_scanned(bootstrap: Resources):
    repository = bootstrap.one("aws_ecr_repository")
    assert repository["name"] == "caio"
    assert repository["image_tag_mutability"] == "IMMUTABLE"
    assert repository.block("image_scanning_configuration")["scan_on_push"] is True
    kept = [rule["selection"] for rule in bootstrap.one("aws_ecr_lifecycle_policy").document("policy")["rules"]]
    assert ("imageCountMoreThan", 10) in {(each["countType"], each["countNumber"]) for each in kept}


def test_the_pipelines_role_is_for_this_repository_and_bounded(bootstrap: Resources):
    assert bootstrap.of_type("aws_iam_user", "aws_iam_access_key") == [], "no long-lived keys"
    provider = bootstrap.one("aws_iam_openid_connect_provider")
    assert provider["url"].endswith("token.actions.githubusercontent.com")
    assert provider["client_id_list"] == ["sts.amazonaws.com"]
    for role in bootstrap.of_type("aws_iam_role"):
        text = role.get("assume_role_policy", "")
        if "AssumeRoleWithWebIdentity" in text:
            conditions = json.loads(text)["Statement"][0]["Condition"]
            subjects = [value for test in conditions.values() for key, value in test.items() if key.endswith(":sub")]
            assert subjects, f"{role.address} is anybody's"
            assert "repo:*" not in json.dumps(subjects)


def test_every_role_of_an_environment_is_within_its_boundary(each_plan: Planned):
    resources = Resources.of(each_plan.plan)
    name = resources.one("aws_ecs_cluster")["name"].split("-")[1]
    roles = resources.of_type("aws_iam_role")
    assert roles
    boundary = f":policy/caio-deploy-{name}-boundary"
    loose = [each.address for each in roles if not (each.get("permissions_boundary") or "").endswith(boundary)]
    assert loose == [], "the pipeline's role cannot make these"
