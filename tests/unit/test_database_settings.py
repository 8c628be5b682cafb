"""The database and Redis by their parts: whatever a password holds, it reaches the server as it was stated."""

from __future__ import annotations

import base64
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.asyncio import ConnectionPool
from sqlalchemy import make_url

from caio.bootstrap import embedded_settings
from caio.config import Settings, read_settings
from caio.foundation.errors import Misconfigured
from caio.storage.sql.database import Address

PARTS = {"db_host": "db.example", "db_user": "caio_one", "db_password": "a/b@c:d%e?f#g h+i"}
printable = st.text(st.characters(min_codepoint=32, max_codepoint=0x2FF, exclude_categories=("Cs", "Cc")), min_size=1)


@given(user=printable.filter(lambda text: len(text) < 64), password=printable, admin=printable)
def test_a_password_reaches_the_driver_as_it_is(user: str, password: str, admin: str) -> None:
    settings = read_settings(
        db_host="db.example",
        db_user=user,
        db_password=password,
        db_admin_user=f"{user[:9]}admin",
        db_admin_password=admin,
    )
    dsn = make_url(Address(settings.url).dsn)
    assert (dsn.username, dsn.password, dsn.host, dsn.port, dsn.database) == (
        user,
        password,
        "db.example",
        5432,
        "caio",
    )
    # asyncpg takes the DSN apart with the standard library.
    parts = urlsplit(Address(settings.url).dsn)
    assert (unquote(parts.username or ""), unquote(parts.password or "")) == (user, password)
    assert settings.login == (user, password)
    assert settings.admin_url is not None
    assert make_url(settings.admin_url).password == admin


def test_parts_make_the_address() -> None:
    settings = read_settings(**PARTS, db_port=6432, db_name="my caio", db_sslmode="verify-full")
    url = make_url(settings.url)
    assert (url.host, url.port, url.database, dict(url.query)) == (
        "db.example",
        6432,
        "my caio",
        {"sslmode": "verify-full"},
    )
    assert (settings.embedded, settings.admin_url) == (False, None)
    assert make_url(read_settings(**PARTS | {"db_host": "::1"}).url).host == "::1"


def test_an_administrator_takes_the_logins_place_in_a_whole_url_too() -> None:
    settings = read_settings(
        database_url="postgresql://caio:one@[::1]:6000/x?sslmode=require",
        db_admin_user="boss",
        db_admin_password="t:w/o",
    )
    assert settings.admin_url == "postgresql://boss:t%3Aw%2Fo@[::1]:6000/x?sslmode=require"


@pytest.mark.parametrize(
    ("stated", "told"),
    [
        (PARTS | {"database_url": "postgresql://x/y"}, "state the database once"),
        ({"db_password": "x"}, "CAIO_DB_PASSWORD: a database by parts needs CAIO_DB_HOST and CAIO_DB_USER"),
        ({"db_user": "caio"}, "needs CAIO_DB_HOST"),
        ({"db_host": "db.example"}, "needs CAIO_DB_HOST and CAIO_DB_USER"),
        (PARTS | {"db_host": "db.example/x?host=evil"}, "CAIO_DB_HOST: "),
        (PARTS | {"db_sslmode": "prefer"}, "CAIO_DB_SSLMODE: "),
        (PARTS | {"db_admin_user": "caio_one"}, "CAIO_DB_ADMIN_USER: is for PostgreSQL, and another login"),
        ({"db_admin_user": "boss"}, "CAIO_DB_ADMIN_USER: is for PostgreSQL"),
        ({"redis_url": "rediss://:in@it", "redis_password": "x"}, "CAIO_REDIS_PASSWORD: the password is in"),
    ],
)
def test_what_contradicts_itself_is_refused(stated: dict[str, object], told: str) -> None:
    with pytest.raises(Misconfigured) as refused:
        read_settings(**stated)
    assert told in refused.value.message
    assert str(PARTS["db_password"]) not in refused.value.message


@given(password=printable)
def test_a_redis_password_reaches_the_server_as_it_is(password: str) -> None:
    settings = read_settings(
        redis_url="rediss://cache.example:6380/2",
        cache_redis_url="redis://app:its%20own@other/0",
        redis_password=password,
    )
    pool = ConnectionPool.from_url(settings.limits_url or "")
    given = pool.connection_kwargs
    assert (given["password"], given["host"], given["port"], given["db"]) == (password, "cache.example", 6380, 2)
    assert settings.answers_url == "redis://app:its%20own@other/0"


def test_the_library_stays_with_sqlite_whatever_the_environment_names(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, value in {**PARTS, "db_sslmode": "require", "db_admin_user": "boss", "redis_url": "redis://x"}.items():
        monkeypatch.setenv(f"CAIO_{name.upper()}", value)
    settings = embedded_settings(tmp_path, ())
    assert (settings.embedded, settings.several_processes) == (True, False)
    assert settings.url == f"sqlite:///{tmp_path / 'caio.db'}"


def test_no_secret_is_shown() -> None:
    secrets = {
        "database_url": "postgresql://caio:hidden-1@x/y?sslmode=require",
        "db_admin_user": "boss",
        "db_admin_password": "hidden-2",
        "redis_url": "rediss://x",
        "redis_password": "hidden-3",
        "auth_secret_key": "hidden-4" * 6,
        "signing_secret": "base64:" + base64.b64encode(b"hidden-5" * 4).decode(),
    }
    settings = read_settings(**secrets)
    for shown in (repr(settings), str(settings), str(settings.model_dump())):
        for hidden in ("hidden-2", "hidden-3", "hidden-4", secrets["signing_secret"]):
            assert hidden not in shown
    assert "hidden-1" not in repr(settings)


@pytest.mark.parametrize("name", ["auth_secret_key", "signing_secret", "retired_signing_keys"])
@pytest.mark.parametrize("value", ["short-and-hidden", "base64:hidden" + "x" * 40])
def test_keys_of_another_form_are_refused_and_not_shown(name: str, value: str) -> None:
    with pytest.raises(Misconfigured) as refused:
        read_settings(**{name: value})
    assert f"CAIO_{name.upper()}: " in refused.value.message
    assert "hidden" not in refused.value.message


def test_retired_keys_are_of_a_key_from_the_environment() -> None:
    public = base64.b64encode(bytes(range(32))).decode()
    with pytest.raises(Misconfigured, match=r"CAIO_RETIRED_SIGNING_KEYS: .*CAIO_SIGNING_SECRET, which is unset"):
        read_settings(retired_signing_keys=public)
    settings: Settings = read_settings(retired_signing_keys=f" {public} ,", signing_secret="x" * 43)
    assert settings.retired_public_keys == (bytes(range(32)),)


@pytest.mark.parametrize(
    "origins", ["https://app.example/", "app.example", "https://*.example", "*,https://a.b", "null"]
)
def test_other_than_origins_are_refused(origins: str) -> None:
    with pytest.raises(Misconfigured, match=r"CAIO_CORS_ORIGINS: .*each is an origin"):
        read_settings(cors_origins=origins)
