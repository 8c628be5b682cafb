"""A policy's document: a tenant's versioned rule, as text.

The expressions are kept as they were written: compiling them is the kernel's business, and it
names line and column itself (``Parsed.locate`` turns those into places in the file).
"""

from __future__ import annotations

from functools import cached_property
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from caio.contracts.fields import Maybe, Message, ServiceId
from caio.contracts.model import Part
from caio.contracts.vocabulary import Attach, Effect, OnViolation, Term
from caio.foundation import hashing

MAX_EXPRESSION_BYTES = 4096
MAX_POLICY_VERSION = 10**9

Weights = dict[Term, Annotated[int, Field(ge=0, le=1000)]]


def _truth_as_text(value: Any) -> Any:
    """``when: true`` is an expression too, although YAML reads it as a truth value."""
    return str(value).lower() if isinstance(value, bool) else value


def _expression(text: str) -> str:
    if not text.strip():
        raise PydanticCustomError("expression", "must be an expression, such as true")
    if len(text.encode()) > MAX_EXPRESSION_BYTES:
        limit = {"limit": MAX_EXPRESSION_BYTES}
        raise PydanticCustomError("expression", "an expression may have at most {limit} bytes", limit)
    return text


def _counts_something(weights: dict[str, int]) -> dict[str, int]:
    if not any(weights.values()):
        raise PydanticCustomError("weights", "at least one weight must be above 0")
    return weights


Expression = Annotated[
    str,
    BeforeValidator(_truth_as_text),
    AfterValidator(_expression),
    WithJsonSchema({"type": ["string", "boolean"], "maxLength": MAX_EXPRESSION_BYTES}),
]


class PolicyDocument(Part):
    """A rule that decisions of its tenant must obey."""

    policy_id: ServiceId = Field(alias="id")
    version: Annotated[int, Field(ge=1, le=MAX_POLICY_VERSION)]
    priority: Annotated[int, Field(ge=1, le=1000)] = Field(100, description="Higher comes first.")
    effect: Annotated[Effect, Field(strict=False)] = Field(
        description="forbid the services for which `then` holds, require it, or prefer them."
    )
    when: Expression = Field(
        "true",
        description="When the policy applies: an expression over `request` and `principal`.",
        examples=["request.sensitive", 'request.data_classification == "restricted"'],
    )
    then: Expression = Field(
        description="What it says: an expression over `service`.",
        examples=['service.privacy.data_locality in ["on_device", "private"]'],
    )
    message: Message = Field("", description="What a refused caller is told.")
    attach: Annotated[Attach, Field(strict=False)] = Field(
        Attach.TENANT, description="tenant: applies to every request; request: to those that name it."
    )
    weights: Maybe[Annotated[Weights, AfterValidator(_counts_something)]] = Field(
        None, description="The objective's weights while `when` holds."
    )
    on_violation: Maybe[Annotated[OnViolation, Field(strict=False)]] = Field(
        None, description="What to do about an answer that breaks a guarantee, while `when` holds."
    )

    def document(self) -> dict[str, Any]:
        """The canonical content, as a fresh value in the canonical JSON domain."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)

    @cached_property
    def digest(self) -> str:
        """The hash that names this content, in evidence and in decisions."""
        return hashing.digest_of(hashing.POLICY, self.document())

    def __hash__(self) -> int:
        return hash(self.digest)
