"""Times on the command line."""

from __future__ import annotations

import time

import pytest

from caio.cli.moments import moment_of
from caio.foundation.errors import InvalidInput


def test_times_are_read_as_they_are_written():
    assert moment_of("--since", None) is None
    assert moment_of("--since", "1970-01-01T00:00:01.000002Z") == 1_000_002
    assert moment_of("--since", "2026-01-31T12:00:00+02:00") == 1_769_853_600_000_000
    ago = moment_of("--since", "2h")
    assert ago is not None
    assert abs(time.time() - 7200 - ago / 1e6) < 5
    assert moment_of("--since", "999999999w") == 0


@pytest.mark.parametrize("text", ["", "yesterday", "7", "2026-01-31T12:00:00", "1969-12-31T23:59:59Z", "7D", "-1d"])
def test_what_is_no_time_is_refused(text):
    with pytest.raises(InvalidInput, match="--until must be"):
        moment_of("--until", text)
