"""Which database errors mean "not now" rather than "never".

A busy, full or unreachable database becomes NotReady, which a caller may retry; anything else (a
missing table, a broken statement) is a fault of the program or the installation and passes
through as it is. Nothing here tells whether an interrupted commit took effect.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from caio.foundation.errors import NotReady

# https://www.sqlite.org/rescode.html: the primary result codes that pass.
_SQLITE_OUTAGES = frozenset({"BUSY", "LOCKED", "FULL", "IOERR", "CANTOPEN", "PROTOCOL"})

# PostgreSQL appendix A, by class: connection exceptions, insufficient resources, operator intervention.
_POSTGRES_OUTAGES = frozenset({"08", "53", "57"})


def is_outage(error: BaseException | None) -> bool:
    """Whether ``error``, as a driver raised it, can pass by waiting."""
    if isinstance(error, OSError):  # includes TimeoutError
        return True
    sqlite_name = str(getattr(error, "sqlite_errorname", "")).removeprefix("SQLITE_")
    if sqlite_name.split("_")[0] in _SQLITE_OUTAGES:
        return True
    return str(getattr(error, "sqlstate", None) or "")[:2] in _POSTGRES_OUTAGES


@contextmanager
def outages_are_not_ready() -> Iterator[None]:
    """Turn the outages that a block meets into NotReady; let every other error pass."""
    try:
        yield
    except DBAPIError as error:
        if error.connection_invalidated or is_outage(error.orig):
            raise NotReady(_MESSAGE) from error
        raise
    except PoolTimeout as error:
        raise NotReady(_MESSAGE) from error
    except Exception as error:
        if is_outage(error):
            raise NotReady(_MESSAGE) from error
        raise


_MESSAGE = "The database does not answer at present; try again shortly."
