"""Stage 3, security: may this caller's data go to this service?

Default deny: what a contract does not say about privacy counts against it. The clauses and their
order are those of ``docs/reference/routing-rules.md``.
"""

from __future__ import annotations

from typing import Any

from caio.routing import bits
from caio.routing.bits import FewSieve
from caio.routing.columns import Dense
from caio.routing.model import LOCALITIES, TRUST_LEVELS, Principal, Request
from caio.routing.questions import Questions
from caio.routing.sieve import Sieve

_PRIVATE = LOCALITIES.index("private")
_ON_DEVICE = LOCALITIES.index("on_device")
_CONFIDENTIAL = frozenset({"confidential", "restricted"})


def secure(
    sieve: Sieve | FewSieve, dense: Dense | bits.Dense, request: Request, principal: Principal, asked: Questions
) -> None:
    """Ask every question of this stage."""
    sieve.keep(asked["visibility"], ~dense.hidden[sieve.rows])
    _may_call(sieve, dense, principal, asked)
    _right_place(sieve, dense, request, asked)
    _safe(sieve, dense, request, asked)


def _may_call(sieve: Sieve | FewSieve, dense: Dense | bits.Dense, principal: Principal, asked: Questions) -> None:
    if dense.all_of.bits:
        sieve.keep(asked["all_of"], dense.all_of.within(principal.permissions, sieve.rows))
    if dense.any_of.bits:
        anyone = ~dense.any_of.occupied(sieve.rows)
        sieve.keep(asked["any_of"], anyone | dense.any_of.meets(principal.permissions, sieve.rows))
    sieve.keep(asked["trust"], dense.trust[sieve.rows] <= TRUST_LEVELS.index(principal.trust_level))


def _right_place(sieve: Sieve | FewSieve, dense: Dense | bits.Dense, request: Request, asked: Questions) -> None:
    if request.data_locality is not None:
        sieve.keep(asked["locality"], dense.locality[sieve.rows] <= LOCALITIES.index(request.data_locality))
    if request.regions:
        confined = dense.regions.occupied(sieve.rows) & dense.regions.within(request.regions, sieve.rows)
        sieve.keep(asked["residency"], confined | (dense.locality[sieve.rows] == _ON_DEVICE))


def _safe(sieve: Sieve | FewSieve, dense: Dense | bits.Dense, request: Request, asked: Questions) -> None:
    sensitive = request.sensitive or request.classification in _CONFIDENTIAL
    if request.classification == "restricted":
        sieve.keep(asked["restricted"], _local(dense, sieve.rows))
    if sensitive:
        sieve.keep(asked["encrypted"], _local(dense, sieve.rows) | dense.encrypted[sieve.rows])
    if sensitive or not request.training:
        sieve.keep(asked["training"], ~dense.trains[sieve.rows])
    if request.max_retention_days is not None:
        sieve.keep(asked["retention"], dense.retention_days[sieve.rows] <= request.max_retention_days)
    for place, framework in enumerate(sorted(request.compliance)):
        sieve.keep(asked["compliance"] + place, dense.compliance.holds(framework, sieve.rows))
    if not request.egress:
        sieve.keep(asked["egress"], _local(dense, sieve.rows) & ~dense.internet[sieve.rows])


def _local(dense: Dense | bits.Dense, rows: Any) -> Any:
    """On the device or in the tenant's own network: data goes to nobody else."""
    return dense.locality[rows] <= _PRIVATE
