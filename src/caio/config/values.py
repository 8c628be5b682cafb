"""What a variable holds that is more than a word or a number."""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import urlsplit

from pydantic_settings import BaseSettings, SettingsConfigDict

#: A bucket by its name (as S3 permits it) and, after a slash, the prefix of its keys.
BUCKET = re.compile(r"s3://(?P<bucket>[a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(/(?P<prefix>[^\s]*))?")


class Environment(BaseSettings):
    """What is read from variables that begin with ``CAIO_``; an error never quotes what a variable holds."""

    model_config = SettingsConfigDict(env_prefix="CAIO_", frozen=True, extra="ignore", hide_input_in_errors=True)


class Bucket(NamedTuple):
    """A bucket of S3, and what every key in it begins with (without a final slash)."""

    name: str
    prefix: str


class WitnessAddress(NamedTuple):
    """Where a witness is asked, and the text of the verifier key that its cosignatures are checked with."""

    url: str
    key: str


class NamedDatabase(NamedTuple):
    """A database that one tenant may have to itself, and the name that the tenant's row calls it by."""

    name: str
    url: str


def split(value: object) -> object:
    """The parts of a text with commas; anything else as it is."""
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


def is_secure(url: str) -> bool:
    """Whether a URL is https, or this machine's own, with nothing beside scheme, host, port and path."""
    try:
        parts = urlsplit(url)
        local = parts.hostname in ("127.0.0.1", "::1", "localhost")
        plain = parts.username is None and parts.password is None and not parts.fragment and not parts.query
        return bool(parts.hostname) and plain and parts.scheme in (("https", "http") if local else ("https",))
    except ValueError:
        return False
