"""``caio demo``: the product on real input, judged by its own answers.

It starts CAIO and the example services as processes of their own, asks, kills, verifies, and says
step by step what was decided and whether what had to hold did. All data lives in one directory,
which is removed at the end unless it was named or something failed.
"""

from __future__ import annotations

import asyncio
import shutil
import signal
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from caio.cli.exits import ExitCode
from caio.cli.parameters import Json
from caio.foundation.errors import Misconfigured

if TYPE_CHECKING:
    from caio.cli.demonstration.run import Run

#: What a shell reports for a command that a signal ended.
_SIGNALLED = 128
_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def demo(
    once: Annotated[bool, typer.Option("--once", help="Exit when the steps are over: 0 if every one held.")] = False,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port for CAIO; a free one if it is taken, or 0.")] = 8080,
    data_dir: Annotated[
        Path | None,
        typer.Option("--data-dir", help="A new or empty directory to use and keep.", show_default="a temporary one"),
    ] = None,
    as_json: Json = False,
) -> None:
    """See the whole of it work: routing, fallback, refusal, and every receipt verified."""
    # The temporary one is this user's alone (mode 0700): it holds keys.
    data = Path(tempfile.mkdtemp(prefix="caio-demo-")) if data_dir is None else _empty(data_dir)
    from caio.cli.demonstration.run import Run

    code = int(ExitCode.FAILED)
    try:
        run = Run(data, port, once=once, as_json=as_json, keep=data_dir is not None)
        code = asyncio.run(_until_stopped(run, once))
    finally:
        if data_dir is None and code != ExitCode.FAILED:
            shutil.rmtree(data, ignore_errors=True)
    raise typer.Exit(code)


async def _until_stopped(run: Run, once: bool) -> int:
    """Tell the story; unless ``once``, stay until a signal. However it ends, no process stays behind."""
    loop = asyncio.get_running_loop()
    stopped: asyncio.Future[int] = loop.create_future()

    def stop(number: int) -> None:
        if not stopped.done():
            stopped.set_result(number)

    for number in _STOPPING:
        loop.add_signal_handler(number, stop, number)
    telling = asyncio.ensure_future(run.tell())
    try:
        await _first(telling, stopped)
        if not telling.done():
            return _SIGNALLED + stopped.result()
        held = telling.result()
        if not once:
            inviting = asyncio.ensure_future(run.invite())
            await _first(inviting, stopped)
            if inviting.done():
                inviting.result()
            await stopped
            inviting.cancel()
        return int(ExitCode.OK if held else ExitCode.FAILED)
    finally:
        telling.cancel()
        await asyncio.wait({telling})
        await run.end()


async def _first(*awaited: asyncio.Future[Any]) -> None:
    await asyncio.wait(awaited, return_when=asyncio.FIRST_COMPLETED)


def _empty(data_dir: Path) -> Path:
    """The directory, made if need be; raises Misconfigured for one that holds anything."""
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        used = any(data_dir.iterdir())
    except OSError as error:
        raise Misconfigured(f"{data_dir} cannot be used: {error.strerror}", code="unusable_directory") from error
    if used:
        raise Misconfigured(f"{data_dir} is not empty; the demo needs a directory of its own", code="directory_in_use")
    return data_dir.resolve()
