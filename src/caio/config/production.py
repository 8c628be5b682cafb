"""What an installation that others rely on does not start with.

Theory of operation
-------------------
A setting that is convenient on one's own machine is a hole in a deployment: a key that lies on a disk which goes
with its task, a password that everybody knows, a connection that others can read. Where ``CAIO_ENV`` is
``staging`` or ``production`` each of them stops the start, before anything is opened, and all are named at once.
Staging is held to the same: what is not tried there fails first in production.

Laws (each has a test of the same name)
---------------------------------------
- every_unsafe_setting_is_named: all of them together, each with its variable and what to do.
- what_is_told_holds_no_secret.
- development_starts_with_anything.
- weak_secrets_are_refused: those that everybody knows, repeat themselves or use few characters.
- random_secrets_are_taken: of 256 bits, in base64 or hexadecimal.

Pure. Not known here: whether a secret was used elsewhere, is known to others, or was made by a person.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from urllib.parse import parse_qs, unquote, urlsplit

from pydantic import SecretStr

from caio.config.evidence import NO_ORIGIN, raw_key
from caio.config.settings import Settings
from caio.foundation.errors import Misconfigured

#: What a password or secret must not hold: defaults of databases, of examples, of this product's own documents.
_KNOWN = (
    "changeme",
    "change-me",
    "change_me",
    "changeit",
    "default",
    "example",
    "insecure",
    "letmein",
    "p@ssw0rd",
    "passw0rd",
    "password",
    "placeholder",
    "postgres",
    "qwerty",
    "replace-me",
    "replaceme",
)

#: What a password or secret must not be, whatever its case and the digits after it.
_NAMES = ("admin", "caio", "caio_app", "master", "redis", "root", "secret", "test", "user", "valkey")

#: 32 random bytes have fewer different ones in one of 10**16 cases; 64 hexadecimal characters in one of 10**11.
_DISTINCT_BYTES = 16
_DISTINCT_CHARACTERS = 10

_PASSWORD_CHARACTERS = 12
_DISTINCT_IN_PASSWORD = 6

_TLS = ("require", "verify-ca", "verify-full")
_MAKE_SECRET = "make one with `openssl rand -base64 48` and keep it in a secret store"  # noqa: S105 - how to make one


class Purpose(Enum):
    """What is to be started: what serves or works, or what migrates, which needs the database alone."""

    SERVING = "serving"
    MIGRATION = "migration"


def require_safe(settings: Settings, purpose: Purpose = Purpose.SERVING) -> None:
    """Raises Misconfigured naming every setting that an installation others rely on must not have."""
    if unsafe := unsafe_settings(settings, purpose):
        raise Misconfigured(
            f"CAIO_ENV is {settings.env}, and these settings are not safe for it:"
            + "".join(f"\n  {each}" for each in unsafe),
            code="unsafe_settings",
        )


def unsafe_settings(settings: Settings, purpose: Purpose = Purpose.SERVING) -> list[str]:
    """What is not safe, each beginning with its variable; nothing in development."""
    if not settings.deployed:
        return []
    found = list(_database(settings))
    if purpose is Purpose.MIGRATION:
        return found + list(_administrator(settings))
    if settings.db_admin_user is not None or settings.db_admin_password is not None:
        found.append("CAIO_DB_ADMIN_USER, CAIO_DB_ADMIN_PASSWORD: are for `caio db upgrade` alone; unset them here")
    return [*_keys(settings), *found, *_redis(settings), *_evidence(settings)]


def weakness(secret: str) -> str | None:
    """What is wrong with a secret that a key is made of, None when nothing is known to be."""
    raw = raw_key(secret)
    if raw is not None:
        return "uses few different bytes" if len(set(raw)) < _DISTINCT_BYTES else _repeated(raw)
    return _known(secret) or _of_few(secret, _DISTINCT_CHARACTERS) or _repeated(secret.encode())


def _password_weakness(password: str, user: str) -> str | None:
    if not password:
        return "is missing"
    if user and password.lower() == user.lower():
        return "is the login's name"
    if found := _known(password):
        return found
    if len(password) < _PASSWORD_CHARACTERS:
        return f"is shorter than {_PASSWORD_CHARACTERS} characters"
    return _of_few(password, _DISTINCT_IN_PASSWORD) or _repeated(password.encode())


def _known(secret: str) -> str | None:
    lowered = secret.lower()
    if lowered.rstrip("0123456789!") in _NAMES or any(each in lowered for each in _KNOWN):
        return "is, or holds, a default that everybody knows"
    return None


def _of_few(secret: str, distinct: int) -> str | None:
    return "uses few different characters" if len(set(secret)) < distinct else None


def _repeated(secret: bytes) -> str | None:
    """Found by the string's own borders: one that repeats a part occurs within its double."""
    return "repeats itself" if secret in (secret + secret)[1:-1] else None


def _keys(settings: Settings) -> Iterator[str]:
    named = {
        "CAIO_AUTH_SECRET_KEY": (settings.auth_secret_key, "which opens what is stored"),
        "CAIO_SIGNING_SECRET": (settings.signing_secret, "which signs receipts"),
    }
    for name, (secret, purpose) in named.items():
        if secret is None:
            yield f"{name}: is unset, and a key {purpose} would lie in this process's directory; {_MAKE_SECRET}"
        elif found := weakness(secret.get_secret_value()):
            yield f"{name}: {found}; {_MAKE_SECRET}"
    if settings.auth_secret_key is not None and settings.auth_secret_key == settings.signing_secret:
        yield f"CAIO_SIGNING_SECRET: is CAIO_AUTH_SECRET_KEY again; {_MAKE_SECRET}"


def _database(settings: Settings) -> Iterator[str]:
    if settings.embedded:
        yield "CAIO_DB_HOST: is unset, and so is CAIO_DATABASE_URL; data needs PostgreSQL, which outlives a process"
        return
    whole = settings.database_url is not None
    url = urlsplit(settings.url)
    if not url.scheme.startswith("postgresql"):
        yield "CAIO_DATABASE_URL: must name a PostgreSQL database"
        return
    where = "CAIO_DATABASE_URL: its password" if whole else "CAIO_DB_PASSWORD:"
    user, password = settings.login
    if found := _password_weakness(password, user):
        yield f"{where} {found}; give the login {user} one of its own"
    if not _has_tls(url.query):
        yield (
            "CAIO_DATABASE_URL: add ?sslmode=verify-full or ?sslmode=require"
            if whole
            else "CAIO_DB_SSLMODE: set it to verify-full or require"
        ) + ", or the connection may be readable by others"
    for silo in settings.silo_databases:
        parts = urlsplit(silo.url)
        if found := _password_weakness(unquote(parts.password or ""), unquote(parts.username or "")):
            yield f"CAIO_SILO_DATABASES: the password of {silo.name} {found}; give its login one of its own"
        if not _has_tls(parts.query):
            yield f"CAIO_SILO_DATABASES: add ?sslmode=verify-full or ?sslmode=require to the URL of {silo.name}"


def _administrator(settings: Settings) -> Iterator[str]:
    if settings.db_admin_user is None:
        if settings.db_admin_password is not None:
            yield "CAIO_DB_ADMIN_USER: is unset; say whose password CAIO_DB_ADMIN_PASSWORD is"
        return
    if found := _password_weakness(_text(settings.db_admin_password), settings.db_admin_user):
        yield f"CAIO_DB_ADMIN_PASSWORD: {found}; give the administrator one of its own"


def _redis(settings: Settings) -> Iterator[str]:
    urls = {"CAIO_REDIS_URL": settings.limits_url, "CAIO_CACHE_REDIS_URL": settings.answers_url}
    for name, url in urls.items():
        if url is None:
            continue
        parts = urlsplit(url)
        if parts.scheme != "rediss" or _checks_nobody(parts.query):
            yield f"{name}: must begin with rediss:// and check certificates, or the connection is readable by others"
        if found := _password_weakness(unquote(parts.password or ""), unquote(parts.username or "")):
            yield f"CAIO_REDIS_PASSWORD: {found}; the Redis of {name} must ask for one"


def _evidence(settings: Settings) -> Iterator[str]:
    if settings.audit_origin == NO_ORIGIN:
        yield "CAIO_AUDIT_ORIGIN: is unset; name a host of yours: it is part of every checkpoint for good"
    if settings.anchor is None:
        yield "CAIO_ANCHOR: is unset; state s3://bucket/prefix, a directory elsewhere, or none if you want none"


def _has_tls(query: str) -> bool:
    return parse_qs(query).get("sslmode", [""])[-1] in _TLS


def _checks_nobody(query: str) -> bool:
    """Whether a Redis's certificate would not be looked at, or not whose it is: anybody has one of some host's."""
    said = parse_qs(query)
    any_host = {each.lower() for each in said.get("ssl_check_hostname", [])} & {"0", "f", "false", "n", "no"}
    return "none" in said.get("ssl_cert_reqs", []) or bool(any_host)


def _text(secret: SecretStr | None) -> str:
    return "" if secret is None else secret.get_secret_value()
