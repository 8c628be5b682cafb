"""Settings, from the environment (``CAIO_…``) and nothing else; read by ``bootstrap`` alone.

There are no default secrets: keys are generated in the data directory at first start. The table
in ``docs/reference/settings.md`` is generated from this class.
"""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from caio.foundation.errors import Misconfigured


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
    log_level: Annotated[Literal["debug", "info", "warning", "error"], Field(description="Least severe log line.")] = (
        "info"
    )

    @field_validator("outbound_allow", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

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
