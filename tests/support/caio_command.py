"""Runs ``caio`` as a person would: a process of its own, an environment without this one's settings.

The process is forked from one that has done the imports, which cost more than most commands do; the installed
script is started in ``tests/integration/test_cli.py``, and wherever a test serves.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp

from tests.support.forked_caio import ForkedCaio

CAIO = Path(sys.executable).with_name("caio")


@cache
def _parent() -> ForkedCaio:
    """The one of this process, started with its first command."""
    streams = Path(mkdtemp(prefix="caio-commands-"))
    parent = ForkedCaio(streams)
    atexit.register(rmtree, streams)
    atexit.register(parent.close)
    return parent


async def run_caio(folder: Path, settings: Mapping[str, str], *arguments: object) -> tuple[int, str]:
    """The exit code, and what was printed followed by what was said on standard error; nobody is there to ask."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CAIO_")}
    code, out, err = await asyncio.to_thread(
        _parent().run, [*map(str, arguments)], b"", {**environment, **settings}, folder
    )
    assert b"Traceback" not in err, err.decode()
    return code, out.decode() + err.decode()
