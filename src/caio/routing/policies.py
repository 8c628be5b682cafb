"""From a policy's document to a compiled rule, with what its expressions may read.

``when`` reads ``request`` and ``principal``; ``then`` reads ``service`` alone, which is why its
verdict on each service can be computed once. Both are checked against the schemas below, so a
misspelt field is refused when the policy is saved and not discovered as a denial at night.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from caio.foundation.errors import InvalidInput, Violation
from caio.routing.expressions import (
    Bool,
    Double,
    Expression,
    ExpressionError,
    Int,
    List,
    Map,
    Record,
    Schema,
    String,
    check,
    compile_expression,
    parse,
)
from caio.routing.model import Effect, OnViolation, Policy
from caio.routing.rules import Rule

_NAMES = List(String)

REQUEST_SCHEMA: Schema = {
    "request": Record(
        {
            "capability": String,
            "capabilities": _NAMES,
            "data_classification": String,
            "sensitive": Bool,
            "stream": Bool,
            "features": _NAMES,
            "regions": _NAMES,
            "compliance": _NAMES,
            "services": _NAMES,
            "data_locality": String,
            "max_cost": Double,
            "max_tokens": Int,
            "context_length": Int,
            "input_bytes": Int,
            "deadline_ms": Int,
            "labels": Map(String),
            "bounds": Map(Double),
        }
    ),
    "principal": Record({"id": String, "kind": String, "roles": _NAMES, "permissions": _NAMES, "trust_level": String}),
}

SERVICE_SCHEMA: Schema = {
    "service": Record(
        {
            "id": String,
            "service_id": String,
            "name": String,
            "version": String,
            "description": String,
            "tags": _NAMES,
            "owner": String,
            "capabilities": _NAMES,
            "features": _NAMES,
            "guarantees": Map(
                Record({"p50": Double, "p95": Double, "p99": Double, "max": Double, "min": Double, "verified": String})
            ),
            "constraints": Record(
                {
                    "max_concurrent_requests": Int,
                    "rate_limit": Record({"per_minute": Int, "per_hour": Int}),
                    "context_length": Int,
                    "requires": Record({"gpu": Bool, "internet": Bool}),
                }
            ),
            "cost": Record(
                {
                    "currency": String,
                    "per_request": Double,
                    "per_input_token": Double,
                    "per_output_token": Double,
                    "per_second": Double,
                }
            ),
            "privacy": Record(
                {
                    "data_locality": String,
                    "regions": _NAMES,
                    "encryption": Record({"in_transit": Bool, "at_rest": Bool, "type": String}),
                    "data_retention_days": Int,
                    "trains_on_data": Bool,
                    "compliance": _NAMES,
                }
            ),
            "alignment": Record(
                {
                    "safety_level": String,
                    "content_filtering": Bool,
                    "bias_mitigation": Bool,
                    "toxicity_filtering": Bool,
                }
            ),
            "access": Record(
                {
                    "required_permissions": Record({"all_of": _NAMES, "any_of": _NAMES}),
                    "required_trust_level": String,
                    "visibility": String,
                }
            ),
            "api": Record({"protocol": String, "base_url": String, "timeout_ms": Int, "model": String}),
        }
    )
}


def compile_policy(document: Mapping[str, Any], policy_hash: str, lines: Mapping[str, int] | None = None) -> Rule:
    """The rule of a policy's canonical document, whose hash the caller states.

    Raises InvalidInput ``invalid_policy`` with the line and column of every expression that does
    not compile; ``lines`` says on which line of the author's file each pointer's value begins.
    """
    violations: list[Violation] = []
    when = _compile(document, "when", REQUEST_SCHEMA, lines, violations)
    then = _compile(document, "then", SERVICE_SCHEMA, lines, violations)
    if when is None or then is None:
        raise InvalidInput("the policy's expressions do not compile", violations, code="invalid_policy")
    policy = _policy(document, policy_hash)
    return Rule(policy, when, then, compile_expression(when), compile_expression(then))


def _compile(
    document: Mapping[str, Any],
    name: str,
    schema: Schema,
    lines: Mapping[str, int] | None,
    violations: list[Violation],
) -> Expression | None:
    try:
        expression = parse(document[name])
        check(expression, schema)
        return expression
    except ExpressionError as error:
        place = f"line {error.line}, column {error.column} of the expression: {error.message}"
        violations.append(Violation(f"/{name}", place, (lines or {}).get(f"/{name}")))
        return None


def _policy(document: Mapping[str, Any], policy_hash: str) -> Policy:
    weights, on_violation = document.get("weights"), document.get("on_violation")
    return Policy(
        document["id"],
        document["version"],
        document["priority"],
        Effect(document["effect"]),
        document["when"],
        document["then"],
        document["message"],
        policy_hash,
        None if weights is None else tuple(sorted(weights.items())),
        None if on_violation is None else OnViolation(on_violation),
        document,
    )
