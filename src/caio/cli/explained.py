"""Why a decision came out as it did, as a page for people, as wide as the terminal."""

from __future__ import annotations

import shutil
import textwrap
from typing import Any

from caio.cli import output
from caio.cli.requests import score
from caio.routing.explaining.phrases import brief

_WIDEST = 120
_NARROWEST = 40


def print_explanation(found: dict[str, Any]) -> None:
    """What ``GET /api/v1/decisions/{id}/explanation`` answered."""
    _say(found["summary"])
    if found["agrees"] is False:
        _say("The evidence does not lead to the recorded decision: do not rely on what follows; verify its receipt.")
    if found["terms"]:
        _terms(found)
    if found["outcome"] == "refused":
        _remedies(found)
    if found["groups"]:
        _losers(found)
    if found["policies"]:
        _policies(found)


def _terms(found: dict[str, Any]) -> None:
    winner, runner_up = (each["service"] for each in found["ranked"][:2])
    _title(f"Why {winner} came before {runner_up}")
    whole = sum(each["weight"] for each in found["terms"])
    for each in found["terms"]:
        share = each["contribution"] / whole / 10**9
        _item(f"{share:+.3f}  ", f"{each['term']}: {each['words']}")
        values = f"{score(each['winner'])} against {score(each['runner_up'])}"
        _item(" " * 8, f"{values}, weight {each['weight']} of {whole}")


def _remedies(found: dict[str, Any]) -> None:
    _title("What would help")
    for each in found["remedies"]:
        _item("- ", f"{each['words']}; first {each['first']}")
    if not found["remedies"]:
        tried = found["tried"]
        _say(f"No single change: {tried} {'were' if tried != 1 else 'was'} tried, and none lets a service qualify.")


def _losers(found: dict[str, Any]) -> None:
    excluded = found["considered"] - found["feasible"]
    _title(f"What {excluded:,} lacked" if excluded > 1 else "What the other lacked")
    for group in found["groups"]:
        if group["count"] > 1:
            _item("", f"{group['count']:,} by {group['clause']}: {_requirement(group)}")
        for loser in group["nearest"]:
            _item("  " * (group["count"] > 1) + f"{loser['service']}  ", loser["words"])
        if (left := group["count"] - len(group["nearest"])) > 0:
            _item("  ", f"and {left:,} more")
    shown = sum(group["count"] for group in found["groups"])
    if found["further_groups"]:
        _say(f"{excluded - shown:,} more, for {found['further_groups']:,} other reasons")


def _requirement(group: dict[str, Any]) -> str:
    required = brief(group["required"])
    return required if group["subject"] == group["required"] else f"{group['subject']} {required}"


def _policies(found: dict[str, Any]) -> None:
    _title("Policies")
    for each in found["policies"]:
        _item(f"{each['policy']}  ", f"{each['effect']}, {each['state']}{_effect(each)}")
    if found["further_policies"]:
        _say(f"{found['further_policies']:,} more")


def _effect(policy: dict[str, Any]) -> str:
    if policy["prefers_winner"] is not None:
        return f", {'prefers' if policy['prefers_winner'] else 'does not prefer'} the winner"
    failed = f" ({policy['failed']:,} by failing to evaluate)" if policy["failed"] else ""
    return f", excluded {policy['excluded']:,}{failed}" if policy["excluded"] else ""


def _title(text: str) -> None:
    output.say()
    _say(f"{text}:")


def _say(text: str) -> None:
    _wrapped(text, "", "")


def _item(mark: str, text: str) -> None:
    indent = f"  {mark}"
    # What follows a long name goes on under its start, or it would be squeezed against the edge.
    _wrapped(text, indent, " " * len(indent) if len(indent) <= _NARROWEST // 2 else " " * 6)


def _wrapped(text: str, first: str, others: str) -> None:
    width = max(_NARROWEST, min(_WIDEST, shutil.get_terminal_size().columns))
    for line in textwrap.wrap(
        output.plain(text), width, initial_indent=first, subsequent_indent=others, break_on_hyphens=False
    ):
        output.say(line)
