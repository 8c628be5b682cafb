"""What can be proved of a run afterwards: every receipt offline, and that nothing is lost by a crash."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from caio.audit.receipt import read_receipt
from caio.audit.verify import Verification, verify_receipt
from caio.cli import files
from caio.cli.demonstration.stage import SERVER, Stage
from caio.cli.demonstration.story import Check, Step


async def receipts(stage: Stage) -> Step:
    """Fetch, save and verify the receipt of every decision, then change one and see it fail.

    Verification reads the saved files and the keys pinned before the first decision, and recomputes
    each decision from its evidence. It asks nobody.
    """
    decisions = await stage.caio.decision_ids()
    asked = [act.decision_id for act in stage.acts]
    for decision_id in decisions:
        files.write_json(stage.receipt_of(decision_id), await _fetched(stage, decision_id, "receipt"))
        files.write_json(stage.evidence_of(decision_id), await _fetched(stage, decision_id, "evidence"))
    verified = {decision_id: verify_saved(stage, decision_id) for decision_id in decisions}
    proved = [decision_id for decision_id, verification in verified.items() if all_proved(verification)]
    logged = [decision_id for decision_id, verification in verified.items() if in_the_log(verification)]
    stage.verified = len(proved)
    claims = sum(len([one for one in each.claims if one.proved]) for each in verified.values())
    step = Step("receipts", "Every receipt verified offline, every decision recomputed from its evidence")
    step.notes = [f"{claims} claims proved with key {', '.join(stage.pinned)}, pinned before the first decision"]
    step.checks = [
        Check(
            f"the journal holds the {len(asked)} decisions of this run, and no other",
            sorted(decisions) == sorted(asked),
            f"{len(decisions)} decisions, {len(set(decisions) ^ set(asked))} unaccounted for",
        ),
        Check(
            f"{len(proved)} of {len(decisions)} receipts verified",
            bool(decisions) and len(proved) == len(decisions),
            "; ".join(_refuted(verified[one]) for one in decisions if one not in proved),
        ),
        Check(
            f"{len(logged)} of {len(decisions)} show their place in a Merkle log that the same key signed",
            bool(decisions) and len(logged) == len(decisions),
            f"not shown to be in the log: {', '.join(one for one in decisions if one not in logged)}",
        ),
    ]
    if proved:
        step.checks.append(_tampered(stage, _dearest(stage)))
    return step


def verify_saved(stage: Stage, decision_id: str) -> Verification:
    receipt = read_receipt(stage.receipt_of(decision_id).read_bytes())
    evidence = json.loads(stage.evidence_of(decision_id).read_bytes())
    return verify_receipt(receipt, stage.pinned, evidence)


def all_proved(verification: Verification) -> bool:
    """Nothing refuted, and the decision itself recomputed: not merely nothing found."""
    return verification.ok and any(one.name.startswith("decision: ") and one.proved for one in verification.claims)


def in_the_log(verification: Verification) -> bool:
    """The log holds every entry that the receipt shows."""
    claims = {one.name: one.proved for one in verification.claims}
    with_outcome = claims["outcome commitment"] is not None
    places = ["checkpoint", "decision inclusion", *(["outcome inclusion"] if with_outcome else [])]
    return all(claims[name] for name in places)


async def restart(stage: Stage) -> Step:
    """Kill CAIO without warning, start it on the same directory, and look for every decision."""
    before = {act.decision_id: _place(stage.receipt_of(act.decision_id).read_bytes()) for act in stage.acts}
    status = await stage.children.kill(SERVER)
    seconds = await stage.restart_server()
    after = await stage.caio.decision_ids()
    same = [one for one in after if _place(await _fetched(stage, one, "receipt")) == before.get(one)]
    services = (await stage.caio.get("/api/v1/services"))["items"]
    step = Step("restart", "CAIO itself is killed, and started again on the same data")
    step.notes = [f"SIGKILL (exit status {status}), ready again after {seconds:.1f} s"]
    step.checks = [
        Check(
            f"all {len(before)} decisions are still there, entry for entry as their receipts say",
            bool(before) and len(same) == len(before) == len(after),
            f"{len(same)} of {len(before)} as before, {len(after)} listed",
        ),
        Check(
            f"all {len(stage.services)} services are still registered",
            {each["name"] for each in services} == set(stage.services),
            f"registered: {', '.join(each['name'] for each in services)}",
        ),
    ]
    return step


def _tampered(stage: Stage, decision_id: str) -> Check:
    """A receipt that says the call was cheaper than it was."""
    receipt = read_receipt(stage.receipt_of(decision_id).read_bytes())
    forged = copy.deepcopy(receipt)
    paid = Decimal(forged["outcome"]["payload"]["charged"])
    claimed = f"{(paid / 10).quantize(Decimal('1e-9')).normalize():f}"
    forged["outcome"]["payload"]["charged"] = claimed
    files.write_json(stage.receipts / "tampered.receipt.json", forged)
    verification = verify_receipt(read_receipt((stage.receipts / "tampered.receipt.json").read_bytes()), stage.pinned)
    refuted = [one.name for one in verification.claims if one.proved is False]
    return Check(
        f"a forged charge ({claimed} for {paid:f}) is refused: {', '.join(refuted) or 'no, accepted'}",
        paid > 0 and claimed != f"{paid:f}" and not verification.ok and "signature" in refuted,
        "the changed receipt was accepted",
    )


def _dearest(stage: Stage) -> str:
    return max(stage.acts, key=lambda act: act.charged).decision_id


async def _fetched(stage: Stage, decision_id: str, part: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = await stage.caio.get(f"/api/v1/decisions/{decision_id}/{part}")
    return found


def _place(receipt: bytes | Mapping[str, Any]) -> tuple[Any, ...]:
    """What a receipt says of its journal entries: their place and their commitment."""
    document = read_receipt(receipt) if isinstance(receipt, bytes) else receipt
    entries = (document["decision"], document["outcome"])
    return tuple(None if entry is None else (entry["seq"], entry["commitment"]) for entry in entries)


def _refuted(verification: Verification) -> str:
    return (
        ", ".join(f"{one.name}: {one.detail}" for one in verification.claims if one.proved is False) or "not recomputed"
    )
