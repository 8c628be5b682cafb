"""What ``caio verify`` says of a plan's certificate, as ``caio plan --certificate-out`` writes it.

Nobody signs a plan's certificate: the evidence proves that the plan follows from it by the rules, and
whoever relies on the plan compares its hash with the one that was agreed on.
"""

from __future__ import annotations

import json
from typing import Any

import typer

from caio.cli import exits, output
from caio.foundation.errors import InvalidInput


def plan_in(raw: bytes) -> dict[str, Any] | None:
    """The document in ``raw`` if it is a plan's certificate with its hash, else None."""
    try:
        document = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) and set(document) == {"plan_hash", "certificate"} else None


def verify_plan(document: dict[str, Any], evidence: Any, *, as_json: bool) -> None:
    """Print every claim. Raises InvalidInput without evidence (nothing is signed), and Exit when a claim is refuted."""
    from caio.routing.checking.plans import check_plan

    if evidence is None:
        message = (
            "a plan's certificate proves nothing by itself: add --evidence FILE, as caio plan --evidence-out writes it"
        )
        raise InvalidInput(message, code="no_evidence")
    claims = check_plan(document["certificate"], evidence, document["plan_hash"])
    failed = [claim.name for claim in claims if claim.proved is False]
    unknown = [claim.name for claim in claims if claim.proved is None]
    if failed:
        verdict = f"Not verified: {', '.join(failed)} {'does' if len(failed) == 1 else 'do'} not hold."
    else:
        left = f" Not checked: {', '.join(unknown)}." if unknown else ""
        verdict = f"Verified: the plan, worked out again from the evidence, is the one stated.{left}"
    if as_json:
        output.print_json({"ok": not failed, "verdict": verdict, "claims": [claim._asdict() for claim in claims]})
    else:
        output.claims((claim.proved, claim.name, claim.detail) for claim in claims)
        output.say()
        output.say(verdict)
    if failed:
        raise typer.Exit(exits.ExitCode.NOT_VERIFIED)
