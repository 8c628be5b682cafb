"""Evidence as the checker reads it: plain documents, their hashes, and nothing taken on trust.

Theory of operation
-------------------
``read_world`` takes the evidence apart, puts it in the rules' order and computes the hashes that the
certificate must show. What is not exactly of its form raises: what cannot be read proves nothing.
Contracts are not validated again beyond what the rules read; their hashes say that they are the
registered ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from caio.contracts import expression_variables
from caio.foundation import hashing
from caio.foundation.canonical import canonical_json, read_canonical
from caio.foundation.quantity import read_nanos
from caio.routing.certificate import EVIDENCE_FIELDS
from caio.routing.expressions.errors import EvaluationError
from caio.routing.expressions.interpreter import interpret
from caio.routing.expressions.parser import parse
from caio.routing.expressions.syntax import Expression
from caio.routing.model import Effect, Principal, Request
from caio.routing.variables import principal_variables, request_variables

Document = Mapping[str, Any]


class Unreadable(ValueError):
    """The evidence is not what a decision could have been made from; the message says where."""


class Service(NamedTuple):
    """One service version: who owns it, what it promises, the hash of that promise, and what was observed of any
    version: calls, successes and the 95th percentile in milliseconds."""

    key: tuple[str, str]
    owner: str
    contract: Document
    digest: str
    variables: Document
    track: tuple[int, int, int]

    @property
    def pinned(self) -> str:
        return "@".join(self.key)


class Rule(NamedTuple):
    """One policy. ``in_force`` is None when its ``when`` failed to evaluate."""

    pinned: str
    document: Document
    effect: Effect
    in_force: bool | None
    then: Expression

    def says(self, service: Service) -> bool | None:
        """The value of ``then`` for ``service``, None when it fails to evaluate."""
        return _value(self.then, {"service": service.variables})


class World(NamedTuple):
    """Everything a decision depends on, in the rules' order, with ``hashes`` and ``bounds`` as they name them."""

    request: Document
    principal: Document
    services: Sequence[Service]
    rules: Sequence[Rule]
    seed: str
    hashes: Document
    bounds: Mapping[str, int]


def read_world(evidence: Document) -> World:
    """The whole evidence; raises a LookupError, TypeError, ValueError or CaioError when unreadable."""
    parts = exactly(plain(evidence), EVIDENCE_FIELDS)
    request, principal, history = parts["request"], parts["principal"], parts["history"]
    forms = [Request.from_document(request).document(), Principal.from_document(principal).document()]
    if canonical_json(forms) != canonical_json([request, principal]):
        raise Unreadable("request or principal is not in its canonical form")
    for calls, successes, p95 in history.values():
        if {type(calls), type(successes), type(p95)} != {int} or not (0 <= successes <= calls and 0 <= p95 <= 10**9):
            raise Unreadable("a history row is [calls, successes <= calls, p95_ms <= 10^9], three integers from 0")
    services, policies = _services(parts["services"], history), _policies(parts["policies"])
    variables = {"request": request_variables(request), "principal": principal_variables(principal)}
    offered = [hashing.digest_of(hashing.SERVICE, [*each.key, each.digest, each.owner]) for each in services]
    ruled = [[*name, hashing.digest_of(hashing.POLICY, policy)] for name, policy in policies]
    hashes = {
        "request": hashing.digest_of(hashing.REQUEST, request),
        "principal": hashing.digest_of(hashing.PRINCIPAL, principal),
        "services": hashing.digest(hashing.SERVICES, bytes.fromhex("".join(offered))),
        "policies": hashing.digest_of(hashing.POLICIES, ruled),
        "history": hashing.digest_of(hashing.HISTORY, history),
    }
    rules = [_rule(policy, variables) for _, policy in policies]
    seed = hashes["request"] if request["seed"] is None else request["seed"]
    return World(request, principal, services, rules, seed, hashes, _bounds(request))


def plain(value: Document) -> Any:
    """``value`` as JSON holds it; raises NotCanonical when it cannot."""
    return read_canonical(canonical_json(value))


def exactly(document: Any, fields: Sequence[str]) -> Any:
    """``document``; raises Unreadable when it is no object with just these fields."""
    names = set(document) if isinstance(document, dict) else set()
    if odd := sorted(names ^ set(fields)):
        raise Unreadable(f"fields missing or unknown: {', '.join(odd)}")
    return document


def place(words: Sequence[str], word: str) -> int:
    """Where ``word`` is among the known ``words``; raises Unreadable when it is not one of them."""
    if word not in words:
        raise Unreadable(f"{word!r} is none of {', '.join(words)}")
    return words.index(word)


def _services(entries: Any, history: Document) -> list[Service]:
    """Sorted by id, then version."""
    named = _once(entries, lambda each: (each["contract"]["service_id"], each["contract"]["version"]))
    return [_service(key, history, **exactly(entry, ("contract", "tenant"))) for key, entry in sorted(named)]


def _service(key: Any, history: Document, tenant: str, contract: Document) -> Service:
    digest, track = hashing.digest_of(hashing.CONTRACT, contract), history.get(key[0], (0, 0, 0))
    return Service(key, tenant, contract, digest, expression_variables(contract), track)


def _policies(documents: Any) -> list[tuple[tuple[str, int], Document]]:
    """In policy order: priority descending, then id, then version."""
    named = _once(documents, lambda each: (each["id"], each["version"]))
    return sorted(named, key=lambda item: (-item[1]["priority"], item[0]))


def _rule(policy: Document, variables: Document) -> Rule:
    pinned, in_force = f"{policy['id']}@{policy['version']}", _value(parse(policy["when"]), variables)
    return Rule(pinned, policy, Effect(policy["effect"]), in_force, parse(policy["then"]))


def _once(documents: Any, name_of: Callable[[Any], tuple[Any, ...]]) -> Iterable[tuple[Any, Any]]:
    """The documents with their names; one that is listed repeatedly counts once."""
    if not isinstance(documents, list):
        raise Unreadable("not a list")
    kept: dict[Any, Any] = {}
    for document in documents:
        name = name_of(document)
        if canonical_json(kept.setdefault(name, document)) != canonical_json(document):
            raise Unreadable(f"{'@'.join(map(str, name))} is listed twice, and not the same")
    return kept.items()


def _bounds(request: Document) -> dict[str, int]:
    """The requested bounds by their name as evaluated, sorted; of two with one name, the tighter."""
    bounds: dict[str, int] = {}
    for name, text in request["bounds"].items():
        prop, _, statistic = name.rpartition(".")
        evaluated = f"first_token_ms.{statistic}" if request["stream"] and prop == "latency_ms" else name
        tighter = max if statistic == "min" else min
        bounds[evaluated] = tighter(read_nanos(text), bounds.get(evaluated, read_nanos(text)))
    return dict(sorted(bounds.items()))


def _value(expression: Expression, variables: Document) -> bool | None:
    try:
        return interpret(expression, variables)
    except EvaluationError:
        return None
