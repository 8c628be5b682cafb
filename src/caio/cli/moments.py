"""Times as people write them on the command line."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime, timedelta

from caio.foundation.errors import InvalidInput

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_EPOCH = datetime.fromtimestamp(0, UTC)


def moment_of(option: str, text: str | None) -> int | None:
    """Microseconds since the epoch of a time in RFC 3339, or of so long ago: ``45m``, ``12h``, ``7d``, ``2w``.

    Raises InvalidInput naming the ``option``; a time without a zone is in none, and refused.
    """
    if text is None:
        return None
    if (period := re.fullmatch(r"([0-9]{1,9})([smhdw])", text)) is not None:
        return max(0, time.time_ns() // 1000 - int(period[1]) * _SECONDS[period[2]] * 1_000_000)
    try:
        micros = (datetime.fromisoformat(text) - _EPOCH) // timedelta(microseconds=1)
    except (ValueError, TypeError):  # TypeError: it names no zone
        micros = -1
    if micros < 0:
        raise InvalidInput(f"{option} must be such as 45m, 12h, 7d, 2w or 2026-01-31T12:00:00Z")
    return micros
