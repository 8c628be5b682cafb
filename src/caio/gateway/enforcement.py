"""What a contract promised of one answer, compiled once, and whether an answer kept it.

A single call can break a ``max`` latency and the output schema. It cannot break a percentile, an
accuracy or an availability: those are promises about many calls, which the objectives over time
judge. Money is judged where the call is priced.

Laws (each has a test of the same name)
---------------------------------------
- only_a_max_can_be_broken_by_one_call.
- the_bound_itself_is_kept: 800 ms keeps ``max: 800``; comparison is exact.
- breaches_hold_no_payload: where and which keyword, never what was found.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from caio.audit.record import Breach
from caio.foundation.errors import Misconfigured, Violation
from caio.foundation.json_schema import CompiledSchema, SchemaRefused
from caio.foundation.quantity import NANO, decimal_text, nanos
from caio.gateway.target import endpoint_of

MAX_INPUT_VIOLATIONS = 20
MAX_OUTPUT_VIOLATIONS = 3


class AnswerRules:
    """The checks of one contract version and capability.

    ``latency_max`` and ``first_token_max`` are in nanos of a millisecond.
    """

    def __init__(
        self,
        *,
        input_schema: CompiledSchema | None = None,
        output_schema: CompiledSchema | None = None,
        latency_max: int | None = None,
        first_token_max: int | None = None,
    ) -> None:
        self._input = input_schema
        self._output = output_schema
        self._latency_max = latency_max
        self._first_token_max = first_token_max

    @classmethod
    def of(cls, document: Mapping[str, Any], capability: str) -> AnswerRules:
        """The rules that a contract's canonical document states for ``capability``.

        Raises Misconfigured when a schema cannot be run safely (``foundation.json_schema``), which
        registration should have refused.
        """
        endpoint = endpoint_of(document, capability) or {}
        return cls(
            input_schema=_compiled(document, endpoint, "input_schema"),
            output_schema=_compiled(document, endpoint, "output_schema"),
            latency_max=_max(document, "latency_ms"),
            first_token_max=_max(document, "first_token_ms"),
        )

    def check(self, answer: Any, latency_ms: int) -> tuple[Breach, ...]:
        """What a complete answer, ``latency_ms`` after the call began, broke."""
        breaches = _over("latency_ms.max", latency_ms, self._latency_max)
        if self._output is not None and (found := self._output.violations(answer, MAX_OUTPUT_VIOLATIONS)):
            observed = "; ".join(f"{violation.pointer or '/'} {violation.message}" for violation in found)
            breaches += (Breach("output_schema", "the answer fits the contract's output schema", observed),)
        return breaches

    def check_first_token(self, first_token_ms: int) -> tuple[Breach, ...]:
        """What a stream broke whose first content came ``first_token_ms`` after the call began. Of a
        stream nothing else is checked: its chunks are no document, and its pace is the reader's too."""
        return _over("first_token_ms.max", first_token_ms, self._first_token_max)

    def first_misfit(self, payload: Any) -> tuple[Violation, ...]:
        """One of what ``check_input`` finds, if it finds any."""
        return () if self._input is None else self._input.first(payload)

    def takes(self, payload: Any) -> bool:
        """Whether ``check_input`` finds nothing."""
        return self._input is None or self._input.accepts(payload)

    def check_input(self, payload: Any) -> tuple[Violation, ...]:
        """Why the service would not accept ``payload``; empty when it would, or did not say."""
        return () if self._input is None else self._input.violations(payload, MAX_INPUT_VIOLATIONS)


def _over(clause: str, observed: int, most: int | None) -> tuple[Breach, ...]:
    if most is None or observed * NANO <= most:
        return ()
    return (Breach(clause, f"<= {decimal_text(most)}", str(observed)),)


def _max(document: Mapping[str, Any], guarantee: str) -> int | None:
    bound = document.get("guarantees", {}).get(guarantee, {}).get("max")
    return None if bound is None else nanos(bound)


def _compiled(document: Mapping[str, Any], endpoint: Mapping[str, Any], name: str) -> CompiledSchema | None:
    schema = endpoint.get(name)
    if schema is None:
        return None
    try:
        return CompiledSchema(schema)
    except SchemaRefused as error:
        service = document["service_id"]
        raise Misconfigured(f"The {name} in the contract of {service!r} cannot be used: {error}") from error
