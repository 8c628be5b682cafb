"""The engine over a decision's evidence: the same documents that the checker reads."""

from __future__ import annotations

from collections.abc import Sequence

from caio.foundation.hashing import CONTRACT, POLICY, digest_of
from caio.routing.engine import compile_snapshot, decide
from caio.routing.model import Decision, History, Offer, Principal, Request
from caio.routing.offers import offer_of
from caio.routing.policies import compile_policy
from caio.routing.rules import Rule
from tests.support.routing_cases import Document


def offers(services: Sequence[Document]) -> list[Offer]:
    return [offer_of(each["tenant"], each["contract"], digest_of(CONTRACT, each["contract"])) for each in services]


def rules(policies: Sequence[Document]) -> list[Rule]:
    return [compile_policy(each, digest_of(POLICY, each)) for each in policies]


def decided(evidence: Document, attached: int | None = None) -> Decision:
    """The engine's decision; the policies from ``attached`` on come with the request."""
    compiled = rules(evidence["policies"])
    request = Request.from_document(evidence["request"])
    split = len(compiled) if attached is None else attached
    snapshot = compile_snapshot(request.tenant_id, offers(evidence["services"]), compiled[:split])
    return decide(
        snapshot,
        request,
        Principal.from_document(evidence["principal"]),
        History.from_document(evidence["history"]),
        compiled[split:],
    )
