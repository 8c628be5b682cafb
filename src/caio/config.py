"""Settings, from the environment (``CAIO_…``) and nothing else; read by ``bootstrap`` alone.

There are no default secrets: keys are generated in the data directory at first start. The table
in ``docs/reference/settings.md`` is generated from this class.
"""

from __future__ import annotations

import json
import re
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Literal, NamedTuple, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from caio.foundation.errors import Misconfigured

#: A bucket by its name (as S3 permits it) and, after a slash, the prefix of its keys.
_BUCKET = re.compile(r"s3://(?P<bucket>[a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(/(?P<prefix>[^\s]*))?")
_COMMAND = re.compile(r"[a-z0-9][a-z0-9_.-]{0,62}")
_SILO_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_WITNESS = re.compile(r"(?P<url>https?://[^\s=]+)=(?P<key>[^\s+]+\+[0-9a-f]{8}\+[A-Za-z0-9+/=]+)")


class Bucket(NamedTuple):
    """A bucket of S3, and what every key in it begins with (without a final slash)."""

    name: str
    prefix: str


class WitnessAddress(NamedTuple):
    """Where a witness is asked, and the text of the verifier key that its cosignatures are checked with."""

    url: str
    key: str


class OidcIssuer(BaseModel):
    """An identity provider whose access tokens are taken; at least one of ``audiences`` and ``client_ids``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    issuer: Annotated[str, Field(min_length=1, max_length=1024)]
    jwks_url: Annotated[str, Field(min_length=1, max_length=1024)] | None = None
    audiences: frozenset[Annotated[str, Field(min_length=1, max_length=256)]] = frozenset()
    client_ids: frozenset[Annotated[str, Field(min_length=1, max_length=256)]] = frozenset()
    algorithms: Annotated[frozenset[Literal["RS256", "ES256", "EdDSA"]], Field(min_length=1)] = frozenset(
        {"RS256", "ES256", "EdDSA"}
    )
    at_jwt: bool = False

    @field_validator("issuer", "jwks_url")
    @classmethod
    def _secure(cls, value: str | None) -> str | None:
        if value is not None and not _is_secure(value):
            raise ValueError(f"{value!r} is not an https URL (http is for this machine's own addresses)")
        return value

    @model_validator(mode="after")
    def _for_somebody(self) -> Self:
        if not self.audiences and not self.client_ids:
            raise ValueError("name audiences or client_ids, or every token of the provider would be for you")
        return self


def _is_secure(url: str) -> bool:
    try:
        parts = urlsplit(url)
        local = parts.hostname in ("127.0.0.1", "::1", "localhost")
        plain = parts.username is None and parts.password is None and not parts.fragment and not parts.query
        return bool(parts.hostname) and plain and parts.scheme in (("https", "http") if local else ("https",))
    except ValueError:
        return False


class NamedDatabase(NamedTuple):
    """A database that one tenant may have to itself, and the name that the tenant's row calls it by."""

    name: str
    url: str


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
    cache_redis_url: Annotated[
        str | None,
        Field(
            pattern=r"^rediss?://",
            description="`redis://…` or `rediss://…`: answers that callers want again are kept there, shared by all "
            "processes. Another Redis than that of the limits: this one should evict (`allkeys-lru`). Unset means "
            "each process's memory. Needs the extra `redis`.",
            repr=False,
        ),
    ] = None
    processes: Annotated[
        int,
        Field(
            ge=1,
            le=1024,
            description="Most processes that ever run at once, workers too; each admits its share while Redis does "
            "not answer, for tenants that want that.",
        ),
    ] = 4
    api_host: Annotated[str, Field(description="Address to listen on.")] = "127.0.0.1"
    api_port: Annotated[int, Field(ge=0, le=65535, description="Port to listen on; 0 picks a free one.")] = 8080
    max_body_bytes: Annotated[int, Field(ge=1024, description="Largest request body.")] = 4 * 1024 * 1024
    control_plane_per_minute: Annotated[
        int,
        Field(
            ge=3,
            description="Requests to the control plane (everything but calls of services) that a tenant may send to "
            "one process in any minute; each of its keys and members may send a third of them.",
        ),
    ] = 1800
    first_token_seconds: Annotated[
        float,
        Field(
            ge=0.01,
            le=600,
            description="How long a service may take to the first content of a stream; then the next one is asked.",
        ),
    ] = 60.0
    stream_idle_seconds: Annotated[
        float,
        Field(
            ge=0.01,
            le=600,
            description="How long a service may pause within a stream; then the stream ends with an error.",
        ),
    ] = 30.0
    max_calls_at_once: Annotated[
        int,
        Field(
            ge=1,
            description="Calls that one process has in flight at most, streams too; more are refused with 503 "
            "`overloaded` before their bodies are read.",
        ),
    ] = 4096
    drain_seconds: Annotated[
        int,
        Field(
            ge=0,
            le=3600,
            description="How long a server that SIGTERM told to stop still serves while `/health/ready` answers 503: "
            "a little more than your load balancer takes to notice.",
        ),
    ] = 0
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
    silo_databases: Annotated[
        tuple[NamedDatabase, ...],
        NoDecode,
        Field(
            description="PostgreSQL databases for tenants of the tier `silo`, one each, comma-separated, each "
            "`name=postgresql://…`.",
            repr=False,
        ),
    ] = ()
    witnesses: Annotated[
        tuple[WitnessAddress, ...],
        NoDecode,
        Field(description="Witnesses that cosign checkpoints, comma-separated, each `URL=verifier key`."),
    ] = ()
    oidc_issuers: Annotated[
        tuple[OidcIssuer, ...],
        NoDecode,
        Field(
            max_length=32,
            description="Identity providers whose access tokens are taken, as a JSON list "
            "([how](../how-to/sign-in-with-oidc.md)). Needs the extra `oidc`.",
        ),
    ] = ()
    process_commands: Annotated[
        dict[str, tuple[str, ...]],
        NoDecode,
        Field(
            description="Local commands that contracts of the protocol `process` may name: a JSON object of names to "
            "lists of a program, by its absolute path, and its arguments "
            "([how](../how-to/register-a-service.md#a-local-command)). For one process on SQLite only: not "
            "together with `CAIO_DATABASE_URL`, `CAIO_REDIS_URL` or `CAIO_OIDC_ISSUERS`.",
        ),
    ] = {}
    trusted_proxies: Annotated[
        tuple[IPv4Network | IPv6Network, ...],
        NoDecode,
        Field(description="Networks of proxies whose `X-Forwarded-For` is believed, comma-separated CIDRs."),
    ] = ()
    event_bus: Annotated[
        str | None,
        Field(
            pattern=r"^[A-Za-z0-9._/:-]{1,1600}$",
            description="Name or ARN of the EventBridge bus that every tenant's events are put on too; unset means "
            "none. Needs the extra `aws`.",
        ),
    ] = None
    ops_host: Annotated[str, Field(min_length=1, description="Address that the operations listener listens on.")] = (
        "127.0.0.1"
    )
    ops_port: Annotated[
        int | None,
        Field(
            ge=0,
            le=65535,
            description="Port of the operations listener, which answers `/health/live`, `/health/ready` and "
            "`/metrics` without a credential; 0 picks a free one, unset means none. It is for the machine's or the "
            "task's own probes and collectors.",
        ),
    ] = None
    metrics_emf: Annotated[
        bool,
        Field(
            description="Whether metrics are written to standard output too, once a minute, in CloudWatch's embedded "
            "metric format."
        ),
    ] = False
    metrics_tenants: Annotated[
        tuple[Annotated[str, Field(min_length=1, max_length=128)], ...],
        NoDecode,
        Field(
            max_length=100,
            description="Tenants that have metrics of their own in CloudWatch, comma-separated ids. Each costs money.",
        ),
    ] = ()
    otlp_endpoint: Annotated[
        str | None,
        Field(
            pattern=r"^https?://",
            description="Where traces are sent, OTLP over HTTP: `http://127.0.0.1:4318` is a collector beside the "
            "process. Unset means none. Needs the extra `tracing`.",
        ),
    ] = None
    trace_sample: Annotated[
        float, Field(ge=0, le=1, description="Which share of the requests that carry no trace of their own is traced.")
    ] = 0.01
    log_level: Annotated[Literal["debug", "info", "warning", "error"], Field(description="Least severe log line.")] = (
        "info"
    )

    @field_validator("oidc_issuers", "process_commands", mode="before")
    @classmethod
    def _read_json(cls, value: object) -> object:
        try:
            return json.loads(value) if isinstance(value, str) else value
        except ValueError as error:
            raise ValueError(f"is not JSON: {error}") from None

    @field_validator("oidc_issuers")
    @classmethod
    def _each_once(cls, value: tuple[OidcIssuer, ...]) -> tuple[OidcIssuer, ...]:
        if len({each.issuer for each in value}) != len(value):
            raise ValueError("an issuer is named twice")
        return value

    @field_validator("process_commands")
    @classmethod
    def _runnable(cls, value: dict[str, tuple[str, ...]], info: ValidationInfo) -> dict[str, tuple[str, ...]]:
        # A command's memory is shared by all who call it, and its rights are this process's own.
        if value and any(info.data.get(name) for name in ("database_url", "redis_url", "oidc_issuers")):
            raise ValueError("is for one process on SQLite, without a database URL, a Redis or identity providers")
        for name, argv in value.items():
            if not _COMMAND.fullmatch(name):
                raise ValueError("a command's name is 1 to 63 of a-z, 0-9, ., - and _")
            if not argv or not Path(argv[0]).is_absolute() or any("\0" in each for each in argv):
                raise ValueError(f"{name}: must be a list of a program, by its absolute path, and its arguments")
        return value

    @field_validator("outbound_allow", "trusted_proxies", "metrics_tenants", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("anchor")
    @classmethod
    def _known_anchor(cls, value: str | None) -> str | None:
        if value is not None and (not value or ("://" in value and not _BUCKET.fullmatch(value))):
            raise ValueError("must be a directory, s3://bucket/prefix or none")
        return value

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
    def silos(self) -> dict[str, str]:
        """The URLs of tenants' own databases, by name."""
        return dict(self.silo_databases)

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
        raise Misconfigured("unusable settings: " + "; ".join(map(_told, error.errors()))) from None


def _told(error: ErrorDetails) -> str:
    """Which variable is unusable, where in it, and why."""
    name, *within = error["loc"]
    place = " at " + "".join(f"/{part}" for part in within) if within else ""
    return f"CAIO_{str(name).upper()}: {error['msg']}{place}"
