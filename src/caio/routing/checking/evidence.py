"""Evidence as the checker reads it: plain documents, their hashes, and nothing taken on trust.

Theory of operation
-------------------
Each reader takes one part of the evidence and returns it with the hash the certificate must show.
A part that is not exactly of its form raises: what cannot be read proves nothing. Contracts are
not validated again beyond what the rules read; their hashes say that they are the registered ones.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from caio.contracts import expression_variables
from caio.foundation import hashing
from caio.foundation.canonical import canonical_json
from caio.foundation.quantity import read_nanos
from caio.routing.certificate import EVIDENCE_FIELDS
from caio.routing.expressions.errors import EvaluationError
from caio.routing.expressions.interpreter import interpret
from caio.routing.expressions.parser import parse
from caio.routing.expressions.syntax import Expression
from caio.routing.model import CLASSIFICATIONS, LOCALITIES, STRENGTH, TRUST_LEVELS, Effect, Principal, Request
from caio.routing.variables import principal_variables, request_variables

Document = Mapping[str, Any]


class Unreadable(ValueError):
    """The evidence is not what a decision could have been made from; the message says where."""


@dataclass(frozen=True, slots=True)
class Service:
    """One service version: who owns it, what it promises, and the hash of that promise."""

    owner: str
    contract: Document
    digest: str
    variables: Document

    @property
    def key(self) -> tuple[str, str]:
        return (self.contract["service_id"], self.contract["version"])

    @property
    def pinned(self) -> str:
        return f"{self.contract['service_id']}@{self.contract['version']}"


@dataclass(frozen=True, slots=True)
class Rule:
    """One policy. ``in_force`` is None when its ``when`` failed to evaluate."""

    document: Document
    effect: Effect
    in_force: bool | None
    then: Expression

    @property
    def pinned(self) -> str:
        return f"{self.document['id']}@{self.document['version']}"

    def says(self, service: Service) -> bool | None:
        """The value of ``then`` for ``service``, None when it fails to evaluate."""
        return _value(self.then, {"service": service.variables})


@dataclass(frozen=True, slots=True)
class World:
    """Everything a decision depends on, with ``hashes`` and ``bounds`` as the rules name them."""

    request: Document
    principal: Document
    services: Sequence[Service]
    rules: Sequence[Rule]
    history: Document
    hashes: Document
    bounds: Mapping[str, int]


def read_world(evidence: Document) -> World:
    """The whole evidence; raises a LookupError, TypeError, ValueError or CaioError when unreadable."""
    parts = exact_document(evidence, EVIDENCE_FIELDS)
    read = {name: reader(parts[name]) for name, reader in READERS.items()}
    request, principal = parts["request"], parts["principal"]
    services = [
        Service(owner, contract, digest, expression_variables(contract))
        for (_, _, digest, owner), contract in read["services"][1]
    ]
    variables = {"request": request_variables(request), "principal": principal_variables(principal)}
    rules = [
        Rule(policy, Effect(policy["effect"]), _value(parse(policy["when"]), variables), parse(policy["then"]))
        for policy in read["policies"][1]
    ]
    hashes = {name: digest for name, (digest, _) in read.items()}
    return World(request, principal, services, rules, parts["history"], hashes, _bounds(request))


def exact_document(value: Document, fields: Sequence[str]) -> dict[str, Any]:
    """``value`` as plain JSON with exactly ``fields``; raises Unreadable or NotCanonical."""
    if not isinstance(value, Mapping):
        raise Unreadable("not an object")
    plain: dict[str, Any] = json.loads(canonical_json(dict(value)))
    if missing := [name for name in fields if name not in plain]:
        raise Unreadable(f"lacks {', '.join(missing)}")
    if unknown := sorted(set(plain) - set(fields)):
        raise Unreadable(f"has unknown fields: {', '.join(unknown)}")
    return plain


def _read_request(document: Any) -> tuple[str, Document]:
    if canonical_json(Request.from_document(document).document()) != canonical_json(document):
        raise Unreadable("the request is not in its canonical form")
    _one_of(document["classification"], CLASSIFICATIONS)
    if document["data_locality"] is not None:
        _one_of(document["data_locality"], LOCALITIES)
    return hashing.digest_of(hashing.REQUEST, document), document


def _read_principal(document: Any) -> tuple[str, Document]:
    if canonical_json(Principal.from_document(document).document()) != canonical_json(document):
        raise Unreadable("the principal is not in its canonical form")
    _one_of(document["trust_level"], TRUST_LEVELS)
    return hashing.digest_of(hashing.PRINCIPAL, document), document


def _read_services(entries: Any) -> tuple[str, list[tuple[list[str], Document]]]:
    """Rows ``[id, version, contract hash, owner]`` with their contracts, sorted by id, then version."""
    kept: dict[tuple[str, str], tuple[list[str], Document]] = {}
    for entry in _listed(entries):
        contract, owner = entry["contract"], entry["tenant"]
        if set(entry) != {"tenant", "contract"} or not isinstance(owner, str):
            raise Unreadable("a service is its tenant and its contract")
        key = (contract["service_id"], contract["version"])
        row = [*key, hashing.digest_of(hashing.CONTRACT, contract), owner]
        if kept.setdefault(key, (row, contract))[0] != row:
            raise Unreadable(f"two different services are both {'@'.join(key)}")
    rows = [kept[key] for key in sorted(kept)]
    return hashing.digest_of(hashing.SERVICES, [row for row, _ in rows]), rows


def _read_policies(documents: Any) -> tuple[str, list[Document]]:
    """The policies in policy order: priority descending, then id, then version."""
    kept: dict[tuple[str, int], tuple[str, Document]] = {}
    for document in _listed(documents):
        key, digest = (document["id"], document["version"]), hashing.digest_of(hashing.POLICY, document)
        if kept.setdefault(key, (digest, document))[0] != digest:
            raise Unreadable(f"two different policies are both {key[0]}@{key[1]}")
    ordered = sorted(kept.items(), key=lambda item: (-item[1][1]["priority"], item[0]))
    rows = [[*key, digest] for key, (digest, _) in ordered]
    return hashing.digest_of(hashing.POLICIES, rows), [document for _, (_, document) in ordered]


def _read_history(document: Any) -> tuple[str, Document]:
    for calls, successes, p95_ms in document.values():
        if not (all(type(count) is int for count in (calls, successes, p95_ms)) and 0 <= successes <= calls):
            raise Unreadable("a history row is [calls, successes, p95_ms], with at most as many successes as calls")
    return hashing.digest_of(hashing.HISTORY, document), document


#: What reads each part of the evidence, in the certificate's order.
READERS: Mapping[str, Callable[[Any], tuple[str, Any]]] = {
    "request": _read_request,
    "principal": _read_principal,
    "services": _read_services,
    "policies": _read_policies,
    "history": _read_history,
}


def _bounds(request: Document) -> dict[str, int]:
    """The requested bounds by their name as evaluated, sorted; of two with one name, the tighter."""
    bounds: dict[str, int] = {}
    for name, text in request["bounds"].items():
        prop, _, statistic = name.rpartition(".")
        _one_of(statistic, (*STRENGTH, "min"))
        evaluated = f"first_token_ms.{statistic}" if request["stream"] and prop == "latency_ms" else name
        tighter = max if statistic == "min" else min
        bounds[evaluated] = tighter(read_nanos(text), bounds.get(evaluated, read_nanos(text)))
    return dict(sorted(bounds.items()))


def _value(expression: Expression, variables: Document) -> bool | None:
    try:
        return interpret(expression, variables)
    except EvaluationError:
        return None


def _listed(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise Unreadable("not a list")
    return value


def _one_of(value: str, known: Sequence[str]) -> None:
    if value not in known:
        raise Unreadable(f"{value!r} is none of {', '.join(known)}")
