"""The image: built twice, run as its configuration says, with a real PostgreSQL and a real Redis beside it.

Where no base can be pulled a stand-in takes its place (`tests/support/built_image.py`), so nothing is said here about
the base itself: its packages, its size, its weaknesses. CI builds on the real one.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support import built_image
from tests.support.built_image import BuiltImage
from tests.support.infra_tools import CONTAINER, ROOT, environment
from tests.support.redis_server import MISSING, PROGRAM, RedisServer

pytestmark = [pytest.mark.infra, pytest.mark.xdist_group("image")]

CONTRACT: dict[str, Any] = yaml.safe_load(CONTAINER.read_text())
NAME = "caio-under-test"
MEGABYTE = 1_000_000
#: PostgreSQL, two starts and imports on a busy machine.
PATIENCE = 90


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built_image.snapshot(tmp_path_factory.mktemp("sources"))


@pytest.fixture(scope="module")
def image(sources: Path) -> Iterator[BuiltImage]:
    built_image.build(NAME, sources)
    with built_image.mounted(NAME) as found:
        yield found
    built_image.forget(NAME)


@pytest.fixture
def data(image: BuiltImage, tmp_path: Path) -> Path:
    tmp_path.chmod(0o755)
    return image.volume(tmp_path / "data")


def test_it_is_configured_as_the_contract_says(image):
    configuration = image.configuration
    assert configuration["User"] == "{0}:{0}".format(CONTRACT["user"])
    assert configuration["Entrypoint"] == ["caio"]
    assert configuration["Cmd"] == CONTRACT["commands"]["api"]
    # /tmp too: Fargate gives a volume the owner of a path that the image declares, and root otherwise.
    assert sorted(configuration["Volumes"]) == ["/tmp", CONTRACT["data_directory"]]
    assert list(configuration["ExposedPorts"]) == [f"{CONTRACT['ports']['api']}/tcp"]
    assert image.environment["CAIO_OPS_PORT"] == str(CONTRACT["ports"]["operations"])
    seconds = {name: value / 1e9 for name, value in configuration["Healthcheck"].items() if isinstance(value, int)}
    assert configuration["Healthcheck"]["Test"] == ["CMD", "healthcheck"]
    assert (seconds["Interval"], seconds["Timeout"], seconds["StartPeriod"]) == (30, 10, 40)


def test_its_labels_say_which_version_of_what_it_is(image):
    labels = image.configuration["Labels"]
    assert labels["org.opencontainers.image.version"] == "1.2.3"
    assert labels["org.opencontainers.image.revision"] == "0123abcd"
    assert labels["org.opencontainers.image.licenses"] == "Apache-2.0"


def test_it_runs_as_nobody_on_a_root_that_cannot_be_written(image, data):
    code, said, error = image.run("version", data=data, entrypoint=None)
    assert code == 0, error
    assert re.search(r"\b\d+\.\d+\.\d+", said)
    words = "id -u; touch /etc/x /opt/caio/x; touch /tmp/x /var/lib/caio/x"
    code, said, error = image.run("sh", "-c", words, data=data)
    assert said == "1000\n"
    assert error.count("Read-only file system") == 2
    assert (data / "x").exists()
    assert code == 0


@pytest.mark.parametrize("program", ["gcc", "cc", "g++", "make", "ld", "pip", "pip3", "uv", "alembic"])
def test_it_holds_nothing_to_build_or_install_with(image, data, program):
    assert image.run("sh", "-c", f"command -v {program}", data=data)[0] != 0


def test_it_has_no_pip_to_import(image, data):
    for module in ("pip", "ensurepip", "hatchling", "pytest"):
        code, _, error = image.run("python", "-c", f"import {module}", data=data)
        assert code == 1
        assert "ModuleNotFoundError" in error


def test_it_holds_no_tests_and_no_secrets(image):
    ours = image.root / "opt" / "caio"
    names = [path.relative_to(ours).as_posix() for path in ours.rglob("*")]
    assert [name for name in names if re.search(r"(^|/)(tests|\.git|\.venv)(/|$)|/caio/.*test_\w+\.py$", name)] == []
    allowed = re.compile(r"certifi/cacert\.pem$|botocore/cacert\.pem$")
    secret = re.compile(r"(\.(pem|key|p12|env)|pgpass|id_rsa|\.netrc|pip\.conf)$")
    assert [name for name in names if secret.search(name) and not allowed.search(name)] == []
    for place in ("etc/pip.conf", "src", "root/.cache", "tmp/wheel", "opt/build"):
        assert not (image.root / place).exists(), place
    assert list((image.root / "var" / "lib" / "caio").iterdir()) == []


def test_its_history_holds_no_secret(image):
    inspected = built_image.buildah("inspect", "--type", "image", image.name)
    assert not re.search(r"(?i)(password|secret_key|token|://[^/\s]+:[^/\s]+@)", inspected)


def test_it_is_pulled_in_less_than_250_megabytes(image, tmp_path):
    # As a registry keeps it and a task pulls it: compressed, the stand-in's own layer included.
    built_image.buildah("push", "-q", image.name, f"oci:{tmp_path / 'oci'}", seconds=300)
    size = sum(path.stat().st_size for path in (tmp_path / "oci" / "blobs").rglob("*") if path.is_file())
    assert size < 250 * MEGABYTE
    unpacked = built_image.size_of(image.root / "opt" / "caio")
    print(f"{size / MEGABYTE:.0f} MB compressed; /opt/caio unpacked {unpacked / MEGABYTE:.0f} MB")
    assert unpacked < 250 * MEGABYTE, "what is ours, apart from the base"


#: What is left out of packages is never asked for: each of our modules is loaded, and whatever they load.
IMPORT_ALL = """
import importlib, pkgutil, caio
for module in pkgutil.walk_packages(caio.__path__, "caio."):
    if not module.name.endswith("__main__") and ".migrations" not in module.name:
        importlib.import_module(module.name)
from rich.console import Console
from rich.syntax import Syntax
Console().print(Syntax("import this", "python"))
"""


def test_it_holds_all_that_the_application_loads(image, data):
    code, said, error = image.run("python", "-c", IMPORT_ALL, data=data, seconds=PATIENCE)
    assert (code, error) == (0, "")
    assert "import this" in said


@pytest.mark.parametrize(
    "part", ["numpy/random", "sqlalchemy/dialects/mysql", "pygments/lexers/javascript.py", "numpy/_core/lib/*.a"]
)
def test_it_holds_nothing_that_is_never_loaded(image, part):
    (packages,) = (image.root / "opt" / "caio" / "lib").glob("python3*/site-packages")
    package = packages / part.partition("/")[0]
    assert package.is_dir()
    assert list(packages.glob(part)) == []


def test_it_knows_the_services_of_aws_that_are_called_and_no_others(image, data):
    sources = "".join(path.read_text() for path in (ROOT / "src").rglob("*.py"))
    called = set(re.findall(r"""aws_client\("([a-z0-9-]+)"\)""", sources))
    assert called == {"events", "kms", "s3"}
    credentials = {"signin", "sso", "sso-oidc", "sts"}
    (folder,) = (image.root / "opt" / "caio" / "lib").glob("python3*/site-packages/botocore/data")
    assert {path.name for path in folder.iterdir() if path.is_dir()} == called | credentials
    names = sorted(called | credentials)
    made = f"for name in {names}: Session().create_client(name, region_name='eu-central-1')"
    code = f"from botocore.session import Session\n{made}"
    assert image.run("python", "-c", code, data=data)[0] == 0
    assert image.run("python", "-c", "import highspy; highspy.Highs()", data=data)[0] == 0


def test_two_builds_have_the_same_layers(image, sources):
    again = f"{NAME}-again"
    os.utime(sources / "src", (1, 1))
    built_image.build(again, sources)
    try:
        with built_image.mounted(again) as second:
            assert second.layers == image.layers
    finally:
        built_image.forget(again)


def test_its_bill_of_materials_lists_exactly_what_is_installed(image, data):
    code, said, error = image.run("python", "-I", "-c", (ROOT / "scripts" / "sbom.py").read_text(), data=data)
    assert code == 0, error
    document = json.loads(said)
    components = [*document["components"], document["metadata"]["component"]]
    listed = {(each["name"], each["version"]) for each in components if each["purl"].startswith("pkg:pypi/")}
    held = {
        (re.sub(r"[-_.]+", "-", name).lower(), version)
        for folder in (image.root / "opt" / "caio" / "lib").rglob("*.dist-info")
        for name, version in [folder.stem.rsplit("-", 1)]
    }
    assert listed == held
    pinned = set(re.findall(r"^([a-z0-9-]+)==(\S+)", (ROOT / "requirements.txt").read_text(), re.MULTILINE))
    assert {each for each in listed if each[0] != "caio-platform"} <= pinned
    assert len(listed) > 60


def test_it_serves_and_its_own_health_check_sees_it_come_and_go(image, data, postgres_url, free_port):
    if PROGRAM is None:
        pytest.skip(MISSING)
    ports = {"CAIO_API_PORT": str(free_port()), "CAIO_OPS_PORT": str(free_port())}
    with RedisServer() as redis:
        settings = {
            "CAIO_DATABASE_URL": postgres_url,
            "CAIO_REDIS_URL": redis.url,
            "CAIO_DRAIN_SECONDS": "6",
            "CAIO_ANCHOR": "none",
            **ports,
        }
        migration = CONTRACT["commands"]["migration"]
        code, _, error = image.run(*migration, data=data, entrypoint=None, seconds=PATIENCE, settings=settings)
        assert code == 0, error

        for role in ("api", "worker"):
            said = data.with_name(f"{role}.log")
            with image.started(CONTRACT["commands"][role], data, said, settings) as serving:
                answers = _probed(image, data, ports, serving)
                assert answers[-1] == (0, ""), (answers, said.read_text())
                assert answers[0][0] == 1, "it was not ready before it could be"
                stopped = time.monotonic()
                serving.send_signal(signal.SIGTERM)
                if role == "api":  # the worker has nobody to send away
                    assert _seen(image, data, ports, "answered 503") is True, said.read_text()
                assert serving.wait(CONTRACT["stop_seconds"]) == 0, said.read_text()
                assert time.monotonic() - stopped < CONTRACT["stop_seconds"]


def _check(image: BuiltImage, data: Path, ports: dict[str, str]) -> tuple[int, str]:
    code, _, error = image.run(*image.configuration["Healthcheck"]["Test"][1:], data=data, settings=ports)
    return code, error


def _probed(
    image: BuiltImage, data: Path, ports: dict[str, str], serving: subprocess.Popen[bytes]
) -> list[tuple[int, str]]:
    """What the health check said from the start until it was healthy, or until patience or the process ended."""
    answers: list[tuple[int, str]] = []
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until and serving.poll() is None:
        answers.append(_check(image, data, ports))
        if answers[-1][0] == 0:
            break
        time.sleep(0.2)
    return answers


def _seen(image: BuiltImage, data: Path, ports: dict[str, str], words: str) -> bool | list[str]:
    """Whether the health check says these words within six seconds; what it said instead when it does not."""
    said = []
    until = time.monotonic() + 6
    while time.monotonic() < until:
        code, error = _check(image, data, ports)
        if code == 1 and words in error:
            return True
        said.append(error)
        time.sleep(0.1)
    return said


def test_its_recipe_is_clean():
    hadolint = environment("lint") / "hadolint"
    done = subprocess.run([hadolint, ROOT / "Dockerfile"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")
