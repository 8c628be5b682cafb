"""CAIO: routes AI requests by contract, enforces what was promised, and proves every decision.

``from caio import Orchestrator`` is the embeddable library; ``caio serve`` the same parts behind HTTP, which
``Client`` and ``AsyncClient`` ask.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from caio._version import __version__

if TYPE_CHECKING:
    from caio.client import AsyncClient, Client
    from caio.library import Orchestrator

__all__ = ["AsyncClient", "Client", "Orchestrator", "__version__"]

_HOMES = {"AsyncClient": "caio.client", "Client": "caio.client", "Orchestrator": "caio.library"}


def __getattr__(name: str) -> Any:
    # Late, so that importing a part of the package does not load all of it.
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'caio' has no attribute {name!r}")
    return getattr(import_module(home), name)
