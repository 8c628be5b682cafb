"""A history beside the services: what was observed of each, as columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from caio.foundation.quantity import NANO
from caio.routing.columns import Columns, Numbers
from caio.routing.model import SCALE, History

#: Calls' worth of confidence given to the prior before anything was observed.
_PRIOR_CALLS = 20
#: Calls from which on the observed latency is what counts.
_TELLING_CALLS = 20
_PRIOR = 9 * SCALE // 10

#: Below this many calls the product of successes and SCALE fits 64 bits.
_EXACT_CALLS = 2**32


@dataclass(frozen=True, slots=True)
class Observed:
    """A history beside the services: reliability in [0, SCALE], and the observed p95 in nanos of a
    millisecond, or 0 where too few calls were observed to say something."""

    reliability: Numbers
    p95: Numbers

    @classmethod
    def of(cls, columns: Columns, history: History) -> Self:
        tracks = [history.tracks.get(service_id) for service_id, _ in columns.keys]
        rows = np.array([row for row, track in enumerate(tracks) if track is not None], np.intp)
        seen = [track for track in tracks if track is not None]
        reliability = np.full(columns.rows.size, _PRIOR, np.int64)
        if (promised := columns.bounds.get("availability.min")) is not None:
            reliability[promised.rows] = np.minimum(promised.values, SCALE)
        p95 = np.zeros(columns.rows.size, np.int64)
        prior = reliability[rows]
        if all(track.calls < _EXACT_CALLS for track in seen):
            calls = np.array([track.calls for track in seen], np.int64)
            good = np.array([track.successes for track in seen], np.int64)
            reliability[rows] = (good * SCALE + _PRIOR_CALLS * prior) // (calls + _PRIOR_CALLS)
        else:
            of_each = zip(seen, prior.tolist(), strict=True)
            reliability[rows] = [
                (track.successes * SCALE + _PRIOR_CALLS * own) // (track.calls + _PRIOR_CALLS) for track, own in of_each
            ]
        p95[rows] = [track.p95_ms * NANO if track.calls >= _TELLING_CALLS else 0 for track in seen]
        return cls(reliability, p95)
