"""``/api/v1/invitations``: how others come to belong to the tenant."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from caio.api.dependencies import DocumentBody, ThePlatform, caller_with, presented
from caio.api.tenant_views import Roles, TrustLevel
from caio.foundation.errors import InvalidInput, Violation
from caio.gateway.intake import read
from caio.tenancy.authentication import invitation_token
from caio.tenancy.invitations import NewInvitation
from caio.tenancy.ports import Invitation
from caio.tenancy.principals import Caller, Permission

router = APIRouter(prefix="/api/v1/invitations", tags=["invitations"])

Manager = Annotated[Caller, Depends(caller_with(Permission.MEMBERS_MANAGE))]
Email = Annotated[str, Field(max_length=254, pattern=r"^([^\x00-\x20\x7f@]+@[^\x00-\x20\x7f@]+)?$")]
Days = Annotated[int, Field(ge=1, le=90)]

_ACCEPT = "/accept"


class InvitationWish(BaseModel):
    """Whom to invite, as what, and for how long. The address is for your own lists: CAIO sends nothing."""

    model_config = ConfigDict(extra="forbid")

    email: Email = ""
    roles: Roles = ["user"]
    trust_level: TrustLevel = "standard"
    expires_in_days: Days = 7


class AcceptanceWish(BaseModel):
    """With an access token of an identity provider as the credential, ``invitation`` is the invitation's token; with
    that token itself as the credential, ``name`` is what the new key is called."""

    model_config = ConfigDict(extra="forbid")

    invitation: Annotated[str, Field(min_length=1, max_length=512)] | None = None
    name: Annotated[str, Field(max_length=100, pattern=r"^[^\x00-\x1f\x7f]*$")] = ""


class InvitationView(BaseModel):
    """An invitation without its token. It ended if it was accepted or revoked, or when ``expires_at`` has passed."""

    invitation_id: str
    email: str
    roles: list[str]
    trust_level: str
    created_at: int
    created_by: str
    expires_at: int
    accepted_at: int | None
    accepted_by: str | None
    revoked_at: int | None


class NewInvitationView(InvitationView):
    """An invitation just made. ``token`` is shown this once and cannot be read again."""

    token: str


class InvitationListing(BaseModel):
    items: list[InvitationView]
    next_after: str | None = None


class JoinedView(BaseModel):
    """What came of an invitation: a membership, or a key whose ``token`` is shown this once."""

    tenant_id: str
    roles: list[str]
    trust_level: str
    member_id: str | None = None
    key_id: str | None = None
    token: str | None = None


def _body(model: str) -> dict[str, Any]:
    schema = {"$ref": f"#/components/schemas/{model}"}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


@router.post("", status_code=201, openapi_extra=_body("InvitationWish"))
async def create_invitation(caller: Manager, body: DocumentBody, platform: ThePlatform) -> NewInvitationView:
    """Invite somebody. They cannot be given more than the caller has, now and when they accept."""
    wish = read(InvitationWish, body)
    new = await platform.invitations.create(caller, wish.email, wish.roles, wish.trust_level, wish.expires_in_days)
    return new_view(new)


@router.get("")
async def list_invitations(
    caller: Manager,
    platform: ThePlatform,
    after: Annotated[str, Query(max_length=64, description="`next_after` of the page before.")] = "",
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> InvitationListing:
    """The tenant's invitations, ended ones included."""
    items = [_view(each) for each in await platform.invitations.page(caller.scope, after, limit)]
    return InvitationListing(items=items, next_after=items[-1].invitation_id if len(items) == limit else None)


@router.delete("/{invitation_id}")
async def revoke_invitation(
    caller: Manager, platform: ThePlatform, invitation_id: Annotated[str, Path(max_length=64)]
) -> InvitationView:
    """End an invitation; one that has ended stays as it is."""
    return _view(await platform.invitations.revoke(caller, invitation_id))


@router.post(
    _ACCEPT,
    status_code=201,
    response_model_exclude_none=True,
    openapi_extra=_body("AcceptanceWish") | {"security": [{"HTTPBearer": []}]},
)
async def accept_invitation(request: Request, body: DocumentBody, platform: ThePlatform) -> JoinedView:
    """Join a tenant by an invitation's token: as a member, with an identity provider's access token as the
    credential; or with the invitation's token as the credential, by getting an API key."""
    caller = presented(request)
    bearer = invitation_token(caller.authorization)
    if bearer is None:
        return await _joined(platform, caller.authorization, caller.address, body)
    wish = read(AcceptanceWish, body)
    async with platform.authenticator.attempt(caller.address):
        new = await platform.invitations.exchange(bearer, wish.name)
    key = new.key
    return JoinedView(
        tenant_id=key.tenant_id,
        roles=list(key.roles),
        trust_level=key.trust_level,
        key_id=key.key_id,
        token=new.token,
    )


async def _joined(platform: ThePlatform, authorization: str | None, address: str, body: bytes) -> JoinedView:
    identity = await platform.authenticator.identify(authorization, address)
    wish = read(AcceptanceWish, body)
    if wish.invitation is None:
        message = "must be the invitation's token"
        raise InvalidInput("which invitation?", [Violation("/invitation", message)], code="invalid_request")
    async with platform.authenticator.attempt(address):
        member = await platform.invitations.join(identity, wish.invitation)
    return JoinedView(
        tenant_id=member.tenant_id,
        roles=list(member.roles),
        trust_level=member.trust_level,
        member_id=member.member_id,
    )


def new_view(new: NewInvitation) -> NewInvitationView:
    return NewInvitationView(**_view(new.invitation).model_dump(), token=new.token)


def _view(invitation: Invitation) -> InvitationView:
    return InvitationView(
        invitation_id=invitation.invitation_id,
        email=invitation.email,
        roles=list(invitation.roles),
        trust_level=invitation.trust_level,
        created_at=invitation.created_at,
        created_by=invitation.created_by,
        expires_at=invitation.expires_at,
        accepted_at=invitation.accepted_at,
        accepted_by=invitation.accepted_by,
        revoked_at=invitation.revoked_at,
    )
