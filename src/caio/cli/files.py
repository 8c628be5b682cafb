"""Files that people name on the command line: read, with mistakes told by file and line; written."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from caio.foundation.errors import InvalidInput, Misconfigured, Violation

STANDARD_INPUT = "-"


class InvalidFile(InvalidInput):
    """A file's content breaks its rules; ``path`` is as the person named it."""

    def __init__(self, path: str, message: str, violations: tuple[Violation, ...] = (), *, code: str) -> None:
        super().__init__(message, violations, code=code)
        self.path = path


def read_file(path: str) -> bytes:
    """The bytes of ``path`` (``-`` is standard input); raises InvalidFile ``unreadable_file``."""
    if path == STANDARD_INPUT:
        return sys.stdin.buffer.read()
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise InvalidFile(path, f"{path} cannot be read: {error.strerror}", code="unreadable_file") from error


def write_file(path: Path, content: bytes) -> None:
    """Write a result where the person wants it; raises Misconfigured."""
    try:
        path.write_bytes(content)
    except OSError as error:
        raise Misconfigured(f"{path} cannot be written: {error.strerror}", code="unwritable_file") from error


def write_json(path: Path, document: Any) -> None:
    write_file(path, (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode())


def replace_json(path: Path, document: Any) -> None:
    """Replace a file of the person's own as a whole, making its folder if need be; raises Misconfigured."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fresh = path.with_name(f".{path.name}.{os.getpid()}")
        write_json(fresh, document)
        fresh.replace(path)
    except OSError as error:
        raise Misconfigured(f"{path} cannot be written: {error.strerror}", code="unwritable_file") from error


def read_json(path: str) -> Any:
    """The JSON document in ``path``; raises InvalidFile with the line of the mistake."""
    raw = read_file(path)
    try:
        return json.loads(raw.decode())
    except json.JSONDecodeError as error:
        violation = Violation("", f"is not JSON: {error.msg} (column {error.colno})", error.lineno)
        raise InvalidFile(path, f"{path} is not JSON", (violation,), code="invalid_json") from error
    except (UnicodeDecodeError, RecursionError) as error:
        raise InvalidFile(path, f"{path} is not JSON: {error}", code="invalid_json") from error


@contextmanager
def about(path: str, raw: bytes) -> Iterator[None]:
    """Whatever InvalidInput the block raises is about this file: name it, and find the lines."""
    try:
        yield
    except InvalidFile:
        raise
    except InvalidInput as error:
        located = tuple(_located(raw, violation) for violation in error.violations)
        named = "standard input" if path == STANDARD_INPUT else path
        raise InvalidFile(named, error.message, located, code=error.code) from error


def _located(raw: bytes, violation: Violation) -> Violation:
    if violation.line is not None:
        return violation
    from caio.contracts.source import read_source
    from caio.contracts.tree import Unreadable

    try:
        return replace(violation, line=read_source(raw).line(violation.pointer))
    except Unreadable:
        return violation
