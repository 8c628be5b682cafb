"""Settings, from the environment (``CAIO_…``) and nothing else; read by ``bootstrap`` alone.

There are no default secrets: keys are generated in the data directory at first start. The table
in ``docs/reference/settings.md`` is generated from this class.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from caio.foundation.errors import Misconfigured

#: A bucket by its name (as S3 permits it) and, after a slash, the prefix of its keys.
_BUCKET = re.compile(r"s3://(?P<bucket>[a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(/(?P<prefix>[^\s]*))?")
_WITNESS = re.compile(r"(?P<url>https?://[^\s=]+)=(?P<key>[^\s+]+\+[0-9a-f]{8}\+[A-Za-z0-9+/=]+)")


class Bucket(NamedTuple):
    """A bucket of S3, and what every key in it begins with (without a final slash)."""

    name: str
    prefix: str


class WitnessAddress(NamedTuple):
    """Where a witness is asked, and the text of the verifier key that its cosignatures are checked with."""

    url: str
    key: str


class Settings(BaseSettings):
    """Everything an operator may set."""

    model_config = SettingsConfigDict(env_prefix="CAIO_", frozen=True, extra="ignore")

    env: Annotated[
        Literal["development", "staging", "production"], Field(description="Part of new API keys' names.")
    ] = "development"
    data_dir: Annotated[
        Path, Field(description="Where the database, the keys and the lock live (created with mode 0700).")
    ] = Path(".caio")
    database_url: Annotated[
        str | None,
        Field(description="`postgresql://…`; unset means SQLite in the data directory.", repr=False),
    ] = None
    redis_url: Annotated[
        str | None,
        Field(
            pattern=r"^rediss?://",
            description="`redis://…` or `rediss://…`: limits are kept there, and several processes may serve one "
            "PostgreSQL database; unset means one process. Needs the extra `redis`.",
            repr=False,
        ),
    ] = None
    processes: Annotated[
        int,
        Field(
            ge=1,
            le=1024,
            description="Most processes that serve at once; each admits its share while Redis does not answer, for "
            "tenants that want that.",
        ),
    ] = 4
    api_host: Annotated[str, Field(description="Address to listen on.")] = "127.0.0.1"
    api_port: Annotated[int, Field(ge=0, le=65535, description="Port to listen on; 0 picks a free one.")] = 8080
    max_body_bytes: Annotated[int, Field(ge=1024, description="Largest request body.")] = 4 * 1024 * 1024
    outbound_allow: Annotated[
        tuple[IPv4Network | IPv6Network, ...],
        NoDecode,
        Field(description="Private networks that services may live in, comma-separated CIDRs."),
    ] = ()
    currency: Annotated[
        str, Field(pattern=r"^[A-Z]{3}$", description="Currency of the default tenant, fixed at first start.")
    ] = "USD"
    kms_key_id: Annotated[
        str | None,
        Field(
            min_length=1,
            description="Id, ARN or alias of the KMS key that wraps the tenants' data keys; unset means the master "
            "key in the data directory. Fixed at first start. Needs the extra `aws`.",
        ),
    ] = None
    audit_origin: Annotated[
        str,
        Field(
            pattern=r"^[A-Za-z0-9._:~-]+(/[A-Za-z0-9._:~-]+)*$",
            max_length=128,
            description="What the names of the audit logs begin with, a host's name of yours for instance; the "
            "tenant's id follows. Fixed for a log at its first checkpoint.",
        ),
    ] = "caio.localhost"
    audit_checkpoint_seconds: Annotated[
        int, Field(ge=1, le=3600, description="How often new entries are taken into the logs' trees.")
    ] = 1
    anchor: Annotated[
        str | None,
        Field(
            description="Where checkpoints are anchored: a directory, `s3://bucket/prefix`, or `none`; unset means "
            "`anchors` in the data directory."
        ),
    ] = None
    anchor_every_seconds: Annotated[
        int, Field(ge=1, le=86400, description="How often a log that has grown is anchored.")
    ] = 60
    anchor_retention_days: Annotated[
        int,
        Field(
            ge=1, le=36500, description="How long S3 keeps an anchored checkpoint. Nobody can shorten it afterwards."
        ),
    ] = 7 * 365
    witnesses: Annotated[
        tuple[WitnessAddress, ...],
        NoDecode,
        Field(description="Witnesses that cosign checkpoints, comma-separated, each `URL=verifier key`."),
    ] = ()
    log_level: Annotated[Literal["debug", "info", "warning", "error"], Field(description="Least severe log line.")] = (
        "info"
    )

    @field_validator("outbound_allow", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("anchor")
    @classmethod
    def _known_anchor(cls, value: str | None) -> str | None:
        if value is not None and (not value or ("://" in value and not _BUCKET.fullmatch(value))):
            raise ValueError("must be a directory, s3://bucket/prefix or none")
        return value

    @field_validator("witnesses", mode="before")
    @classmethod
    def _read_witnesses(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        found = [(part.strip(), _WITNESS.fullmatch(part.strip())) for part in value.split(",") if part.strip()]
        if wrong := [part for part, match in found if match is None]:
            raise ValueError(f"{wrong[0]!r} is not of the form https://witness.example=name+hash+key")
        return tuple(WitnessAddress(match["url"], match["key"]) for _, match in found if match)

    @property
    def anchor_bucket(self) -> Bucket | None:
        """The bucket to anchor in, None when there is none."""
        found = _BUCKET.fullmatch(self.anchor or "")
        return Bucket(found["bucket"], (found["prefix"] or "").strip("/")) if found else None

    @property
    def anchor_directory(self) -> Path | None:
        """The directory to anchor in, None when there is none."""
        if self.anchor is None:
            return self.data_dir / "anchors"
        return None if self.anchor == "none" or self.anchor_bucket else Path(self.anchor)

    @property
    def several_processes(self) -> bool:
        """Whether other processes may serve the same database."""
        return self.redis_url is not None

    @property
    def sqlite_path(self) -> Path:
        return self.data_dir / "caio.db"

    @property
    def url(self) -> str:
        """The database to use."""
        return self.database_url or f"sqlite:///{self.sqlite_path.resolve()}"


def read_settings(**overrides: object) -> Settings:
    """The settings of this process; raises Misconfigured naming each unusable variable."""
    try:
        return Settings(**overrides)  # type: ignore[arg-type]
    except ValidationError as error:
        lines = [f"CAIO_{'_'.join(map(str, each['loc'][:1])).upper()}: {each['msg']}" for each in error.errors()]
        raise Misconfigured("unusable settings: " + "; ".join(lines)) from None
