"""A request in words: what it wants, and of what."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_SIGNS = {"min": "≥", "max": "≤", "p50": "p50 ≤", "p95": "p95 ≤", "p99": "p99 ≤"}
_UNITS = {"latency_ms": " ms", "first_token_ms": " ms"}


def wishes(body: Mapping[str, Any]) -> list[str]:
    """Everything that bears on the choice: ``["text.answer", "latency p95 ≤ 50 ms", "cost ≤ 0.001"]``."""
    wanted = body["request"]
    parts = [str(wanted["capability"])]
    parts += [_requirement(name, value) for name, value in wanted.get("requirements", {}).items()]
    if wanted.get("data_classification", "internal") != "internal":
        parts.append(f"{wanted['data_classification']} data")
    if wanted.get("sensitive"):
        parts.append("sensitive")
    if weights := wanted.get("objective", {}).get("weights"):
        parts.append(f"lowest {' and '.join(weights)}")
    if wanted.get("on_violation"):
        parts.append(f"on_violation: {wanted['on_violation']}")
    if policies := body.get("policies"):
        parts.append(f"policies {', '.join(map(str, policies))}")
    return parts


def subject(body: Mapping[str, Any]) -> str:
    """What was handed to the service: its question or text; empty for anything else."""
    payload = body["request"].get("payload") or {}
    for name in ("question", "text"):
        if name in payload:
            return str(payload[name])
    if "messages" in payload:
        return str(payload["messages"][-1]["content"])
    return " / ".join(payload.get("input", ()))


def _requirement(name: str, value: Any) -> str:
    plain = name.removesuffix("_ms").replace("_", " ")
    if isinstance(value, Mapping):
        return ", ".join(f"{plain} {_SIGNS[each]} {bound}{_UNITS.get(name, '')}" for each, bound in value.items())
    if isinstance(value, list):
        return f"{plain.removesuffix('s') if len(value) == 1 else plain} {', '.join(map(str, value))}"
    if plain.startswith("max "):
        return f"{plain.removeprefix('max ')} ≤ {value}"
    return plain if value is True else f"{plain} {value}"
