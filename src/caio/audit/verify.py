"""Verifying a receipt offline, from the receipt and keys that were pinned beforehand. Pure.

Theory of operation
-------------------
A receipt makes separate claims; each is proved, refuted, or not checked for want of something,
and says so. Signature and commitments bind the content; the certificate's hash ties it to the
decision; what was done is compared with what was decided. Inclusion proofs tie the entries to the
tenant's log as a trusted key signed it. Given the evidence, the independent checker
(``routing.checker``) recomputes the decision itself.

Laws (each has a test of the same name)
---------------------------------------
- verify_never_raises: whatever it is given.
- nothing_inside_is_trusted: a receipt signed by a key that is not pinned proves nothing.
- each_claim_can_fail: for each there is a properly signed receipt that refutes it.
- a_receipt_without_its_place_is_still_one: without ``log``, its claims are not checked, and no others fail.
- evidence_recomputes_the_decision: and evidence of another decision is refuted.

What is not checked: that everybody is shown the same log (witnesses and ``merkle.verify_consistency``
are for that), that contracts tell the truth, and ``issued_at``, which is the signer's word.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from caio.audit import shapes
from caio.audit.checkpoint import Checkpoint, SignedCheckpoint, read_checkpoint
from caio.audit.merkle import leaf_hash, verify_inclusion
from caio.audit.receipt import signed_bytes
from caio.audit.signing import is_signed_by, read_signature
from caio.foundation.canonical import NotCanonical, canonical_json
from caio.foundation.errors import InvalidInput
from caio.foundation.hashing import PRINCIPAL, REQUEST, digest_of, keyed, same
from caio.foundation.quantity import NotExact, read_nanos
from caio.routing import checker
from caio.routing.certificate import decision_hash


@dataclass(frozen=True, slots=True)
class Claim:
    """One thing a receipt says. ``proved`` is None when it could not be checked; ``detail`` says why."""

    name: str
    proved: bool | None
    detail: str


@dataclass(frozen=True, slots=True)
class Verification:
    """The result: ``ok`` when nothing was refuted. What could not be checked does not count against it."""

    claims: tuple[Claim, ...]

    @property
    def ok(self) -> bool:
        return all(claim.proved is not False for claim in self.claims)


def verify_receipt(
    receipt: Mapping[str, Any], trusted_keys: Mapping[str, bytes], evidence: Mapping[str, Any] | None = None
) -> Verification:
    """Check every claim of ``receipt``. Never raises on malformed input.

    ``trusted_keys`` are raw public keys by id, pinned by the verifier (``signing.read_key_set``);
    ``evidence`` is what the certificate's hashes stand for, without which the decision is not recomputed.
    """
    try:
        signed = signed_bytes(receipt)
        read = msgspec.convert(receipt, shapes.Receipt)
    except (msgspec.ValidationError, NotCanonical, AttributeError, TypeError, RecursionError) as error:
        return Verification((Claim("form", False, f"not a receipt of version 1: {error}"),))
    decision, certificate = receipt["decision"], receipt["decision"]["payload"]["certificate"]
    claims = [
        Claim("form", True, "a receipt of version 1"),
        *_signature(read, signed, trusted_keys),
        _commitment("decision commitment", decision),
        _outcome_commitment(receipt["outcome"]),
        _identity(read),
        _certificate(certificate, read.decision.payload.decision_hash),
        _inputs(decision["payload"], read.decision.payload),
        _choice(read.decision.payload),
        _calls(read),
        _charge(read),
        *_place(read, trusted_keys),
    ]
    return Verification((*claims, *_recomputed(certificate, evidence, read.decision.payload.decision_hash)))


def _signature(read: shapes.Receipt, signed: bytes, trusted_keys: Mapping[str, bytes]) -> tuple[Claim, Claim]:
    public_key = trusted_keys.get(read.key_id)
    if public_key is None:
        unknown = f"key {read.key_id} is not among the {len(trusted_keys)} trusted keys"
        return Claim("trusted key", False, unknown), Claim("signature", False, "no trusted key to check it with")
    signature = read_signature(read.signature)
    holds = signature is not None and is_signed_by(public_key, signed, signature)
    return (
        Claim("trusted key", True, f"key {read.key_id} is trusted"),
        Claim("signature", holds, "Ed25519 over the canonical receipt" if holds else "does not match the content"),
    )


def _commitment(name: str, entry: Mapping[str, Any]) -> Claim:
    computed = keyed(bytes.fromhex(entry["salt"]), canonical_json(entry["payload"]))
    holds = same(computed, bytes.fromhex(entry["commitment"]))
    place = f"entry {entry['seq']} of the journal"
    return Claim(name, holds, f"{place} commits to this record" if holds else f"{place} commits to another record")


def _outcome_commitment(entry: Mapping[str, Any] | None) -> Claim:
    if entry is None:
        return Claim("outcome commitment", None, "the receipt shows no outcome")
    return _commitment("outcome commitment", entry)


def _identity(read: shapes.Receipt) -> Claim:
    decision, outcome = read.decision.payload, read.outcome
    ids = {read.decision_id, decision.decision_id}
    tenants = {read.tenant, decision.tenant, decision.request.tenant_id, decision.certificate.tenant}
    if outcome is not None:
        ids.add(outcome.payload.decision_id)
        tenants.add(outcome.payload.tenant)
        if outcome.seq <= read.decision.seq:
            return Claim("identity", False, "the outcome stands before its decision in the journal")
    if len(ids) > 1 or len(tenants) > 1:
        return Claim("identity", False, "the parts belong to different decisions or tenants")
    return Claim("identity", True, f"every part is about decision {read.decision_id} of tenant {read.tenant}")


def _certificate(certificate: Mapping[str, Any], stated: str) -> Claim:
    holds = decision_hash(certificate) == stated
    return Claim("certificate", holds, f"its hash {'is' if holds else 'is not'} the decision's, {stated}")


def _inputs(payload: Mapping[str, Any], decision: shapes.Decision) -> Claim:
    """The request and the principal that the record shows are those the decision was made from."""
    certificate = decision.certificate
    if digest_of(REQUEST, payload["request"]) != certificate.request:
        return Claim("inputs", False, "the decision was made from another request")
    if digest_of(PRINCIPAL, payload["principal_document"]) != certificate.principal:
        return Claim("inputs", False, "the decision was made for another principal")
    if decision.principal != decision.principal_document.id or decision.capability not in decision.request.capabilities:
        return Claim("inputs", False, "the record names another caller or capability than its documents")
    return Claim("inputs", True, f"{decision.principal} asked for {decision.capability}")


def _choice(decision: shapes.Decision) -> Claim:
    """The chosen service is the best ranked of those that had room."""
    if not decision.service:
        detail = "a call was admitted, but to no service" if decision.admitted else "no service was chosen"
        return Claim("choice", not decision.admitted, detail)
    certificate, rank = decision.certificate, decision.passed_over
    name = f"{decision.service}@{decision.version}"
    if len(certificate.ranked) <= rank < certificate.feasible.count:
        return Claim("choice", None, f"{name} ranks below the rows that the certificate shows")
    if rank >= certificate.feasible.count or certificate.ranked[rank][:2] != (decision.service, decision.version):
        return Claim("choice", False, f"{name} is not the service at rank {rank + 1}")
    return Claim("choice", True, f"{name} ranks best" + f" but for {rank} that had no room" * bool(rank))


def _calls(read: shapes.Receipt) -> Claim:
    """The call was admitted, and every service that was called, fallbacks too, had been found feasible."""
    if read.outcome is None:
        return Claim("calls", None, "the receipt shows no outcome")
    if not read.decision.payload.admitted:
        return Claim("calls", False, "there is an outcome of a call that was not admitted")
    certificate = read.decision.payload.certificate
    shown = {row[:2] for row in certificate.ranked}
    others = [one for one in read.outcome.payload.attempts if (one.service, one.version) not in shown]
    if not others:
        return Claim("calls", True, f"all {len(read.outcome.payload.attempts)} calls went to feasible services")
    name = f"{others[0].service}@{others[0].version}"
    if certificate.feasible.count > len(certificate.ranked):
        return Claim("calls", None, f"{name} is not among the ranked services that the certificate shows")
    return Claim("calls", False, f"{name} was called without having been found feasible")


def _charge(read: shapes.Receipt) -> Claim:
    if read.outcome is None:
        return Claim("charge", None, "the receipt shows no outcome")
    charged, reserved = read.outcome.payload.charged, read.outcome.payload.reserved
    try:
        holds = read_nanos(charged) <= read_nanos(reserved)
    except NotExact as error:
        return Claim("charge", False, str(error))
    return Claim("charge", holds, f"{charged} charged of {reserved} reserved")


def _place(read: shapes.Receipt, trusted_keys: Mapping[str, bytes]) -> tuple[Claim, Claim, Claim]:
    """The entries stand in the tenant's log, at their places, as a trusted key signed it."""
    log, outcome = read.log, read.outcome
    if log is None:
        absent = "the receipt does not say where the log holds it"
        return Claim("checkpoint", None, absent), *_unchecked_inclusions(absent)
    try:
        signed = read_checkpoint(log.checkpoint)
    except InvalidInput as error:
        fault, _, _ = error.message.partition(". ")  # what to do next is told to those who have a log
        return Claim("checkpoint", False, fault), *_unchecked_inclusions("there is no checkpoint to check it with")
    seq, commitment = (None, "") if outcome is None else (outcome.seq, outcome.commitment)
    return (
        _checkpoint(signed, read.tenant, trusted_keys),
        _inclusion("decision inclusion", read.decision.seq, read.decision.commitment, log.decision, signed.checkpoint),
        _inclusion("outcome inclusion", seq, commitment, log.outcome, signed.checkpoint),
    )


def _unchecked_inclusions(why: str) -> tuple[Claim, Claim]:
    return Claim("decision inclusion", None, why), Claim("outcome inclusion", None, why)


def _checkpoint(signed: SignedCheckpoint, tenant: str, trusted_keys: Mapping[str, bytes]) -> Claim:
    origin, size = signed.checkpoint.origin, signed.checkpoint.size
    if not origin.endswith(f"/{tenant}"):
        return Claim("checkpoint", False, f"{origin} is not the log of tenant {tenant}")
    signer = signed.signed_by(trusted_keys)
    if signer is None:
        return Claim("checkpoint", False, f"no trusted key signed the log {origin} as this")
    return Claim("checkpoint", True, f"key {signer} signed {origin} with {size} entries")


def _inclusion(
    name: str, seq: int | None, commitment: str, proof: Sequence[str] | None, checkpoint: Checkpoint
) -> Claim:
    if seq is None:
        nothing = "the receipt shows no outcome"
        return Claim(name, None, nothing) if proof is None else Claim(name, False, f"{nothing}, but a proof of one")
    if proof is None:
        return Claim(name, None, "the log did not hold it yet when the receipt was issued")
    if seq >= checkpoint.size:
        return Claim(name, False, f"a log of {checkpoint.size} entries has no entry {seq}")
    path = [bytes.fromhex(each) for each in proof]
    entry = leaf_hash(bytes.fromhex(commitment))
    holds = verify_inclusion(entry, seq, checkpoint.size, path, checkpoint.root)
    where = f"entry {seq} of {checkpoint.size} in the log"
    return Claim(name, holds, f"{where} is this commitment" if holds else f"{where} is not shown to be this commitment")


def _recomputed(certificate: Mapping[str, Any], evidence: Mapping[str, Any] | None, stated: str) -> list[Claim]:
    if evidence is None:
        return [Claim("decision", None, "no evidence was given to recompute it from")]
    checked = checker.check(certificate, evidence, stated)
    return [Claim(f"decision: {one.name}", one.proved, one.detail) for one in checked]
