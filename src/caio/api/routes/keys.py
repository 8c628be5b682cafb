"""``/api/v1/keys``: the tenant's API keys."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Path, Query
from pydantic import BaseModel, ConfigDict, Field

from caio.api.dependencies import DocumentBody, ThePlatform, caller_with
from caio.api.limits import LimitsBody
from caio.foundation.ids import POLICY_ID
from caio.gateway.intake import read
from caio.tenancy.api_keys import LONGEST_OVERLAP_SECONDS, MAX_POLICIES
from caio.tenancy.ports import ApiKey
from caio.tenancy.principals import Caller, Permission

router = APIRouter(prefix="/api/v1/keys", tags=["keys"])

Manager = Annotated[Caller, Depends(caller_with(Permission.KEYS_MANAGE))]
KeyId = Annotated[str, Path(max_length=64)]


class KeyWish(BaseModel):
    """A key to make. ``expires_at`` is microseconds since the epoch."""

    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]+$")]
    roles: Annotated[list[str], Field(min_length=1, max_length=8)] = ["user"]
    trust_level: Literal["untrusted", "standard", "elevated", "privileged"] = "standard"
    expires_at: Annotated[int, Field(ge=0, le=2**53 - 1)] | None = None
    policies: Annotated[
        list[Annotated[str, Field(pattern=f"^{POLICY_ID.pattern}$")]],
        Field(max_length=MAX_POLICIES, description="Ids of policies in force for every decision made with the key."),
    ] = []
    limits: LimitsBody = LimitsBody()


class RotationWish(BaseModel):
    """How long the key and its successor both work, in seconds."""

    model_config = ConfigDict(extra="forbid")

    overlap_seconds: Annotated[int, Field(ge=0, le=LONGEST_OVERLAP_SECONDS)] = 86_400


class KeyView(BaseModel):
    """A key without its secret. ``last_used_at`` is exact to a few minutes; ``successor_id`` is the key that a
    rotation put in its place."""

    key_id: str
    name: str
    prefix: str
    roles: list[str]
    trust_level: str
    created_at: int
    expires_at: int | None
    revoked_at: int | None
    policies: list[str]
    limits: LimitsBody
    created_by: str
    successor_id: str | None
    last_used_at: int | None


class NewKeyView(KeyView):
    """A key just made. ``token`` is shown this once and cannot be read again."""

    token: str


class KeyListing(BaseModel):
    items: list[KeyView]
    next_after: str | None = None


def _body(model: str, *, required: bool) -> dict[str, Any]:
    schema = {"$ref": f"#/components/schemas/{model}"}
    return {"requestBody": {"required": required, "content": {"application/json": {"schema": schema}}}}


@router.post("", status_code=201, openapi_extra=_body("KeyWish", required=True))
async def create_key(caller: Manager, body: DocumentBody, platform: ThePlatform) -> NewKeyView:
    """Make a key. It cannot be given more than the caller has, and is bound by what binds the caller."""
    wish = read(KeyWish, body)
    new = await platform.api_keys.create(
        caller, wish.name, wish.roles, wish.trust_level, wish.expires_at, wish.policies, wish.limits.limits()
    )
    return NewKeyView(**_view(new.key).model_dump(), token=new.token)


@router.get("")
async def list_keys(
    caller: Manager,
    platform: ThePlatform,
    after: Annotated[str, Query(max_length=64, description="`next_after` of the page before.")] = "",
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> KeyListing:
    """The tenant's keys, revoked ones included."""
    items = [_view(key) for key in await platform.api_keys.page(caller.scope, after, limit)]
    return KeyListing(items=items, next_after=items[-1].key_id if len(items) == limit else None)


@router.get("/{key_id}")
async def read_key(caller: Manager, platform: ThePlatform, key_id: KeyId) -> KeyView:
    """One key."""
    return _view(await platform.api_keys.get(caller.scope, key_id))


@router.post("/{key_id}/rotate", status_code=201, openapi_extra=_body("RotationWish", required=False))
async def rotate_key(caller: Manager, platform: ThePlatform, key_id: KeyId, body: DocumentBody) -> NewKeyView:
    """Make a successor that may do what the key may; the key itself ends after the overlap."""
    wish = read(RotationWish, body or b"{}")
    new = await platform.api_keys.rotate(caller, key_id, wish.overlap_seconds)
    return NewKeyView(**_view(new.key).model_dump(), token=new.token)


@router.delete("/{key_id}")
async def revoke_key(caller: Manager, platform: ThePlatform, key_id: KeyId) -> KeyView:
    """Revoke a key: effective at once in this process, within seconds everywhere."""
    return _view(await platform.api_keys.revoke(caller, key_id))


def _view(key: ApiKey) -> KeyView:
    return KeyView(
        key_id=key.key_id,
        name=key.name,
        prefix=key.prefix,
        roles=list(key.roles),
        trust_level=key.trust_level,
        created_at=key.created_at,
        expires_at=key.expires_at,
        revoked_at=key.revoked_at,
        policies=list(key.policies),
        limits=LimitsBody.of(key.limits),
        created_by=key.created_by,
        successor_id=key.successor_id or None,
        last_used_at=key.last_used_at,
    )
