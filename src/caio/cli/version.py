"""``caio version``."""

from __future__ import annotations

import platform

from caio._version import __version__
from caio.cli import output
from caio.cli.parameters import Json


def version(as_json: Json = False) -> None:
    """Print the version."""
    if as_json:
        output.print_json({"version": __version__, "python": platform.python_version()})
    else:
        output.say(f"caio {__version__} (Python {platform.python_version()})")
