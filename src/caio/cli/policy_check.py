"""Policies examined without being saved: among the files of the command, or among what a server has.

Both give the API's ``Validation`` document.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from caio.api.documents import Validation
from caio.cli.files import STANDARD_INPUT, about, read_file
from caio.cli.server import Server
from caio.contracts import parse_contract
from caio.foundation.errors import InvalidInput
from caio.foundation.scope import DEFAULT_TENANT
from caio.registry.advice import compiled, refuse_severe
from caio.routing.analysis import analyse
from caio.routing.model import Offer
from caio.routing.offers import offer_of
from caio.routing.rules import Rule

#: A policy's file in, what is to be said of it out; raises InvalidInput.
Examine = Callable[[bytes], dict[str, Any]]


def examined_by(server: Server, strict: bool) -> Examine:
    path = "/api/v1/policies/validate" + ("?strict=true" if strict else "")

    def examine(raw: bytes) -> dict[str, Any]:
        document: dict[str, Any] = server.send("POST", path, raw, kind="yaml").document
        return document

    return examine


def examined_among(policies: Sequence[str], contracts: Sequence[str], strict: bool) -> Examine:
    """``policies`` are seen as all in force at once, ``contracts`` as all the services there are."""
    offers = [_offer(file) for file in contracts]
    others = [rule for file in policies if (rule := _rule(file)) is not None]

    def examine(raw: bytes) -> dict[str, Any]:
        parsed, rule = compiled(raw)
        findings = analyse(rule, others, offers)
        if strict:
            refuse_severe(findings)
        policy = parsed.value
        return Validation.of(policy.digest, policy.document(), parsed.warnings, findings).model_dump(mode="json")

    return examine


def _offer(file: str) -> Offer:
    raw = read_file(file)
    with about(file, raw):
        contract = parse_contract(raw).value
    return offer_of(DEFAULT_TENANT, contract.document(), contract.digest)


def _rule(file: str) -> Rule | None:
    """None for standard input, which is read once, and for a flaw, which is told when its turn comes."""
    if file == STANDARD_INPUT:
        return None
    try:
        return compiled(read_file(file))[1]
    except InvalidInput:
        return None
