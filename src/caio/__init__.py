"""CAIO: routes AI requests by contract, enforces what was promised, and proves every decision."""

from caio._version import __version__

__all__ = ["__version__"]
