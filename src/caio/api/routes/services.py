"""``/api/v1/services``: contracts, registered, versioned, retired."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Response

from caio.api.dependencies import (
    DocumentBody,
    ThePlatform,
    caller_with,
    etag,
    optional_revision,
    required_revision,
)
from caio.api.documents import CONTRACT_BODY, Listing, PublicationView, Validation, listing_of, publication_view
from caio.contracts import parse_contract
from caio.tenancy.principals import Caller, Permission

router = APIRouter(prefix="/api/v1/services", tags=["services"])

Reader = Annotated[Caller, Depends(caller_with(Permission.SERVICES_READ))]
Writer = Annotated[Caller, Depends(caller_with(Permission.SERVICES_WRITE))]
ServiceId = Annotated[str, Path(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$", description="The contract's `service_id`.")]


@router.post("", status_code=201, openapi_extra=CONTRACT_BODY)
async def register(caller: Writer, body: DocumentBody, platform: ThePlatform, response: Response) -> PublicationView:
    """Register a service by its contract, in YAML or JSON. Nothing is stored unless all of it is valid."""
    accepted = await platform.catalog.register(caller, body)
    response.headers["ETag"] = etag(accepted.published.revision)
    response.headers["Location"] = f"/api/v1/services/{accepted.published.publication.name}"
    return publication_view(accepted.published, accepted.warnings)


@router.post("/validate", openapi_extra=CONTRACT_BODY)
async def validate(caller: Writer, body: DocumentBody) -> Validation:
    """Say everything that is wrong with a contract, without registering it."""
    parsed = parse_contract(body)
    return Validation.of(parsed.value.digest, parsed.value.document(), parsed.warnings)


@router.get("")
async def list_services(
    caller: Reader,
    platform: ThePlatform,
    tag: Annotated[str | None, Query(max_length=64)] = None,
    after: Annotated[str, Query(max_length=64, description="`next_after` of the page before.")] = "",
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    retired: Annotated[bool, Query(description="Whether to list retired services too.")] = False,
) -> Listing:
    """The tenant's services by id, one entry each (its newest version)."""
    page = await platform.catalog.services(caller.scope, after=after, limit=limit, tag=tag, retired=retired)
    return listing_of(page)


@router.get("/{service_id}")
async def get_service(
    caller: Reader,
    platform: ThePlatform,
    response: Response,
    service_id: ServiceId,
    version: Annotated[str | None, Query(max_length=64)] = None,
) -> PublicationView:
    """A service's newest version, or the one asked for. The ETag is the revision to send as If-Match."""
    found = await platform.catalog.contracts.get(caller.scope, service_id, version)
    response.headers["ETag"] = etag(found.revision)
    return publication_view(found)


@router.put("/{service_id}", openapi_extra=CONTRACT_BODY)
async def publish(
    caller: Writer,
    body: DocumentBody,
    platform: ThePlatform,
    response: Response,
    service_id: ServiceId,
    revision: Annotated[int, Depends(required_revision)],
) -> PublicationView:
    """Publish a further version and make it the active one. Needs If-Match."""
    accepted = await platform.catalog.publish(caller, service_id, body, revision)
    response.headers["ETag"] = etag(accepted.published.revision)
    return publication_view(accepted.published, accepted.warnings, accepted.findings)


@router.delete("/{service_id}")
async def retire(
    caller: Writer,
    platform: ThePlatform,
    response: Response,
    service_id: ServiceId,
    revision: Annotated[int | None, Depends(optional_revision)] = None,
) -> PublicationView:
    """Take the service out of routing; its versions stay readable, for evidence."""
    retired = await platform.catalog.retire(caller, service_id, revision)
    response.headers["ETag"] = etag(retired.revision)
    return publication_view(retired)
