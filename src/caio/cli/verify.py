"""``caio verify``: what a receipt proves, offline, to someone who pinned keys beforehand."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from caio.cli import exits, output
from caio.cli.files import about, read_file, read_json
from caio.cli.parameters import Json
from caio.cli.plan_verification import plan_in, verify_plan
from caio.cli.trust import pinned, read_keys, store_path

if TYPE_CHECKING:
    from caio.audit.verify import Verification


def verify(
    receipt: Annotated[
        str,
        typer.Argument(metavar="RECEIPT", help="A receipt's or a plan certificate's file, or - for standard input."),
    ],
    evidence: Annotated[
        str | None,
        typer.Option("--evidence", metavar="FILE", help="What the decision was made from, to work it out again."),
    ] = None,
    keys: Annotated[
        str | None,
        typer.Option("--keys", metavar="FILE", help="The key set to trust, in place of the pinned keys."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Verify a receipt, or a plan's certificate, offline, and say which of its claims are proved."""
    from caio.audit.receipt import read_receipt
    from caio.audit.verify import verify_receipt

    raw = read_file(receipt)
    if (plan := plan_in(raw)) is not None:
        verify_plan(plan, None if evidence is None else read_json(evidence), as_json=as_json)
        return
    with about(receipt, raw):
        document = read_receipt(raw)
    trusted = pinned() if keys is None else read_keys(keys)
    verification = verify_receipt(document, trusted, None if evidence is None else read_json(evidence))
    verdict = _verdict(verification, evidence is not None)
    if as_json:
        found = [asdict(claim) for claim in verification.claims]
        output.print_json({"ok": verification.ok, "verdict": verdict, "claims": found})
    else:
        output.claims((claim.proved, claim.name, claim.detail) for claim in verification.claims)
        output.say()
        output.say(verdict)
        _advise(verification, receipt, str(document.get("decision_id")), keys)
    if not verification.ok:
        raise typer.Exit(exits.ExitCode.NOT_VERIFIED)


def _verdict(verification: Verification, with_evidence: bool) -> str:
    """One sentence on what was proved, and what was not."""
    claims = {claim.name: claim.proved for claim in verification.claims}
    refuted = [name for name, proved in claims.items() if proved is False]
    open_claims = [name for name, proved in claims.items() if proved is None and name != "decision"]
    if refuted:
        return f"Not verified: {', '.join(refuted)} {'does' if len(refuted) == 1 else 'do'} not hold."
    left = f" Not checked: {', '.join(open_claims)}." if open_claims else ""
    logged = bool(claims.get("checkpoint") and claims.get("decision inclusion"))
    if with_evidence:
        return (
            f"Verified: a trusted key signed this record, {'the log holds it, ' * logged}and the decision, worked out "
            f"again from the evidence, is the one recorded.{left}"
        )
    held = ", its hashes hold, and the log holds it" if logged else " and its hashes hold"
    return (
        f"Verified: a trusted key signed this record{held}. Not proved: that the decision was right; "
        f"that takes the evidence.{left}"
    )


def _advise(verification: Verification, receipt: str, decision_id: str, keys: str | None) -> None:
    claims = {claim.name: claim.proved for claim in verification.claims}
    if claims.get("trusted key") is False and keys is None:
        output.say(f"Pinned keys are read from {store_path()}; pin the issuer's, once, from where you trust it.")
        output.next_step("caio trust add URL")
    elif verification.ok and claims.get("checkpoint", True) is None:
        output.say("It does not show its place in the log. Fetched again, it may.")
        output.next_step(f"caio decisions receipt {decision_id} -o {'receipt.json' if receipt == '-' else receipt}")
    elif verification.ok and claims.get("decision", True) is None:
        output.next_step(
            f"caio decisions evidence {decision_id} -o evidence.json",
            f"caio verify {receipt} --evidence evidence.json",
        )
