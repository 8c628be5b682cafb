"""What policy expressions read as ``request`` and ``principal``: documents in, plain values out.

Decimals become floats here, as in ``contracts.expression_variables``; the clauses that compare
bounds and prices never see them. What a request leaves unstated is absent, so that reading it is
an evaluation error unless the expression asks ``has(...)`` first; sets are always present, and
empty when unstated. Neither function validates: a document that ``Request.document`` or
``Principal.document`` did not write raises KeyError, IndexError, TypeError or ValueError, or goes
unnoticed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: Read under the same name, always present.
_PLAIN = ("capabilities", "features", "regions", "compliance", "services", "sensitive", "stream", "input_bytes")
#: Read under the same name, absent while unstated.
_OPTIONAL = ("data_locality", "context_length", "max_tokens")


def request_variables(document: Mapping[str, Any]) -> dict[str, Any]:
    """``request`` of an expression, from ``Request.document()``; bounds keep their stated names."""
    variables = {name: document[name] for name in _PLAIN}
    variables |= {name: document[name] for name in _OPTIONAL if document[name] is not None}
    if document["max_cost"] is not None:
        variables["max_cost"] = float(document["max_cost"])
    return variables | {
        "capability": document["capabilities"][0],
        "data_classification": document["classification"],
        "deadline_ms": document["deadline_ms"],
        "labels": dict(document["labels"]),
        "bounds": {name: float(value) for name, value in document["bounds"].items()},
    }


def principal_variables(document: Mapping[str, Any]) -> dict[str, Any]:
    """``principal`` of an expression, from ``Principal.document()``."""
    return {name: document[name] for name in ("id", "kind", "roles", "permissions", "trust_level")}
