"""All settings together, and how they are read."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import ValidationError, model_validator
from pydantic_core import ErrorDetails

from caio.config.evidence import AuditSettings, KeySettings
from caio.config.identity import IdentitySettings
from caio.config.process import CallingSettings, ListeningSettings, ObservingSettings
from caio.config.storage import StorageSettings
from caio.foundation.errors import Misconfigured


# Of several classes the last one's fields come first.
class Settings(
    ObservingSettings,
    CallingSettings,
    IdentitySettings,
    AuditSettings,
    KeySettings,
    StorageSettings,
    ListeningSettings,
):
    """Everything an operator may set."""

    @model_validator(mode="after")
    def _commands_alone(self) -> Self:
        # A command's memory is shared by all who call it, and its rights are this process's own.
        if self.process_commands and not (self.embedded and self.redis_url is None and not self.issuers):
            raise ValueError(
                "CAIO_PROCESS_COMMANDS: is for one process on SQLite, without a database URL, a Redis or identity "
                "providers"
            )
        return self

    @property
    def deployed(self) -> bool:
        """Whether others rely on the installation, so that it starts with safe settings only."""
        return self.env != "development"

    @property
    def anchor_directory(self) -> Path | None:
        """The directory to anchor in, None when there is none."""
        if self.anchor is None:
            return self.data_dir / "anchors"
        return None if self.anchor == "none" or self.anchor_bucket else Path(self.anchor)


def read_settings(**overrides: object) -> Settings:
    """The settings of this process; raises Misconfigured naming each unusable variable, never what it holds
    where that is a secret."""
    try:
        return Settings(**overrides)  # type: ignore[arg-type]
    except ValidationError as error:
        raise Misconfigured("unusable settings: " + "; ".join(map(_told, error.errors(include_input=False)))) from None


def _told(error: ErrorDetails) -> str:
    """Which variable is unusable, where in it, and why."""
    if not error["loc"]:  # a rule over several variables, which names them itself
        return error["msg"].removeprefix("Value error, ")
    name, *within = error["loc"]
    place = " at " + "".join(f"/{part}" for part in within) if within else ""
    return f"CAIO_{str(name).upper()}: {error['msg']}{place}"
