"""Stage 5, compose: what the chosen service guarantees for this request.

A plan of one service: its guarantees are the service's own, and its price the worst case. Chains
and graphs of several are composed in ``routing.plans``.
"""

from __future__ import annotations

from caio.foundation.quantity import decimal_text
from caio.routing.matching import Needs
from caio.routing.model import Ranked
from caio.routing.reasons import offered_text, tightest


def guarantees(chosen: Ranked, needs: Needs) -> dict[str, str]:
    """For each requested bound what the plan offers, and its worst-case price as ``cost.max``."""
    composed = {name: offered_text(name, tightest(chosen.offer.bounds, name)) for name, _ in needs.bounds}
    composed["cost.max"] = decimal_text(chosen.worst_cost)
    return composed
