"""compose.yaml and the Dockerfile say what the program understands, and keep to what an operator may rely on.

No container is started here: the settings are read by the program's own class, commands are looked up in its own
command line, ports, user and times in infrastructure/container.yaml, and the rest is held to the rules of the file's
head comment. `tests/infra/test_image.py` builds the image and runs it.
"""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml

from caio.cli.main import app
from caio.config import Settings
from caio.storage.sql.row_security import APP, PLATFORM

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if service.get("image") == "caio"}
DOCKERFILE = (ROOT / "Dockerfile").read_text()
CONTRACT: dict[str, Any] = yaml.safe_load((ROOT / "infrastructure" / "container.yaml").read_text())


def known(command: list[str]) -> bool:
    """Whether the words name a command, and not a group of them."""
    found: Any = typer.main.get_command(app)
    for word in command:
        if found is None or not hasattr(found, "get_command"):
            return False
        found = found.get_command(found.make_context(None, [], resilient_parsing=True), word)
    return found is not None and not hasattr(found, "get_command")


def test_one_command_brings_up_all_four_parts():
    assert {"app", "worker", "postgres", "redis"} <= set(SERVICES)
    commands = {tuple(command) for command in CONTRACT["commands"].values()}
    assert {tuple(service["command"]) for service in OURS.values()} == commands
    assert all(service["build"] == "." for service in OURS.values())


@pytest.mark.parametrize("name", sorted(OURS))
def test_commands_and_settings_are_the_programs(name, monkeypatch):
    assert known(OURS[name]["command"])
    environment = OURS[name]["environment"]
    ours = {variable: value for variable, value in environment.items() if variable.startswith("CAIO_")}
    assert {variable.removeprefix("CAIO_").lower() for variable in ours} <= set(Settings.model_fields)
    for variable, value in ours.items():
        monkeypatch.setenv(variable, value)
    settings = Settings()
    assert settings.several_processes
    assert settings.url.startswith("postgresql://caio@postgres:5432/")


def test_an_unknown_command_would_be_noticed():
    assert not known(["serv"])
    assert not known(["db"])
    assert not known(["db", "move"])


def test_only_the_api_is_reached_and_only_from_this_machine():
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert set(published) == {"app"}
    assert all(port.startswith("127.0.0.1:") for port in published["app"])
    assert COMPOSE["networks"]["inside"] == {"internal": True}
    for name in ("postgres", "redis"):
        assert SERVICES[name]["networks"] == ["inside"]


def test_nothing_in_the_file_is_a_secret():
    text = (ROOT / "compose.yaml").read_text()
    assert not re.search(r"(PASSWORD|SECRET|TOKEN|KEY)\w*:\s*(?!/run/)\S", text)
    assert not re.search(r"://[^\s/@]*:[^\s/@]+@", text), "a password in a URL"
    assert "/dev/urandom" in SERVICES["passwords"]["command"][0]


@pytest.mark.skipif(os.geteuid() != 0, reason="gives files to other users, as the container does")
def test_volumes_of_an_earlier_version_are_given_to_the_user_of_this_one(tmp_path):
    passwords, data = tmp_path / "passwords", tmp_path / "data"
    for folder in (passwords, data):
        folder.mkdir()
    (data / "master.key").write_text("a key")
    for path in (data, data / "master.key"):
        os.chown(path, 10001, 10001)
    script = SERVICES["passwords"]["command"][0].replace("$$", "$").replace("chown postgres", "chown 999")
    script = script.replace("/run/caio", str(passwords)).replace("/var/lib/caio", str(data))
    for owner in (0, 10001):  # made now, and made by a version that ran as another user
        if owner:
            os.chown(passwords / "pgpass", owner, owner)
        subprocess.run(["bash", "-euc", script], check=True)
        user = CONTRACT["user"]
        for path in (passwords / "pgpass", data, data / "master.key"):
            assert path.stat().st_uid == user
        assert stat.S_IMODE(data.stat().st_mode) == 0o700
        assert stat.S_IMODE((passwords / "pgpass").stat().st_mode) == 0o600
    assert (passwords / "superuser.password").stat().st_uid == 999


def test_parts_wait_for_what_they_need():
    for name in ("app", "worker"):
        assert SERVICES[name]["depends_on"] == {
            "migrate": {"condition": "service_completed_successfully"},
            "redis": {"condition": "service_healthy"},
        }
    assert SERVICES["migrate"]["depends_on"] == {"postgres": {"condition": "service_healthy"}}
    assert all("healthcheck" in SERVICES[name] for name in ("postgres", "redis", "app", "worker"))


@pytest.mark.parametrize("name", ["app", "worker"])
def test_health_is_what_the_operations_port_says(name):
    assert SERVICES[name]["healthcheck"]["test"] == ["CMD", "healthcheck"]
    assert SERVICES[name]["environment"]["CAIO_OPS_PORT"] == str(CONTRACT["ports"]["operations"])
    assert SERVICES["migrate"]["healthcheck"] == {"disable": True}


def test_parts_may_take_the_contracts_time_to_stop():
    assert {service["stop_grace_period"] for service in OURS.values()} == {f"{CONTRACT['stop_seconds']}s"}


@pytest.mark.parametrize("name", sorted(OURS))
def test_ours_run_with_no_more_than_they_need(name):
    service = OURS[name]
    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert {volume.partition(":")[0] for volume in service["volumes"]} <= set(COMPOSE["volumes"])


def test_what_is_named_is_defined():
    for service in SERVICES.values():
        assert set(service.get("networks", ())) <= set(COMPOSE["networks"])
        assert {volume.partition(":")[0] for volume in service.get("volumes", ())} <= set(COMPOSE["volumes"])
        assert {config["source"] for config in service.get("configs", ())} <= set(COMPOSE["configs"])
        assert set(service.get("depends_on", ())) <= set(SERVICES)


def test_the_logins_are_those_that_row_level_security_needs():
    script = COMPOSE["configs"]["roles"]["content"]
    assert "CREATE ROLE caio LOGIN NOSUPERUSER NOBYPASSRLS" in script
    for role in (APP, PLATFORM):
        assert f"CREATE ROLE {role} NOLOGIN;" in script
    assert f"GRANT {APP}, {PLATFORM} TO caio;" in script


def test_redis_never_evicts():
    command = SERVICES["redis"]["command"]
    assert command[command.index("--maxmemory-policy") + 1] == "noeviction"


def test_the_image_is_built_from_pinned_parts_and_runs_as_nobody():
    installs = [line for line in DOCKERFILE.splitlines() if re.search(r"\binstall\b.*(-r |-platform)", line)]
    assert len(installs) == 3
    assert all("--require-hashes" in line or "--no-index" in line for line in installs)
    bases = re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)
    assert len(bases) == 2
    assert len(set(bases)) == 1, "what is built against is what is run on"
    assert re.fullmatch(r"python:3\.\d+\.\d+-slim-[a-z]+(@sha256:[0-9a-f]{64})?", bases[0])
    users = re.findall(r"^USER (.+)$", DOCKERFILE, re.MULTILINE)
    assert users == ["{0}:{0}".format(CONTRACT["user"])]
    owner = re.search(r"chown (\d+:\d+) pgpass", SERVICES["passwords"]["command"][0])
    assert owner
    assert owner[1] == users[-1], "asyncpg reads a password file of its own user only"
    assert DOCKERFILE.rindex("USER ") > DOCKERFILE.rindex("FROM ")


def test_the_image_says_what_the_contract_says():
    assert f"EXPOSE {CONTRACT['ports']['api']}\n" in DOCKERFILE
    assert f"CAIO_OPS_PORT={CONTRACT['ports']['operations']}\n" in DOCKERFILE
    assert f"VOLUME {json.dumps([CONTRACT['data_directory'], '/tmp'])}\n" in DOCKERFILE
    assert f"CMD {json.dumps(CONTRACT['commands']['api'])}\n" in DOCKERFILE + "\n"
    health = re.search(r"^HEALTHCHECK (.+)$", DOCKERFILE, re.MULTILINE)
    assert health
    assert health[1] == '--interval=30s --timeout=10s --start-period=40s --retries=3 CMD ["healthcheck"]'


def test_what_the_image_copies_is_there_and_sent():
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    for line in re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE, re.MULTILINE):
        for name in [word for word in line.split() if not word.startswith("--")][:-1]:
            assert (ROOT / name).exists()
            assert f"!{name.partition('/')[0]}" in ignored
