"""What the container is given, by its contract (``infrastructure/container.yaml``), and what it refuses to start on."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from pydantic import SecretStr

from caio.config import Purpose, Settings, read_settings, unsafe_settings
from caio.foundation.errors import Misconfigured
from tests.support.caio_command import run_caio

CONTRACT: dict[str, Any] = yaml.safe_load((Path(__file__).parents[2] / "infrastructure" / "container.yaml").read_text())
ENVIRONMENT, SECRETS = CONTRACT["environment"], CONTRACT["secrets"]
SERVING = {*ENVIRONMENT["all"], *ENVIRONMENT["serving"], *SECRETS["all"], *SECRETS["serving"]}
MIGRATION = {*ENVIRONMENT["all"], *SECRETS["all"], *SECRETS["migration"]}
TRIAL = SERVING - {*CONTRACT["without_in_trial"]}

#: A safe value of each, as a deployment would give it.
VALUES = {
    "CAIO_ENV": "production",
    "CAIO_DB_HOST": "db.example",
    "CAIO_DB_PORT": "5432",
    "CAIO_DB_NAME": "caio",
    "CAIO_DB_SSLMODE": "require",
    "CAIO_DB_USER": "caio_one",
    "CAIO_DB_PASSWORD": "kJ3vQx9LmZ2pW7tR",
    "CAIO_DB_ADMIN_USER": "caio_boss",
    "CAIO_DB_ADMIN_PASSWORD": "hG6dSk2Pq0ZaN5bV",
    "CAIO_API_HOST": "0.0.0.0",
    "CAIO_API_PORT": "8080",
    "CAIO_OPS_PORT": "9090",
    "CAIO_REDIS_URL": "rediss://cache.example:6379/0",
    "CAIO_REDIS_PASSWORD": "wN8rT5yUb1XcF4gH",
    "CAIO_PROCESSES": "12",
    "CAIO_KMS_KEY_ID": "alias/caio-production-tenants",
    "CAIO_AUDIT_ORIGIN": "caio.example.org",
    "CAIO_ANCHOR": "s3://caio-production-audit/anchors",
    "CAIO_EVENT_BUS": "caio-production",
    "CAIO_OIDC_ISSUER": "https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_Pool",
    "CAIO_OIDC_AUDIENCE": "6u0kclient",
    "CAIO_CORS_ORIGINS": "https://app.example.org",
    "CAIO_TRUSTED_PROXIES": "10.0.1.0/24,10.0.2.0/24",
    "CAIO_DRAIN_SECONDS": "35",
    "CAIO_GRACE_SECONDS": "70",
    "CAIO_METRICS_EMF": "true",
    "CAIO_OTLP_ENDPOINT": "http://127.0.0.1:4318",
    "CAIO_AUTH_SECRET_KEY": "Zr0aQ8e2Yb7LkVd5NfXh3TgMj9CpWuS1oIvEyKzRmBx4",
    "CAIO_SIGNING_SECRET": "p4TqLx9WzRb2NcKv7HgYd1MsJf8EuAo6XiQy3BtVnZk5",
    "AWS_REGION": "eu-central-1",
}

#: What a start needs, and the variable whose refusal tells of it.
NEEDED_TO_SERVE = {
    "CAIO_DB_HOST": "CAIO_DB_HOST",
    "CAIO_DB_USER": "CAIO_DB_USER",
    "CAIO_DB_PASSWORD": "CAIO_DB_PASSWORD",
    "CAIO_DB_SSLMODE": "CAIO_DB_SSLMODE",
    "CAIO_REDIS_PASSWORD": "CAIO_REDIS_PASSWORD",
    "CAIO_AUTH_SECRET_KEY": "CAIO_AUTH_SECRET_KEY",
    "CAIO_SIGNING_SECRET": "CAIO_SIGNING_SECRET",
    "CAIO_AUDIT_ORIGIN": "CAIO_AUDIT_ORIGIN",
    "CAIO_ANCHOR": "CAIO_ANCHOR",
    "CAIO_OIDC_ISSUER": "CAIO_OIDC_ISSUER",
    "CAIO_OIDC_AUDIENCE": "CAIO_OIDC_AUDIENCE",
}
NEEDED_TO_MIGRATE = {
    each: each
    for each in ("CAIO_DB_HOST", "CAIO_DB_USER", "CAIO_DB_PASSWORD", "CAIO_DB_SSLMODE", "CAIO_DB_ADMIN_PASSWORD")
} | {"CAIO_DB_ADMIN_USER": "CAIO_DB_ADMIN_USER"}

SECRET_NAMES = [name for each in SECRETS.values() for name in each if not name.endswith("_USER")]

#: What stands in examples and defaults everywhere.
DEFAULTS = ("changeme", "password", "postgres", "caio", "secret", "x" * 64, "changeme" * 8)


def refusal(environment: Mapping[str, str], monkeypatch: pytest.MonkeyPatch, purpose: Purpose) -> str:
    """What a process with this environment is refused for; nothing where it may start."""
    for name in VALUES:
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    try:
        return "\n".join(unsafe_settings(read_settings(), purpose))
    except Misconfigured as refused:
        return refused.message


def given(names: set[str], **changed: str | None) -> dict[str, str]:
    return {name: value for name, value in (VALUES | changed).items() if name in names and value is not None}


def test_the_settings_know_every_name() -> None:
    names = {name for name in {*SERVING, *MIGRATION, *ENVIRONMENT["optional"]} if name.startswith("CAIO_")}
    assert names <= {f"CAIO_{field.upper()}" for field in Settings.model_fields}
    assert set(VALUES) == SERVING | MIGRATION, "this test gives a value to each"


def test_secrets_come_from_a_secret_store_and_from_nowhere_else() -> None:
    secret = {
        f"CAIO_{name.upper()}"
        for name, field in Settings.model_fields.items()
        if SecretStr in (field.annotation, *get_args(field.annotation))
    }
    stored = {name for each in SECRETS.values() for name in each}
    assert secret <= stored
    assert stored - secret == {"CAIO_DB_USER", "CAIO_DB_ADMIN_USER"}  # they change with their passwords
    assert not stored & {name for each in ENVIRONMENT.values() for name in each}
    assert set(SECRETS["migration"]).isdisjoint(SERVING), "what may define tables serves nobody"


@pytest.mark.parametrize("names", [SERVING, TRIAL], ids=["serving", "trial"])
def test_what_the_contract_gives_is_enough_to_serve(names: set[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert refusal(given(names), monkeypatch, Purpose.SERVING) == ""


def test_what_the_contract_gives_is_enough_to_migrate(monkeypatch: pytest.MonkeyPatch) -> None:
    assert refusal(given(MIGRATION), monkeypatch, Purpose.MIGRATION) == ""


@pytest.mark.parametrize(
    ("purpose", "names", "needed"),
    [
        (Purpose.SERVING, SERVING, NEEDED_TO_SERVE),
        (Purpose.SERVING, TRIAL, {name: told for name, told in NEEDED_TO_SERVE.items() if name in TRIAL}),
        (Purpose.MIGRATION, MIGRATION, NEEDED_TO_MIGRATE),
    ],
    ids=["serving", "trial", "migration"],
)
def test_production_starts_without_nothing_that_it_needs(
    purpose: Purpose, names: set[str], needed: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in sorted(names - {"CAIO_ENV"}):
        told = refusal(given(names, **{name: None}), monkeypatch, purpose)
        if name in needed:
            assert needed[name] in told, f"without {name}"
            assert all(
                value not in told for secret, value in VALUES.items() if "PASSWORD" in secret or "SECRET" in secret
            )
        else:
            assert told == "", f"without {name}"


@pytest.mark.parametrize("purpose", Purpose)
def test_production_starts_with_no_default_secret(purpose: Purpose, monkeypatch: pytest.MonkeyPatch) -> None:
    names = SERVING if purpose is Purpose.SERVING else MIGRATION
    for name in names & {*SECRET_NAMES}:
        for default in DEFAULTS:
            told = refusal(given(names, **{name: default}), monkeypatch, purpose)
            assert name in told, f"{name}={default}"
            assert default not in told or default in ("caio", "secret", "password"), "words of the message itself"


def test_everything_that_is_demanded_is_in_the_contract(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the environment lacks or holds, what is named is what a deployment can give."""
    for purpose, names in ((Purpose.SERVING, SERVING), (Purpose.MIGRATION, MIGRATION)):
        for environment in ({}, {"CAIO_REDIS_URL": "redis://x"}, {"CAIO_DB_HOST": "x", "CAIO_DB_USER": "y"}):
            told = refusal({"CAIO_ENV": "production", **environment}, monkeypatch, purpose)
            named = {line.partition(":")[0] for line in told.splitlines()}
            assert named
            assert named <= names, purpose


COMMANDS = [
    (CONTRACT["commands"]["api"], SERVING, "CAIO_AUTH_SECRET_KEY"),
    (CONTRACT["commands"]["worker"], SERVING, "CAIO_SIGNING_SECRET"),
    (CONTRACT["commands"]["migration"], MIGRATION, "CAIO_DB_PASSWORD"),
    (["keys", "create", "x", "--embedded"], SERVING, "CAIO_AUTH_SECRET_KEY"),
]


async def test_the_processes_themselves_refuse(tmp_path: Path) -> None:
    """Before anything is opened: no directory is made, and no server is asked (there is none)."""

    async def ended(number: int, command: list[str], names: set[str], missing: str) -> None:
        folder = tmp_path / str(number)
        folder.mkdir()
        code, said = await run_caio(folder, given(names, **{missing: None}), *command, "--json")
        assert code == 1, said
        error = json.loads(said)["error"]
        assert (error["code"], missing in error["detail"]) == ("unsafe_settings", True)
        assert list(folder.iterdir()) == []

    for number, (command, names, missing) in enumerate(COMMANDS):
        await ended(number, command, names, missing)


def test_the_asgi_application_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under another server than our own, too."""
    from caio.api.app import app

    for name, value in given(SERVING, CAIO_SIGNING_SECRET=None).items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "lifespan.startup"}

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(app({"type": "lifespan"}, receive, send))
    assert sent[0]["type"] == "lifespan.startup.failed"
    assert "CAIO_SIGNING_SECRET" in sent[0]["message"]
    assert list(tmp_path.iterdir()) == []
