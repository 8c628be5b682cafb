"""``/api/v1/members``: the people and programs of identity providers that belong to the tenant."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Path, Query
from pydantic import BaseModel, ConfigDict, Field

from caio.api.dependencies import DocumentBody, ThePlatform, caller_with
from caio.api.limits import LimitsBody
from caio.gateway.intake import read
from caio.tenancy.ports import Member
from caio.tenancy.principals import Caller, Permission

router = APIRouter(prefix="/api/v1/members", tags=["members"])

Manager = Annotated[Caller, Depends(caller_with(Permission.MEMBERS_MANAGE))]
MemberId = Annotated[str, Path(max_length=64)]


class MemberChange(BaseModel):
    """What to change; what is absent stays. ``limits`` replaces all limits."""

    model_config = ConfigDict(extra="forbid")

    roles: Annotated[list[str], Field(min_length=1, max_length=8)] | None = None
    trust_level: Literal["untrusted", "standard", "elevated", "privileged"] | None = None
    limits: LimitsBody | None = None


class MemberView(BaseModel):
    member_id: str
    issuer: str
    subject: str
    name: str
    email: str
    roles: list[str]
    trust_level: str
    limits: LimitsBody
    joined_at: int
    removed_at: int | None


class MemberListing(BaseModel):
    items: list[MemberView]
    next_after: str | None = None


_BODY = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/MemberChange"}}},
    }
}


@router.get("")
async def list_members(
    caller: Manager,
    platform: ThePlatform,
    after: Annotated[str, Query(max_length=64, description="`next_after` of the page before.")] = "",
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> MemberListing:
    """The tenant's members, removed ones included."""
    items = [_view(member) for member in await platform.members.page(caller.scope, after, limit)]
    return MemberListing(items=items, next_after=items[-1].member_id if len(items) == limit else None)


@router.get("/{member_id}")
async def read_member(caller: Manager, platform: ThePlatform, member_id: MemberId) -> MemberView:
    """One member."""
    return _view(await platform.members.get(caller.scope, member_id))


@router.patch("/{member_id}", openapi_extra=_BODY)
async def change_member(caller: Manager, platform: ThePlatform, member_id: MemberId, body: DocumentBody) -> MemberView:
    """Change what a member may do: never to more than you may, nor of one who may more. The last admin stays."""
    wish = read(MemberChange, body)
    limits = None if wish.limits is None else wish.limits.limits()
    return _view(await platform.members.change(caller, member_id, wish.roles, wish.trust_level, limits))


@router.delete("/{member_id}")
async def remove_member(caller: Manager, platform: ThePlatform, member_id: MemberId) -> MemberView:
    """Remove a member: effective at once in this process, within seconds everywhere. The last admin stays."""
    return _view(await platform.members.remove(caller, member_id))


def _view(member: Member) -> MemberView:
    return MemberView(
        member_id=member.member_id,
        issuer=member.issuer,
        subject=member.subject,
        name=member.name,
        email=member.email,
        roles=list(member.roles),
        trust_level=member.trust_level,
        limits=LimitsBody.of(member.limits),
        joined_at=member.joined_at,
        removed_at=member.removed_at,
    )
