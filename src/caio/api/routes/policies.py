"""``/api/v1/policies``: the tenant's rules, compiled when they are saved."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Response

from caio.api.dependencies import (
    DocumentBody,
    HeavyTurn,
    ThePlatform,
    caller_with,
    etag,
    optional_revision,
    required_revision,
)
from caio.api.documents import POLICY_BODY, Listing, PublicationView, Validation, listing_of, publication_view
from caio.foundation.errors import NotAllowed
from caio.tenancy.principals import Caller, Permission

router = APIRouter(prefix="/api/v1/policies", tags=["policies"])

Reader = Annotated[Caller, Depends(caller_with(Permission.POLICIES_READ))]
Writer = Annotated[Caller, Depends(caller_with(Permission.POLICIES_WRITE))]
PolicyId = Annotated[str, Path(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$", description="The policy's `id`.")]
Strict = Annotated[bool, Query(description="Refuse what has a severe finding, with `policy_findings`.")]


@router.post("", status_code=201, openapi_extra=POLICY_BODY)
async def save_policy(
    caller: Writer,
    _turn: HeavyTurn,
    body: DocumentBody,
    platform: ThePlatform,
    response: Response,
    strict: Strict = False,
) -> PublicationView:
    """Save a policy, in YAML or JSON. It is refused, with line and column, unless it compiles; `findings`
    say what it does among the tenant's services and policies."""
    accepted = await platform.catalog.save_policy(caller, body, strict=strict)
    response.headers["ETag"] = etag(accepted.published.revision)
    response.headers["Location"] = f"/api/v1/policies/{accepted.published.publication.name}"
    return publication_view(accepted.published, accepted.warnings, accepted.findings)


@router.post("/validate", openapi_extra=POLICY_BODY)
async def validate_policy(
    caller: Writer, _turn: HeavyTurn, body: DocumentBody, platform: ThePlatform, strict: Strict = False
) -> Validation:
    """Say everything that is wrong with a policy, and what it would do, without saving it."""
    examined = await platform.catalog.examine_policy(caller.scope, body, strict=strict)
    policy = examined.policy
    return Validation.of(policy.digest, policy.document(), examined.warnings, examined.findings)


@router.get("")
async def list_policies(
    caller: Reader,
    platform: ThePlatform,
    after: Annotated[str, Query(max_length=64, description="`next_after` of the page before.")] = "",
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    retired: Annotated[bool, Query(description="Whether to list retired policies too.")] = False,
) -> Listing:
    """The tenant's policies by id, one entry each (its newest version)."""
    page = await platform.catalog.policies.page(caller.scope, after=after, limit=limit, tag=None, retired=retired)
    return listing_of(page)


@router.get("/{policy_id}")
async def get_policy(
    caller: Reader,
    platform: ThePlatform,
    response: Response,
    policy_id: PolicyId,
    version: Annotated[str | None, Query(max_length=64)] = None,
) -> PublicationView:
    """A policy's newest version, or the one asked for."""
    found = await platform.catalog.policies.get(caller.scope, policy_id, version)
    response.headers["ETag"] = etag(found.revision)
    return publication_view(found)


@router.put("/{policy_id}", openapi_extra=POLICY_BODY)
async def publish_policy(
    caller: Writer,
    _turn: HeavyTurn,
    body: DocumentBody,
    platform: ThePlatform,
    response: Response,
    policy_id: PolicyId,
    revision: Annotated[int, Depends(required_revision)],
    strict: Strict = False,
) -> PublicationView:
    """Publish a further version and put it in force; `findings` say what it newly permits or forbids.
    Needs If-Match."""
    _not_its_own(caller, policy_id)
    accepted = await platform.catalog.publish_policy(caller, policy_id, body, revision, strict=strict)
    response.headers["ETag"] = etag(accepted.published.revision)
    return publication_view(accepted.published, accepted.warnings, accepted.findings)


@router.delete("/{policy_id}")
async def retire_policy(
    caller: Writer,
    platform: ThePlatform,
    response: Response,
    policy_id: PolicyId,
    revision: Annotated[int | None, Depends(optional_revision)] = None,
) -> PublicationView:
    """Take the policy out of force; its versions stay readable, for evidence."""
    _not_its_own(caller, policy_id)
    retired = await platform.catalog.retire_policy(caller, policy_id, revision)
    response.headers["ETag"] = etag(retired.revision)
    return publication_view(retired)


def _not_its_own(caller: Caller, policy_id: str) -> None:
    if policy_id in caller.policies:
        raise NotAllowed("your key is bound by this policy: a key without it must change it")
