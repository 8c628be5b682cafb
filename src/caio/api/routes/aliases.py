"""``/api/v1/models/aliases``: names that stand for services or a capability, with terms that bind."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Response
from pydantic import BaseModel

from caio.api.dependencies import DocumentBody, ThePlatform, etag, optional_revision
from caio.api.routes.services import Reader, Writer
from caio.gateway.aliases import AliasBody, terms_of
from caio.gateway.intake import read
from caio.registry.aliases import Alias

router = APIRouter(prefix="/api/v1/models/aliases", tags=["models"])

Name = Annotated[str, Path(max_length=128, description="What calls name as their `model`.")]

_BODY = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/AliasBody"}}},
    }
}


class AliasView(BaseModel):
    """An alias as it stands. Times are in microseconds since the epoch."""

    alias: str
    document: dict[str, Any]
    revision: int
    created_at: int
    updated_at: int


class AliasListing(BaseModel):
    items: list[AliasView]


@router.get("")
async def list_aliases(caller: Reader, platform: ThePlatform) -> AliasListing:
    """The tenant's aliases, by name."""
    return AliasListing(items=[_view(each) for each in await platform.aliases.list(caller.scope)])


@router.get("/{alias}")
async def get_alias(caller: Reader, platform: ThePlatform, response: Response, alias: Name) -> AliasView:
    """An alias. The ETag is the revision to send as If-Match."""
    return _answer(response, await platform.aliases.get(caller.scope, alias))


@router.put("/{alias}", openapi_extra=_BODY)
async def put_alias(
    caller: Writer,
    platform: ThePlatform,
    response: Response,
    alias: Name,
    body: DocumentBody,
    revision: Annotated[int | None, Depends(optional_revision)] = None,
) -> AliasView:
    """Make an alias, or with If-Match give it another content. It holds on every process within five seconds. A name
    that one of the tenant's services has is refused, and the other way round."""
    wanted = read(AliasBody, body)
    document, named = wanted.document(), (wanted.policies, wanted.target.services)
    terms_of(alias, Alias.content_of(document))
    if revision is None:
        return _answer(response, await platform.aliases.create(caller, alias, document, *named))
    return _answer(response, await platform.aliases.replace(caller, alias, document, *named, revision))


@router.delete("/{alias}")
async def delete_alias(
    caller: Writer,
    platform: ThePlatform,
    alias: Name,
    revision: Annotated[int | None, Depends(optional_revision)] = None,
) -> AliasView:
    """Remove an alias, and answer it as it was: calls by its name find nothing from then on."""
    return _view(await platform.aliases.delete(caller, alias, revision))


def _answer(response: Response, alias: Alias) -> AliasView:
    response.headers["ETag"] = etag(alias.revision)
    return _view(alias)


def _view(alias: Alias) -> AliasView:
    times = {"created_at": alias.created_at, "updated_at": alias.updated_at}
    return AliasView(alias=alias.name, document=alias.document, revision=alias.revision, **times)
