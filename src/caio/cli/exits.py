"""The one place where errors become exit codes and sentences.

The codes are documented in docs/reference/cli.md; scripts rely on them, so they never change meaning.
"""

from __future__ import annotations

from enum import IntEnum

from caio.foundation.errors import CaioError, Category


class ExitCode(IntEnum):
    OK = 0
    FAILED = 1
    USAGE = 2
    REFUSED = 3
    INVALID = 4
    NOT_ALLOWED = 5
    NOT_FOUND = 6
    CONFLICT = 7
    LIMITED = 8
    UPSTREAM = 9
    NOT_READY = 10
    NOT_VERIFIED = 11
    FORKED = 12


EXIT_CODES: dict[Category, ExitCode] = {
    Category.INVALID: ExitCode.INVALID,
    Category.UNAUTHENTICATED: ExitCode.NOT_ALLOWED,
    Category.NOT_ALLOWED: ExitCode.NOT_ALLOWED,
    Category.NOT_FOUND: ExitCode.NOT_FOUND,
    Category.GONE: ExitCode.NOT_FOUND,
    Category.CONFLICT: ExitCode.CONFLICT,
    Category.PRECONDITION: ExitCode.CONFLICT,
    Category.TOO_LARGE: ExitCode.INVALID,
    Category.LIMITED: ExitCode.LIMITED,
    Category.EXHAUSTED: ExitCode.LIMITED,
    Category.REFUSED: ExitCode.REFUSED,
    Category.UPSTREAM: ExitCode.UPSTREAM,
    Category.TIMEOUT: ExitCode.UPSTREAM,
    Category.UNAVAILABLE: ExitCode.NOT_READY,
    Category.INTERNAL: ExitCode.FAILED,
}


class Unexpected(CaioError):
    """An error nobody raised on purpose."""

    code = "unexpected"


def expected(error: Exception) -> CaioError:
    """The error to show; one that was not raised on purpose is named by its kind alone."""
    if isinstance(error, CaioError):
        return error
    return Unexpected(f"an unexpected {type(error).__name__}; run it again with CAIO_DEBUG=1 and report what it prints")


def exit_code_of(error: CaioError) -> ExitCode:
    return EXIT_CODES[error.category]
