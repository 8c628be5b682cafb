"""The kernel: from contracts, policies and a request to a decision, as a pure function.

Theory of operation
-------------------
``compile_snapshot`` fixes the services a tenant may see; a ``Snapshot`` is immutable and swapped
whole, so a decision never sees half a change. ``decide`` runs match, rules, security, optimize and
compose over it and returns the ranking or a refusal, with a certificate from which
``routing.checker`` recomputes everything. The rules are written down, exactly, in
``docs/reference/routing-rules.md``; this file only puts the stages together.

Laws (each has a test of the same name)
---------------------------------------
- same_inputs_same_decision: in any registration order, with duplicates, in any process.
- winner_is_in_every_set: the winner passes every clause of every stage.
- every_decision_has_a_valid_certificate: the independent checker agrees.
- tightening_never_adds_a_candidate.
- default_deny, forbid_beats_everything, an_error_denies.

Time, ids, randomness and history are arguments. Payloads never get here, only their size.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from caio.foundation.canonical import canonical_json
from caio.foundation.hashing import EXCLUDED, FEASIBLE, PRINCIPAL, REQUEST, SERVICES, digest, digest_of
from caio.routing import composition, matching, optimization, security
from caio.routing.certificate import CLAUSES, RANKED_ROWS, VERSION, decision_hash
from caio.routing.matching import Needs
from caio.routing.model import (
    DEFAULT_WEIGHTS,
    TERMS,
    Decision,
    Exclusion,
    History,
    InconsistentInputs,
    Offer,
    OnViolation,
    Principal,
    Ranked,
    Request,
)
from caio.routing.rules import InForce, Rule, in_force, in_order, policies_hash
from caio.routing.variables import principal_variables, request_variables


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The services one tenant may see, in order of (id, version), and the rules attached to it.

    ``_verdicts`` caches what each rule's ``then`` says of each offer: a function of the two
    alone, so the cache changes no answer.
    """

    tenant_id: str
    offers: tuple[Offer, ...]
    rules: tuple[Rule, ...]
    services_hash: str
    policies_hash: str
    _verdicts: dict[str, Sequence[bool | None]] = field(default_factory=dict, compare=False, repr=False)

    def manifest(self) -> list[list[str]]:
        """What ``services_hash`` covers."""
        return _manifest(self.offers)

    def verdicts(self, rule: Rule) -> Sequence[bool | None]:
        """The rule's verdict on each offer. At most as many are kept as the tenant has policies,
        and a few hundred for policies that came with requests."""
        known = self._verdicts.get(rule.policy.policy_hash)
        if known is None:
            known = [rule.verdict(offer.variables) for offer in self.offers]
            if len(self._verdicts) >= len(self.rules) + _KEPT_VERDICTS:
                self._verdicts.pop(next(iter(self._verdicts)))
            self._verdicts[rule.policy.policy_hash] = known
        return known


_KEPT_VERDICTS = 256


def compile_snapshot(tenant_id: str, offers: Iterable[Offer], rules: Iterable[Rule] = ()) -> Snapshot:
    """Raises InconsistentInputs; equal entries count once."""
    by_key: dict[tuple[str, str], Offer] = {}
    for offer in offers:
        known = by_key.setdefault(offer.key, offer)
        if (known.contract_hash, known.tenant_id) != (offer.contract_hash, offer.tenant_id):
            raise InconsistentInputs(f"{offer.service_id}@{offer.version} was given twice, and not the same")
    ordered = tuple(by_key[key] for key in sorted(by_key))
    attached = in_order(rules)
    return Snapshot(tenant_id, ordered, attached, digest_of(SERVICES, _manifest(ordered)), policies_hash(attached))


def _manifest(offers: Iterable[Offer]) -> list[list[str]]:
    return [[offer.service_id, offer.version, offer.contract_hash, offer.tenant_id] for offer in offers]


def decide(
    snapshot: Snapshot,
    request: Request,
    principal: Principal,
    history: History,
    named: Sequence[Rule] = (),
) -> Decision:
    """Choose among the snapshot's services, or refuse with the first failed clause of each.

    ``named`` are the rules that the request brought or named, beside the attached ones. Raises
    InconsistentInputs when one of them is another policy of an attached one's id and version, and
    ValueError when the request is another tenant's than the snapshot.
    """
    if request.tenant_id != snapshot.tenant_id:
        raise ValueError("the request and the snapshot belong to different tenants")
    rules = in_order([*snapshot.rules, *named]) if named else snapshot.rules
    request_document, principal_document = request.document(), principal.document()
    request_hash = digest(REQUEST, canonical_json(request_document))
    variables = {
        "request": request_variables(request_document),
        "principal": principal_variables(principal_document),
    }
    force = in_force(rules, snapshot.verdicts, variables)
    needs = Needs.of(request)
    seed = request.seed if request.seed is not None else request_hash
    weights = _weights(force, request)
    feasible, exclusions = _sift(snapshot, needs, principal, force)
    ranked = optimization.rank(
        [(offer, price) for _, offer, price in feasible],
        needs,
        history,
        [force.preference(index) for index, _, _ in feasible],
        weights,
        seed,
    )
    on_violation = force.on_violation or request.on_violation or OnViolation.REPORT
    certificate = {
        "v": VERSION,
        "tenant": snapshot.tenant_id,
        "request": request_hash,
        "principal": digest(PRINCIPAL, canonical_json(principal_document)),
        "services": snapshot.services_hash,
        "policies": policies_hash(rules) if named else snapshot.policies_hash,
        "history": history.digest,
        "service_count": len(snapshot.offers),
        "seed": seed,
        "weights": dict(weights),
        "on_violation": on_violation.value,
        **_outcome(ranked, exclusions, needs),
    }
    return Decision(ranked, exclusions, certificate, decision_hash(certificate), on_violation)


def _weights(force: InForce, request: Request) -> Mapping[str, int]:
    stated: Mapping[str, int] | None = force.weights
    if stated is None:
        stated = dict(DEFAULT_WEIGHTS if request.weights is None else request.weights)
    return {term: stated.get(term, 0) for term in TERMS}


def _sift(
    snapshot: Snapshot, needs: Needs, principal: Principal, force: InForce
) -> tuple[list[tuple[int, Offer, int]], tuple[Exclusion, ...]]:
    """The feasible offers (index, offer, worst-case price) and the exclusions, in offer order."""
    feasible: list[tuple[int, Offer, int]] = []
    exclusions: list[Exclusion] = []
    for index, offer in enumerate(snapshot.offers):
        price = matching.worst_price(offer, needs.request)
        lack = matching.lack(offer, needs, price)
        if lack is None and (excluded := force.exclusion(offer, index)) is not None:
            exclusions.append(excluded)
            continue
        lack = lack or security.lack(offer, needs.request, principal)
        if lack is None:
            feasible.append((index, offer, price))
        else:
            exclusions.append(Exclusion(offer.service_id, offer.version, *lack))
    return feasible, tuple(exclusions)


def _outcome(ranked: tuple[Ranked, ...], exclusions: tuple[Exclusion, ...], needs: Needs) -> dict[str, Any]:
    rows = [[each.offer.service_id, each.offer.version, each.score, each.worst_cost] for each in ranked]
    best = ranked[0] if ranked else None
    plan = [] if best is None else [_step(best.offer)]
    return {
        "feasible": {"count": len(rows), "hash": digest_of(FEASIBLE, rows)},
        "ranked": rows[:RANKED_ROWS],
        "excluded": _groups(exclusions),
        "plan": plan,
        "guarantees": {} if best is None else composition.guarantees(best, needs),
    }


def _step(offer: Offer) -> dict[str, str]:
    return {"service": offer.service_id, "version": offer.version, "contract": offer.contract_hash}


def _groups(exclusions: Sequence[Exclusion]) -> list[dict[str, Any]]:
    """A commitment per clause to all that it excluded. ``exclusions`` come in offer order, which is
    the order of (id, version) that the groups need."""
    by_clause: dict[str, list[list[str]]] = {}
    for each in exclusions:
        by_clause.setdefault(each.clause, []).append(each.document())
    return [
        {"clause": clause, "count": len(group), "hash": digest_of(EXCLUDED, group)}
        for clause in CLAUSES
        if (group := by_clause.get(clause))
    ]
