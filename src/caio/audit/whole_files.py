"""Files that appear complete or not at all, and survive power loss once they are there.

A file is written under a temporary name, synced, and then linked or renamed by whoever asked; the
directory is synced last, since a name is only as durable as the directory that holds it.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path


def create(path: Path, content: bytes, mode: int) -> None:
    """Write a new file of this mode, whatever the umask; raises FileExistsError when the name is taken."""
    temporary = write_temporary(path, content, mode)
    try:
        os.link(temporary, path)
    finally:
        temporary.unlink()
    sync_directory(path.parent)


def write_temporary(path: Path, content: bytes, mode: int) -> Path:
    """``content``, synced, under a hidden name beside ``path``; nothing is left behind when that fails."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, mode)
            file.write(content)
            file.flush()
            os.fsync(descriptor)
    except BaseException:
        temporary.unlink()
        raise
    return temporary


def sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
