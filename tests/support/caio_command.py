"""Runs ``caio`` as a person would: a process of its own, an environment without this one's settings."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping
from pathlib import Path

CAIO = Path(sys.executable).with_name("caio")


async def run_caio(folder: Path, settings: Mapping[str, str], *arguments: object) -> tuple[int, str]:
    """The exit code, and what was printed followed by what was said on standard error; nobody is there to ask."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CAIO_")}
    process = await asyncio.create_subprocess_exec(
        CAIO,
        *map(str, arguments),
        cwd=folder,
        env={**environment, **settings},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert b"Traceback" not in err, err.decode()
    assert process.returncode is not None
    return process.returncode, out.decode() + err.decode()
