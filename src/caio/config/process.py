"""The process itself: where it listens, how much it takes on, whom it calls, what it tells of itself."""

from __future__ import annotations

import re
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator
from pydantic_settings import NoDecode

from caio.config.identity import read_json
from caio.config.values import Environment, split

_COMMAND = re.compile(r"[a-z0-9][a-z0-9_.-]{0,62}")
#: A service by its owner and name, or all of an owner's.
_LENT_TO = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}/(\*|[a-z0-9][a-z0-9_-]{0,62})")
_ORIGIN = re.compile(r"https?://(\[[0-9a-f:]+\]|[a-z0-9.-]+)(:[0-9]{1,5})?")

_Networks = Annotated[tuple[IPv4Network | IPv6Network, ...], NoDecode]


class ListeningSettings(Environment):
    env: Annotated[
        Literal["development", "staging", "production"],
        Field(
            description="Part of new API keys' names. `staging` and `production` start with safe settings only, and "
            "make no API key by themselves ([what they refuse](../how-to/run-several-processes.md#in-production))."
        ),
    ] = "development"
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
    grace_seconds: Annotated[
        int,
        Field(
            ge=1,
            le=600,
            description="How long calls and streams that are under way may then go on; those that do not end in it are "
            "cut off and settled. Together with `CAIO_DRAIN_SECONDS` well less than the time until your platform "
            "kills.",
        ),
    ] = 10
    cors_origins: Annotated[
        tuple[str, ...],
        NoDecode,
        Field(
            max_length=100,
            description="Origins whose pages may call the API from a browser, comma-separated, each "
            "`https://app.example`; `*` alone for all. Unset means none.",
        ),
    ] = ()
    trusted_proxies: Annotated[
        _Networks, Field(description="Networks of proxies whose `X-Forwarded-For` is believed, comma-separated CIDRs.")
    ] = ()

    @field_validator("cors_origins", "trusted_proxies", mode="before")
    @classmethod
    def _split_lists(cls, value: object) -> object:
        return split(value)

    @field_validator("cors_origins")
    @classmethod
    def _known_origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if value != ("*",) and not all(map(_ORIGIN.fullmatch, value)):
            raise ValueError("each is an origin as browsers send it, like https://app.example, or * alone")
        return value


class CallingSettings(Environment):
    outbound_allow: Annotated[
        _Networks, Field(description="Private networks that services may live in, comma-separated CIDRs.")
    ] = ()
    currency: Annotated[
        str, Field(pattern=r"^[A-Z]{3}$", description="Currency of the default tenant, fixed at first start.")
    ] = "USD"
    process_commands: Annotated[
        dict[str, tuple[str, ...]],
        NoDecode,
        Field(
            description="Local commands that contracts of the protocol `process` may name: a JSON object of names to "
            "lists of a program, by its absolute path, and its arguments "
            "([how](../how-to/register-a-service.md#a-local-command)). For one process on SQLite only: not "
            "together with a PostgreSQL database, a Redis or identity providers.",
        ),
    ] = {}  # noqa: RUF012 - pydantic copies it
    aws_role_services: Annotated[
        tuple[str, ...],
        NoDecode,
        Field(
            max_length=1_000,
            description="Services that are called with this process's own AWS credentials, comma-separated "
            "`TENANT/SERVICE`, or `TENANT/*` for all of a tenant's; unset lends them to none "
            "([how](../how-to/use-provider-keys.md#the-operators-own-role)). Needs the extra `aws`.",
        ),
    ] = ()
    event_bus: Annotated[
        str | None,
        Field(
            pattern=r"^[A-Za-z0-9._/:-]{1,1600}$",
            description="Name or ARN of the EventBridge bus that every tenant's events are put on too; unset means "
            "none. Needs the extra `aws`.",
        ),
    ] = None

    @field_validator("outbound_allow", mode="before")
    @classmethod
    def _split_networks(cls, value: object) -> object:
        return split(value)

    @field_validator("aws_role_services", mode="before")
    @classmethod
    def _split_services(cls, value: object) -> object:
        return split(value)

    @field_validator("aws_role_services")
    @classmethod
    def _named_services(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not all(map(_LENT_TO.fullmatch, value)):
            raise ValueError("each is TENANT/SERVICE, or TENANT/* for all of a tenant's services")
        return value

    @field_validator("process_commands", mode="before")
    @classmethod
    def _read_commands(cls, value: object) -> object:
        return read_json(value)

    @field_validator("process_commands")
    @classmethod
    def _runnable(cls, value: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        for name, argv in value.items():
            if not _COMMAND.fullmatch(name):
                raise ValueError("a command's name is 1 to 63 of a-z, 0-9, ., - and _")
            if not argv or not Path(argv[0]).is_absolute() or any("\0" in each for each in argv):
                raise ValueError(f"{name}: must be a list of a program, by its absolute path, and its arguments")
        return value


class ObservingSettings(Environment):
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

    @field_validator("metrics_tenants", mode="before")
    @classmethod
    def _split_tenants(cls, value: object) -> object:
        return split(value)
