"""CAIO: routes AI requests by contract, enforces what was promised, and proves every decision.

``from caio import Orchestrator`` is the embeddable library; ``caio serve`` the same parts behind HTTP.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from caio._version import __version__

if TYPE_CHECKING:
    from caio.library import Orchestrator

__all__ = ["Orchestrator", "__version__"]


def __getattr__(name: str) -> Any:
    # Late, so that importing a part of the package does not load all of it.
    if name == "Orchestrator":
        from caio.library import Orchestrator

        return Orchestrator
    raise AttributeError(f"module 'caio' has no attribute {name!r}")
