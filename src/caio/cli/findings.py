"""What the analysis found, for people; the documents are those of the API."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from caio.cli import output

_MARKS = {"severe": "✗", "warning": "!", "information": "·"}


def print_findings(findings: Sequence[Mapping[str, Any]], saved_as: str | None = None) -> None:
    """One line a finding and one for its example; ``saved_as`` is the policy that is in force in spite
    of severe ones."""
    for each in findings:
        about = f" {each['pointer']}" if each["pointer"] else ""
        output.say(f"  {_MARKS[each['severity']]} {each['code']}{about}: {each['detail']}")
        if (shown := _example(each["counterexample"])) is not None:
            output.say(f"      for example {shown}")
    severe = sum(each["severity"] == "severe" for each in findings)
    if severe and saved_as is not None:
        count = f"{severe} severe finding{'s' * (severe > 1)}"
        output.note(f"caio: {saved_as} is saved and in force, with {count}: see ✗ above")
        output.note(f"  undo it: caio policies retire {saved_as}; or have it refused next time: --strict")


def _example(found: Mapping[str, Any] | None) -> str | None:
    """``request {"sensitive": true}, service us@1.0.0``"""
    if found is None:
        return None
    parts = []
    if found["request"] is not None:
        stated = [f"{name} {_compact(found[name])}" for name in ("request", "principal") if found[name]]
        parts += stated or ["any request"]
    if found["service"] is not None:
        parts.append(f"service {found['service']}")
    elif found["contract"] is not None:
        parts.append(f"a service with {_compact(found['contract'])}" if found["contract"] else "any service")
    return ", ".join(parts)


def _compact(document: Any) -> str:
    return json.dumps(document, ensure_ascii=False)
