"""Where things are kept: the database, whole or by its parts, and Redis.

A password is stated apart from the address, so that only it need come from a secret store; here it is put into
the URL that the drivers read, quoted, whatever it consists of.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import NoDecode

from caio.config.values import Environment, NamedDatabase

_SILO_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")

#: The variables that say parts of the database's address: stated, they exclude CAIO_DATABASE_URL.
_PARTS = ("db_host", "db_user", "db_password", "db_sslmode")

_REDIS = r"^rediss?://"


class StorageSettings(Environment):
    data_dir: Annotated[
        Path, Field(description="Where the database, the keys and the lock live (created with mode 0700).")
    ] = Path(".caio")
    database_url: Annotated[
        str | None,
        Field(description="`postgresql://…`; unset means SQLite in the data directory.", repr=False),
    ] = None
    db_host: Annotated[
        str | None,
        Field(
            min_length=1,
            pattern=r"^[A-Za-z0-9._:-]+$",
            description="The PostgreSQL server by name or address, where the database is stated by parts instead of "
            "`CAIO_DATABASE_URL`.",
        ),
    ] = None
    db_port: Annotated[int, Field(ge=1, le=65535, description="The PostgreSQL server's port.")] = 5432
    db_name: Annotated[str, Field(min_length=1, max_length=63, description="The database's name.")] = "caio"
    db_user: Annotated[
        str | None,
        Field(
            min_length=1,
            max_length=63,
            description="The login that CAIO works with. `caio db upgrade` makes it when it is told an administrator.",
        ),
    ] = None
    db_password: Annotated[SecretStr | None, Field(description="The login's password.")] = None
    db_sslmode: Annotated[
        Literal["disable", "require", "verify-full"] | None,
        Field(
            description="TLS to the database; unset means where the server offers it. `verify-full` checks the "
            "server's certificate with those in the file that `PGSSLROOTCERT` names."
        ),
    ] = None
    db_admin_user: Annotated[
        str | None,
        Field(
            min_length=1,
            max_length=63,
            description="The administrator that `caio db upgrade` makes tables, roles and the login as; need not be a "
            "superuser. Not for servers and workers.",
        ),
    ] = None
    db_admin_password: Annotated[SecretStr | None, Field(description="The administrator's password.")] = None
    silo_databases: Annotated[
        tuple[NamedDatabase, ...],
        NoDecode,
        Field(
            description="PostgreSQL databases for tenants of the tier `silo`, one each, comma-separated, each "
            "`name=postgresql://…`.",
            repr=False,
        ),
    ] = ()
    redis_url: Annotated[
        str | None,
        Field(
            pattern=_REDIS,
            description="`redis://…` or `rediss://…`: limits are kept there, and several processes may serve one "
            "PostgreSQL database; unset means one process. Needs the extra `redis`.",
            repr=False,
        ),
    ] = None
    redis_password: Annotated[
        SecretStr | None, Field(description="The password of the Redis servers whose URLs hold none.")
    ] = None
    cache_redis_url: Annotated[
        str | None,
        Field(
            pattern=_REDIS,
            description="`redis://…` or `rediss://…`: answers that callers want again are kept there, shared by all "
            "processes. Another Redis than that of the limits: this one should evict (`allkeys-lru`). Unset means "
            "each process's memory. Needs the extra `redis`.",
            repr=False,
        ),
    ] = None

    @field_validator("silo_databases", mode="before")
    @classmethod
    def _read_silos(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        parts = [part.strip().partition("=") for part in value.split(",") if part.strip()]
        if not all(_SILO_NAME.fullmatch(name) and url.startswith("postgresql") for name, _, url in parts):
            raise ValueError("each is a name of a-z, 0-9, - and _, then = and a URL that begins with postgresql")
        if len({name for name, _, _ in parts}) != len(parts):
            raise ValueError("a name stands for one database")
        return tuple(NamedDatabase(name, url) for name, _, url in parts)

    @model_validator(mode="after")
    def _one_database(self) -> Self:
        parts = [f"CAIO_{name.upper()}" for name in _PARTS if getattr(self, name) is not None]
        if self.database_url is not None and parts:
            raise ValueError(f"CAIO_DATABASE_URL and {', '.join(parts)}: state the database once, whole or by parts")
        if parts and (self.db_host is None or self.db_user is None):
            raise ValueError(f"{', '.join(parts)}: a database by parts needs CAIO_DB_HOST and CAIO_DB_USER")
        if self.db_admin_user is not None and (self.embedded or self.db_admin_user == self.login[0]):
            raise ValueError("CAIO_DB_ADMIN_USER: is for PostgreSQL, and another login than the one CAIO works with")
        return self

    @model_validator(mode="after")
    def _one_password(self) -> Self:
        if self.redis_password is not None and self.redis_url is not None and _password(self.redis_url):
            raise ValueError("CAIO_REDIS_PASSWORD: the password is in CAIO_REDIS_URL already")
        return self

    @property
    def embedded(self) -> bool:
        """Whether the database is SQLite in the data directory."""
        return self.database_url is None and self.db_host is None

    @property
    def sqlite_path(self) -> Path:
        return self.data_dir / "caio.db"

    @property
    def url(self) -> str:
        """The database to use."""
        if self.database_url is not None:
            return self.database_url
        if self.db_host is None:
            return f"sqlite:///{self.sqlite_path.resolve()}"
        host = f"[{self.db_host}]" if ":" in self.db_host else self.db_host
        query = "" if self.db_sslmode is None else f"sslmode={self.db_sslmode}"
        parts = ("postgresql", f"{host}:{self.db_port}", f"/{quote(self.db_name, safe='')}", query, "")
        return _with_login(urlunsplit(parts), self.db_user or "", _text(self.db_password))

    @property
    def admin_url(self) -> str | None:
        """The same database for the administrator, None where none is stated."""
        if self.db_admin_user is None:
            return None
        return _with_login(self.url, self.db_admin_user, _text(self.db_admin_password))

    @property
    def login(self) -> tuple[str, str]:
        """Name and password of the database's login, each empty where it is not stated."""
        parts = urlsplit(self.url)
        return unquote(parts.username or ""), unquote(parts.password or "")

    @property
    def limits_url(self) -> str | None:
        """The Redis of the limits, with its password."""
        return self._with_redis_password(self.redis_url)

    @property
    def answers_url(self) -> str | None:
        """The Redis of the kept answers, with its password."""
        return self._with_redis_password(self.cache_redis_url)

    @property
    def several_processes(self) -> bool:
        """Whether other processes may serve the same database."""
        return self.redis_url is not None

    @property
    def silos(self) -> dict[str, str]:
        """The URLs of tenants' own databases, by name."""
        return dict(self.silo_databases)

    def _with_redis_password(self, url: str | None) -> str | None:
        if url is None or self.redis_password is None or _password(url):
            return url
        return _with_login(url, unquote(urlsplit(url).username or ""), _text(self.redis_password))


#: What says nothing of a database or a Redis: an installation beside SQLite, whatever the environment names.
EMBEDDED: dict[str, None] = dict.fromkeys(
    ("database_url", *_PARTS, "db_admin_user", "db_admin_password", "redis_url", "cache_redis_url")
)


def _with_login(url: str, user: str, password: str) -> str:
    parts = urlsplit(url)
    place = parts.netloc.rpartition("@")[2]
    login = quote(user, safe="") + (f":{quote(password, safe='')}" if password else "")
    return urlunsplit(parts._replace(netloc=f"{login}@{place}" if login else place))


def _password(url: str) -> str:
    return unquote(urlsplit(url).password or "")


def _text(secret: SecretStr | None) -> str:
    return "" if secret is None else secret.get_secret_value()
