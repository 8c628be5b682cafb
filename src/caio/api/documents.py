"""The control plane's answers as typed documents, for OpenAPI and for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Self

from pydantic import BaseModel

from caio.contracts import contract_schema, policy_schema
from caio.foundation.errors import Violation
from caio.registry.ports import Page, PublicationStatus, Published
from caio.routing.analysis import Finding, Severity


class Warned(BaseModel):
    """Something the author should know; not an error."""

    pointer: str
    detail: str
    line: int | None = None


class PolicyFindingExample(BaseModel):
    """A request, its principal and a service for which a finding can be seen, as expressions read them;
    fields that are not given are as in a request that does not state them. ``service`` is a registered
    one, as ``id@version``; else ``contract`` has the fields of one that could be registered."""

    request: dict[str, Any] | None
    principal: dict[str, Any] | None
    service: str | None
    contract: dict[str, Any] | None


class PolicyFinding(BaseModel):
    """What the analysis found. ``policies`` are the others that it involves, as ``id@version``."""

    code: str
    severity: Severity
    detail: str
    pointer: str
    policies: list[str]
    counterexample: PolicyFindingExample | None


class Validation(BaseModel):
    """A valid document: its hash, its canonical content, warnings, and what the analysis found."""

    valid: bool = True
    digest: str
    document: dict[str, Any]
    warnings: list[Warned] = []
    findings: list[PolicyFinding] = []

    @classmethod
    def of(
        cls,
        digest: str,
        document: Mapping[str, Any],
        warnings: Sequence[Violation],
        findings: Sequence[Finding] = (),
    ) -> Self:
        return cls(
            digest=digest, document=dict(document), warnings=_warned(warnings), findings=policy_findings(findings)
        )


class PublicationView(BaseModel):
    """One version of a contract or policy. ``revision`` is its name's ETag."""

    name: str
    version: str
    status: PublicationStatus
    revision: int
    digest: str
    published_at: int
    document: dict[str, Any]
    warnings: list[Warned] = []
    findings: list[PolicyFinding] = []


class Listing(BaseModel):
    """A page; ask for the next with ``after=next_after``."""

    items: list[PublicationView]
    next_after: str | None = None


def publication_view(
    published: Published, warnings: Sequence[Violation] = (), findings: Sequence[Finding] = ()
) -> PublicationView:
    publication = published.publication
    return PublicationView(
        name=publication.name,
        version=publication.version,
        status=published.status,
        revision=published.revision,
        digest=publication.digest,
        published_at=publication.published_at,
        document=dict(publication.document),
        warnings=_warned(warnings),
        findings=policy_findings(findings),
    )


def policy_findings(findings: Sequence[Finding]) -> list[PolicyFinding]:
    """The findings as the command line and the API give them."""
    return [
        PolicyFinding(
            code=each.code,
            severity=each.severity,
            detail=each.message,
            pointer=each.pointer,
            policies=list(each.policies),
            counterexample=None
            if each.counterexample is None
            else PolicyFindingExample.model_validate(asdict(each.counterexample)),
        )
        for each in findings
    ]


def listing_of(page: Page) -> Listing:
    return Listing(items=[publication_view(each) for each in page.items], next_after=page.next_after)


def _warned(warnings: Sequence[Violation]) -> list[Warned]:
    return [Warned(pointer=each.pointer, detail=each.message, line=each.line) for each in warnings]


def _document_body(schema: Mapping[str, Any]) -> dict[str, Any]:
    """OpenAPI of a body that is read raw: the same document as JSON or as YAML."""
    inline = {name: value for name, value in schema.items() if name not in ("$schema", "$id")}
    content = {kind: {"schema": inline} for kind in ("application/json", "application/yaml")}
    return {"requestBody": {"required": True, "content": content}}


CONTRACT_BODY = _document_body(contract_schema())
POLICY_BODY = _document_body(policy_schema())
