"""Checkpoints anchored in a directory: one file each, written once, never overwritten.

Theory of operation
-------------------
    DIRECTORY/<origin>/<size, 20 digits>.note     the signed note, mode 0444

A note is written under a temporary name, synced, and linked to its own, which fails when that is taken;
then the folder is synced, so that what ``put`` returned from survives power loss.

A mounted directory may stop answering, and then nothing ends what waits for it. Each operation therefore has
a thread of its own, which neither the process's other work nor its end waits for; while too many hang, no
further one is begun.

What it is worth depends on who may write there. In the data directory it protects against mistakes and
against a database that was set back, not against the machine's administrator: that takes a directory
mounted from elsewhere that only grows, or ``caio.aws.object_lock``. The laws are the port's, held by
tests/conformance/test_anchors.py. Needs a file system with hard links.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import ParamSpec, TypeVar

from caio.audit import whole_files
from caio.audit.anchoring import checkpoint_of, folder_of, held, must_agree, name_of, size_of
from caio.audit.checkpoint import Checkpoint
from caio.foundation.errors import NotReady

_P = ParamSpec("_P")
_T = TypeVar("_T")

#: Operations that may wait for the directory at a time: more than the callers of one process ever begin.
AT_ONCE = 32


class DirectoryAnchor:
    """The ``Anchor`` port over a directory, which is made when the first checkpoint is put there."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._room = threading.BoundedSemaphore(AT_ONCE)

    async def put(self, origin: str, size: int, note: str) -> None:
        checkpoint = checkpoint_of(note, origin, size)
        with _answering("written to"):
            await self._apart(_put, self._folder(origin), checkpoint, note)

    async def latest(self, origin: str) -> str | None:
        with _answering("read"):
            sizes = await self._apart(_sizes, self._folder(origin))
            return await self._note(origin, sizes[-1]) if sizes else None

    async def notes(self, origin: str, after: int = -1) -> AsyncIterator[str]:
        with _answering("read"):
            sizes = await self._apart(_sizes, self._folder(origin))
        for size in sizes:
            if size > after:
                with _answering("read"):
                    note = await self._note(origin, size)
                yield note

    def _folder(self, origin: str) -> Path:
        return self._directory / folder_of(origin)

    async def _note(self, origin: str, size: int) -> str:
        note = await self._apart(_read, self._folder(origin) / name_of(size))
        held(note, origin, size)
        return note

    async def _apart(self, work: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """What ``work`` returns or raises, on a thread that dies with the process whatever it waits for."""
        if not self._room.acquire(blocking=False):
            raise NotReady("The directory of anchored checkpoints does not answer: see whether it is mounted.")
        done: Future[_T] = Future()
        done.set_running_or_notify_cancel()  # from here on nobody can cancel it, only stop to wait

        def run() -> None:
            try:
                done.set_result(work(*args, **kwargs))
            except BaseException as error:  # noqa: BLE001 - it is the waiting caller's
                done.set_exception(error)
            finally:
                self._room.release()

        threading.Thread(target=run, name="caio-anchor", daemon=True).start()
        return await asyncio.wrap_future(done)


def _put(folder: Path, checkpoint: Checkpoint, note: str) -> None:
    path = folder / name_of(checkpoint.size)
    if not path.exists():
        _make(folder)
        with suppress(FileExistsError):  # another process was first
            whole_files.create(path, note.encode(), mode=0o444)  # auditors read it, nobody writes it
    must_agree(_read(path), checkpoint)


def _read(path: Path) -> str:
    return path.read_bytes().decode(errors="replace")  # what is no UTF-8 is no note, and is found out as such


def _sizes(folder: Path) -> list[int]:
    """The sizes of all checkpoints in a folder, ascending; other files are none."""
    try:
        return sorted(size for path in folder.iterdir() if (size := size_of(path.name)) is not None)
    except FileNotFoundError:
        return []


def _make(folder: Path) -> None:
    """Make the folder and those above it, each durable in the one it lies in."""
    if not folder.is_dir():
        _make(folder.parent)
        folder.mkdir(exist_ok=True)
        whole_files.sync_directory(folder.parent)


@contextmanager
def _answering(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise NotReady(f"The directory of anchored checkpoints cannot be {what}: {error.strerror}.") from error
