"""The certificate's form: what the engine writes and the checker reads (docs/reference/routing-rules.md).

Only names and the one digest live here. How the content is computed is written twice on purpose,
in the engine and in ``routing.checker``, so that a mistake in one is caught by the other.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from caio.foundation import hashing

VERSION = 2

#: The certificate shows this many of the best rows; ``feasible.hash`` commits to all of them.
RANKED_ROWS = 5

#: Every field of a certificate, no more and no fewer.
FIELDS = (
    "v",
    "tenant",
    "request",
    "principal",
    "services",
    "policies",
    "history",
    "service_count",
    "seed",
    "weights",
    "on_violation",
    "verdicts",
    "feasible",
    "ranked",
    "excluded",
    "plan",
    "guarantees",
)

#: Every field of the evidence.
EVIDENCE_FIELDS = ("request", "principal", "services", "policies", "history")

#: The clauses in the order in which they are tried, and in which ``excluded`` lists them.
CLAUSES = (
    "service",
    "capability",
    "protocol",
    "feature",
    "context_length",
    "max_tokens",
    "input_size",
    "guarantee",
    "currency",
    "cost",
    "policy_error",
    "policy",
    "visibility",
    "permission",
    "trust",
    "locality",
    "residency",
    "sensitivity",
    "training",
    "retention",
    "compliance",
    "egress",
)


def decision_hash(certificate: Mapping[str, Any]) -> str:
    """The decision's hash; raises NotCanonical when ``certificate`` has no canonical form."""
    return hashing.digest_of(hashing.DECISION, certificate)
