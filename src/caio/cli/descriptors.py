"""How many files and connections the system lets this process have open at once.

A stream takes two of them for as long as it is held: its caller's connection and its service's. Many systems give a
process 1,024 unless it asks for more, which it may do up to a limit that is the system's.
"""

from __future__ import annotations

import resource

import structlog

#: Four thousand streams, and what else is open.
ENOUGH = 8_300

#: What is asked for where the system has no limit of its own, and at most.
MOST = 1 << 16


def raise_limit() -> None:
    """Ask for as many as may be had; the log says so when that is less than enough."""
    limit, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit == resource.RLIM_INFINITY:
        return
    wanted = MOST if most == resource.RLIM_INFINITY else min(most, MOST)
    if limit < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))
        limit = wanted
    if limit < ENOUGH:
        structlog.get_logger("caio.serve").warning(
            "few_connections",
            open_files=limit,
            enough=ENOUGH,
            next_step="raise the hard limit of open files: ulimit -Hn, LimitNOFILE of systemd, --ulimit of docker",
        )
