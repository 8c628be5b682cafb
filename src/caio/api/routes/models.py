"""``/v1/models``: what the ``model`` of a call may name, as OpenAI's clients list models; and below ``/v1/responses``
what there is not."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Path
from pydantic import BaseModel

from caio.api.dependencies import ThePlatform, caller_with
from caio.api.openai.naming import Listed
from caio.foundation.errors import NotFound
from caio.tenancy.principals import Caller, Permission

router = APIRouter(prefix="/v1", tags=["openai"])

Asker = Annotated[Caller, Depends(caller_with(Permission.SERVICES_READ))]
Orchestrator = Annotated[Caller, Depends(caller_with(Permission.ORCHESTRATE))]


class Model(BaseModel):
    """Something the ``model`` field may name. ``created`` is when it was published, in seconds since the epoch, and
    0 for ``auto``."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str


class ModelListing(BaseModel):
    object: Literal["list"] = "list"
    data: list[Model]


@router.get("/models")
async def list_models(caller: Asker, platform: ThePlatform) -> ModelListing:
    """The services that answer OpenAI-shaped calls, the tenant's aliases, and ``auto``."""
    return ModelListing(data=[_model(each) for each in await platform.model_names.listed(caller.scope)])


@router.get("/models/{model}")
async def retrieve_model(caller: Asker, platform: ThePlatform, model: Annotated[str, Path(max_length=128)]) -> Model:
    """One of them; a service also as ``id@version``."""
    return _model(await platform.model_names.one(caller.scope, model))


@router.get("/responses/{response_id}")
async def retrieve_response(_: Orchestrator, response_id: Annotated[str, Path(max_length=128)]) -> None:
    """Always not found: responses are given and not kept."""
    message = f"the response {response_id!r} is not kept: responses are given once, and decisions hold commitments only"
    raise NotFound(message, code="response_not_kept")


def _model(listed: Listed) -> Model:
    return Model(id=listed.id, created=listed.created, owned_by=listed.owned_by)
