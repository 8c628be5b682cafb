"""What the analysis of a policy says, and the example it says it with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Severity(StrEnum):
    """``severe``: while it is in force nothing can be done. ``warning``: hardly what was meant.
    ``information``: what the change does, and what could not be decided."""

    SEVERE = "severe"
    WARNING = "warning"
    INFORMATION = "information"


@dataclass(frozen=True, slots=True)
class Counterexample:
    """A request, its principal and a service for which the finding can be seen.

    ``request`` and ``principal`` hold the fields that were asked about, under the names that expressions
    use; all others are as in a request that does not state them. ``service`` is a registered one
    (``id@version``), or None; ``contract`` then holds the fields of one that could be registered, or is
    None when the finding is about requests only.
    """

    request: Mapping[str, Any] | None = None
    principal: Mapping[str, Any] | None = None
    service: str | None = None
    contract: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """``pointer`` is the field of the policy that it is about; ``policies`` the others it involves."""

    code: str
    severity: Severity
    message: str
    pointer: str = ""
    counterexample: Counterexample | None = None
    policies: tuple[str, ...] = ()
