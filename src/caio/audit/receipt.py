"""Receipts: a signed extract of a tenant's journal about one decision.

Theory of operation
-------------------
A receipt shows the decision's journal entry and, once there is one, its outcome's, each with the
salt that opens its commitment, and where the tenant's Merkle log holds them: a checkpoint and an
inclusion proof each. It is signed when it is fetched, by the key active then: fetching it again
later gives another ``issued_at``, may give an outcome and a later checkpoint, but the same entries.
The signature covers the canonical JSON of everything but itself, behind a purpose.

Laws (each has a test of the same name)
---------------------------------------
- issued_receipts_verify: with the keyring that signed them, also after rotations.
- any_flipped_byte_is_refused: of the receipt's canonical form.
- one_receipt_has_one_reading: duplicate members and numbers that JSON cannot hold are refused.

Pure: ``issued_at`` is an argument. The content of the entries is not examined here; they come out
of ``audit.record.open_leaf``, which has checked them against their commitments. Nor are the proofs.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from caio.audit.record import OpenedLeaf
from caio.audit.signing import SigningKey
from caio.foundation.canonical import canonical_json
from caio.foundation.errors import InvalidInput, Violation

VERSION = 1
KIND = "caio-receipt"
_PURPOSE = b"caio/receipt/v1\x00"


@dataclass(frozen=True, slots=True)
class PlaceInLog:
    """Where a tenant's log holds a receipt's entries: its signed checkpoint, and an inclusion proof
    (``audit.merkle``) of the decision and, if the log holds it too, of the outcome at that size."""

    checkpoint: str
    decision: Sequence[bytes]
    outcome: Sequence[bytes] | None = None


def issue_receipt(
    key: SigningKey, decision: OpenedLeaf, outcome: OpenedLeaf | None, issued_at: int, place: PlaceInLog | None = None
) -> dict[str, Any]:
    """The receipt of a decision, signed with ``key`` at ``issued_at`` (microseconds since the epoch).

    ``place`` is None while the log does not hold the decision. Raises ValueError when ``outcome`` is
    another decision's.
    """
    tenant, decision_id = decision.document["tenant"], decision.document["decision_id"]
    if outcome is not None and (outcome.document["tenant"], outcome.document["decision_id"]) != (tenant, decision_id):
        raise ValueError("an outcome belongs to the receipt of its own decision")
    receipt: dict[str, Any] = {
        "v": VERSION,
        "kind": KIND,
        "tenant": tenant,
        "decision_id": decision_id,
        "issued_at": issued_at,
        "decision": _entry(decision),
        "outcome": None if outcome is None else _entry(outcome),
        "log": None if place is None else _log(place),
        "key_id": key.key_id,
    }
    receipt["signature"] = base64.b64encode(key.sign(signed_bytes(receipt))).decode()
    return receipt


def signed_bytes(receipt: Mapping[str, Any]) -> bytes:
    """What a receipt's signature covers; raises NotCanonical when it has no canonical form."""
    return _PURPOSE + canonical_json({name: value for name, value in receipt.items() if name != "signature"})


def read_receipt(raw: bytes) -> dict[str, Any]:
    """A receipt's JSON, laid out in any way, as a document; nothing in it is checked yet.

    Raises InvalidInput for what is not one JSON object with one reading: a member named twice
    could show different things to different readers.
    """
    try:
        document = json.loads(raw.decode(), object_pairs_hook=_unambiguous, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise InvalidInput("The receipt is not JSON with one reading.", [Violation("", str(error))]) from error
    if not isinstance(document, dict):
        raise InvalidInput("The receipt is not a JSON object.", [Violation("", "must be an object")])
    return document


def _entry(leaf: OpenedLeaf) -> dict[str, Any]:
    return {
        "payload": leaf.document,
        "salt": leaf.commitment.salt.hex(),
        "seq": leaf.seq,
        "commitment": leaf.commitment.value.hex(),
    }


def _log(place: PlaceInLog) -> dict[str, Any]:
    return {
        "checkpoint": place.checkpoint,
        "decision": [each.hex() for each in place.decision],
        "outcome": None if place.outcome is None else [each.hex() for each in place.outcome],
    }


def _unambiguous(members: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(members)
    if len(document) != len(members):
        raise ValueError("a member is named twice")
    return document


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")
