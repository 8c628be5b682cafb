"""``/v1/models``: the tenant's services as OpenAI clients list models."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Depends
from pydantic import BaseModel

from caio.api.dependencies import ThePlatform, caller_with
from caio.api.wanted import AUTO
from caio.tenancy.principals import Caller, Permission

router = APIRouter(prefix="/v1", tags=["openai"])

Asker = Annotated[Caller, Depends(caller_with(Permission.SERVICES_READ))]


class Model(BaseModel):
    """Something the ``model`` field may name."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str


class ModelListing(BaseModel):
    object: Literal["list"] = "list"
    data: list[Model]


@router.get("/models")
async def list_models(caller: Asker, platform: ThePlatform) -> ModelListing:
    """The services that speak OpenAI's protocol, and ``auto:<capability>`` for what they can do."""
    active = await platform.catalog.contracts.active(caller.scope)
    speaking = [each for each in active if each.publication.document["api"]["protocol"] == "openai"]
    services = [
        Model(
            id=each.publication.name,
            created=each.publication.published_at // 1_000_000,
            owned_by=each.publication.document.get("owner", each.tenant_id),
        )
        for each in speaking
    ]
    capabilities = sorted({item["type"] for each in speaking for item in each.publication.document["capabilities"]})
    return ModelListing(
        data=[*services, *(Model(id=f"{AUTO}:{name}", created=0, owned_by="caio") for name in capabilities)]
    )
