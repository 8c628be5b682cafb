"""Images are built of a commit, pushed when they were scanned, and never pushed over another of the same name."""

from __future__ import annotations

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
