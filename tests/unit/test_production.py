"""What an installation that others rely on does not start with: one law after the other, each setting by itself."""

from __future__ import annotations

import base64
import secrets
import string
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caio.config import Purpose, Settings, read_settings, require_safe, unsafe_settings
from caio.config.production import weakness
from caio.foundation.errors import Misconfigured

SAFE: dict[str, Any] = {
    "env": "production",
    "db_host": "db.example",
    "db_user": "caio_one",
    "db_password": "kJ3vQx9LmZ2p",
    "db_sslmode": "verify-full",
    "redis_url": "rediss://cache.example:6379/0",
    "redis_password": "wN8rT5yUb1Xc",
    "auth_secret_key": "Zr0aQ8e2Yb7LkVd5NfXh3TgMj9CpWuS1oIvEyKzRmBx4",
    "signing_secret": "base64:" + base64.b64encode(bytes(range(7, 39))).decode(),
    "audit_origin": "caio.example.org",
    "anchor": "s3://anchors/production",
}
WHOLE = {name: value for name, value in SAFE.items() if not name.startswith("db_")}
GOOD_URL = "postgresql://caio:kJ3vQx9LmZ2p@db.example/caio?sslmode=require"

#: What is changed of the safe settings, and the variable that is then named, with the beginning of what is said.
UNSAFE: list[tuple[dict[str, Any], str]] = [
    ({"auth_secret_key": None}, "CAIO_AUTH_SECRET_KEY: is unset"),
    ({"auth_secret_key": "changeme" * 6}, "CAIO_AUTH_SECRET_KEY: is, or holds, a default"),
    ({"auth_secret_key": "x" * 64}, "CAIO_AUTH_SECRET_KEY: uses few"),
    ({"auth_secret_key": "0123456789abcdef" * 3}, "CAIO_AUTH_SECRET_KEY: repeats itself"),
    ({"auth_secret_key": "base64:" + base64.b64encode(bytes(32)).decode()}, "CAIO_AUTH_SECRET_KEY: uses few"),
    ({"signing_secret": None}, "CAIO_SIGNING_SECRET: is unset"),
    ({"signing_secret": "0123456789" * 5}, "CAIO_SIGNING_SECRET: repeats itself"),
    ({"signing_secret": SAFE["auth_secret_key"]}, "CAIO_SIGNING_SECRET: is CAIO_AUTH_SECRET_KEY again"),
    ({"db_password": None}, "CAIO_DB_PASSWORD: is missing"),
    ({"db_password": ""}, "CAIO_DB_PASSWORD: is missing"),
    ({"db_password": "Postgres-2026!"}, "CAIO_DB_PASSWORD: is, or holds, a default"),
    ({"db_password": "caio2026"}, "CAIO_DB_PASSWORD: is, or holds, a default"),
    ({"db_password": "CAIO_one"}, "CAIO_DB_PASSWORD: is the login's name"),
    ({"db_password": "kJ3vQx9LmZ2"}, "CAIO_DB_PASSWORD: is shorter"),
    ({"db_password": "aaaaaaaaaaaaaaaa"}, "CAIO_DB_PASSWORD: uses few"),
    ({"db_password": "abcdefghabcdefgh"}, "CAIO_DB_PASSWORD: repeats itself"),
    ({"db_sslmode": None}, "CAIO_DB_SSLMODE: "),
    ({"db_sslmode": "disable"}, "CAIO_DB_SSLMODE: "),
    ({"db_admin_user": "boss", "db_admin_password": "x"}, "CAIO_DB_ADMIN_USER, CAIO_DB_ADMIN_PASSWORD: are for"),
    ({"db_admin_password": "x"}, "CAIO_DB_ADMIN_USER, CAIO_DB_ADMIN_PASSWORD: are for"),
    ({"redis_url": "redis://cache.example:6379/0"}, "CAIO_REDIS_URL: must begin with rediss://"),
    ({"redis_url": "rediss://cache.example?ssl_cert_reqs=none"}, "CAIO_REDIS_URL: must begin with rediss://"),
    ({"redis_url": "rediss://cache.example?ssl_check_hostname=False"}, "CAIO_REDIS_URL: must begin with rediss://"),
    ({"redis_password": None}, "CAIO_REDIS_PASSWORD: is missing"),
    ({"redis_password": "redis"}, "CAIO_REDIS_PASSWORD: is, or holds, a default"),
    ({"cache_redis_url": "redis://other.example/0"}, "CAIO_CACHE_REDIS_URL: must begin with rediss://"),
    ({"cache_redis_url": "rediss://:short@other.example/0"}, "CAIO_REDIS_PASSWORD: is shorter"),
    ({"silo_databases": f"one={GOOD_URL.partition('?')[0]}"}, "CAIO_SILO_DATABASES: add ?sslmode"),
    ({"silo_databases": "one=postgresql://caio@x/y?sslmode=require"}, "CAIO_SILO_DATABASES: the password of one"),
    ({"audit_origin": "caio.localhost"}, "CAIO_AUDIT_ORIGIN: is unset"),
    ({"anchor": None}, "CAIO_ANCHOR: is unset"),
]
UNSAFE_WHOLE = [
    ({}, "CAIO_DB_HOST: is unset, and so is CAIO_DATABASE_URL"),
    ({"database_url": "sqlite:///caio.db"}, "CAIO_DATABASE_URL: must name a PostgreSQL database"),
    ({"database_url": GOOD_URL.replace("require", "prefer")}, "CAIO_DATABASE_URL: add ?sslmode"),
    ({"database_url": GOOD_URL.replace(":kJ3vQx9LmZ2p", "")}, "CAIO_DATABASE_URL: its password is missing"),
]


def settings_with(changes: dict[str, Any], base: dict[str, Any] = SAFE) -> Settings:
    kept = base | changes
    if kept.get("redis_url") is None:
        kept.pop("redis_url", None)
    return read_settings(**kept)


@pytest.mark.parametrize("env", ["staging", "production"])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"redis_url": None, "redis_password": None},
        {"anchor": "none"},
        {"anchor": "/mnt/elsewhere"},
        {"db_sslmode": "require"},
        {"db_password": "Redistributed9!"},
        {"cache_redis_url": "rediss://other.example/0"},
        {"silo_databases": f"one={GOOD_URL}"},
    ],
)
def test_what_is_safe_starts(changes: dict[str, Any], env: str) -> None:
    assert unsafe_settings(settings_with({**changes, "env": env})) == []
    require_safe(settings_with({**changes, "env": env}))


def test_a_whole_url_is_as_good() -> None:
    assert unsafe_settings(settings_with({"database_url": GOOD_URL}, WHOLE)) == []


@pytest.mark.parametrize("env", ["staging", "production"])
@pytest.mark.parametrize(("changes", "told"), UNSAFE)
def test_each_unsafe_setting_is_named(changes: dict[str, Any], told: str, env: str) -> None:
    found = unsafe_settings(settings_with({**changes, "env": env}))
    assert [each[: len(told)] for each in found] == [told]
    with pytest.raises(Misconfigured) as refused:
        require_safe(settings_with({**changes, "env": env}))
    assert refused.value.code == "unsafe_settings"
    assert told in refused.value.message


@pytest.mark.parametrize(("changes", "told"), UNSAFE_WHOLE)
def test_each_unsafe_database_is_named(changes: dict[str, Any], told: str) -> None:
    assert [each[: len(told)] for each in unsafe_settings(settings_with(changes, WHOLE))] == [told]


def test_every_unsafe_setting_is_named() -> None:
    found = unsafe_settings(read_settings(env="production", redis_url="redis://cache.example"))
    assert [each.partition(":")[0] for each in found] == [
        "CAIO_AUTH_SECRET_KEY",
        "CAIO_SIGNING_SECRET",
        "CAIO_DB_HOST",
        "CAIO_REDIS_URL",
        "CAIO_REDIS_PASSWORD",
        "CAIO_AUDIT_ORIGIN",
        "CAIO_ANCHOR",
    ]


def test_what_is_told_holds_no_secret() -> None:
    hidden = {name: f"{each}{index}" for index, (name, each) in enumerate(dict.fromkeys(_SECRETS, "hidden").items())}
    changes = {**hidden, "auth_secret_key": "hidden1" * 7, "signing_secret": "hidden1" * 7, "redis_url": "redis://x"}
    for purpose in Purpose:
        told = "\n".join(unsafe_settings(settings_with(changes), purpose))
        assert "CAIO_DB_PASSWORD: " in told
        assert "hidden" not in told


_SECRETS = ("db_password", "db_admin_password", "redis_password")


@pytest.mark.parametrize(("changes", "told"), UNSAFE + UNSAFE_WHOLE)
def test_development_starts_with_anything(changes: dict[str, Any], told: str) -> None:
    base = SAFE if (changes, told) in UNSAFE else WHOLE
    assert unsafe_settings(settings_with({**changes, "env": "development"}, base)) == []


def test_a_migration_needs_its_database_alone() -> None:
    only = {name: value for name, value in SAFE.items() if name == "env" or name.startswith("db_")}
    admin: dict[str, Any] = {"db_admin_user": "boss", "db_admin_password": "hG6dSk2Pq0Za"}
    for changes in ({}, admin):
        assert unsafe_settings(settings_with(changes, only), Purpose.MIGRATION) == []
    refused: list[tuple[dict[str, Any], str]] = [
        ({"db_password": "changeme"}, "CAIO_DB_PASSWORD: "),
        ({"db_sslmode": None}, "CAIO_DB_SSLMODE: "),
        (admin | {"db_admin_password": None}, "CAIO_DB_ADMIN_PASSWORD: is missing"),
        (admin | {"db_admin_password": "postgres"}, "CAIO_DB_ADMIN_PASSWORD: is, or holds"),
        ({"db_admin_password": "x"}, "CAIO_DB_ADMIN_USER: is unset"),
    ]
    for changes, told in refused:
        found = unsafe_settings(settings_with(changes, only), Purpose.MIGRATION)
        assert [each[: len(told)] for each in found] == [told]


@pytest.mark.parametrize(
    "secret",
    [
        *("changeme" * 6, "Example-" * 6, "a" * 43, "ab" * 30, "password" + "kJ3vQx9LmZ2pwN8rT5yUb1XcAa4DfGh6Jk7"),
        *("0123456789abc" * 4, "base64:" + base64.b64encode(b"0123456789abcdef" * 2).decode()),
    ],
)
def test_weak_secrets_are_refused(secret: str) -> None:
    assert weakness(secret) is not None


@given(st.binary(min_size=32, max_size=32))
def test_a_short_secret_said_again_is_weak(part: bytes) -> None:
    assert weakness(part.hex() * 2) is not None


def test_random_secrets_are_taken() -> None:
    alphabet = string.ascii_letters + string.digits + "!#$%&*()-_=+[]{}<>:?"
    for _ in range(2_000):
        for secret in (
            secrets.token_urlsafe(32),
            secrets.token_hex(32),
            "base64:" + base64.b64encode(secrets.token_bytes(32)).decode(),
            "".join(secrets.choice(alphabet) for _ in range(43)),
        ):
            assert weakness(secret) is None, "the chance is below one in a million"
