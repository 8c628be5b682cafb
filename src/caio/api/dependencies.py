"""What control-plane routes share: the platform, the caller, preconditions and bodies."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, cast

from fastapi import Depends, Header, Request
from fastapi.security import HTTPBearer

from caio.api.platform import Platform
from caio.api.presented import Presented
from caio.api.turns import take_turn
from caio.foundation.errors import InvalidInput, PreconditionFailed, TooLarge, Violation
from caio.tenancy.principals import Caller, Permission
from caio.tenancy.turns import Weight

#: Where a request's scope says who called, for its log line.
CALLER = "caio.caller"

#: Documents the scheme in OpenAPI; the check itself is ``caller_with``'s.
_BEARER = HTTPBearer(
    auto_error=False, description="An API key, `Authorization: Bearer caio_…`, or an identity provider's access token."
)


def platform(request: Request) -> Platform:
    return cast(Platform, request.app.state.platform)


ThePlatform = Annotated[Platform, Depends(platform)]


def presented(request: Request) -> Presented:
    return Presented(request.scope, platform(request).addresses)


async def any_caller(
    request: Request,
    _documented: Annotated[object, Depends(_BEARER)],
    _selecting: Annotated[
        str | None, Header(alias="X-Tenant-ID", description="Selects among the tenants that the credential proves.")
    ] = None,
) -> Caller:
    """A dependency that authenticates the caller and asks for nothing more but its turn: raises LimitExceeded
    when the caller or its tenant asks too much at once or in a minute."""
    caller = request.scope[CALLER] = await presented(request).caller(platform(request).authenticator)
    turns = platform(request).turns
    turns.count(caller.scope.tenant_id, caller.principal.principal_id)
    await take_turn(turns, request, caller, Weight.ANY)
    return caller


async def listening_caller(
    request: Request,
    _documented: Annotated[object, Depends(_BEARER)],
    _selecting: Annotated[
        str | None, Header(alias="X-Tenant-ID", description="Selects among the tenants that the credential proves.")
    ] = None,
) -> Caller:
    """As ``any_caller``, for an answer that goes on as long as what it tells of: it takes a turn among the tenant's
    listeners, and leaves its other requests theirs."""
    caller = request.scope[CALLER] = await presented(request).caller(platform(request).authenticator)
    turns = platform(request).turns
    turns.count(caller.scope.tenant_id, caller.principal.principal_id)
    await take_turn(turns, request, caller, Weight.LISTENING)
    return caller


async def _heavy_turn(request: Request, caller: Annotated[Caller, Depends(any_caller)]) -> None:
    await take_turn(platform(request).turns, request, caller, Weight.HEAVY)


#: For a route that reads or computes at length: its caller's tenant has few of these at once.
HeavyTurn = Annotated[None, Depends(_heavy_turn)]


def caller_with(permission: Permission) -> Callable[..., Awaitable[Caller]]:
    """A dependency that authenticates the caller and asks for ``permission``."""

    async def authenticated(caller: Annotated[Caller, Depends(any_caller)]) -> Caller:
        caller.require(permission)
        return caller

    return authenticated


async def document_body(request: Request) -> bytes:
    """The raw body of a route that takes a document; raises TooLarge beyond the limit."""
    limit = platform(request).max_body_bytes
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limit:
            raise TooLarge(f"the body is larger than the limit of {limit} bytes")
        chunks.append(chunk)
    return b"".join(chunks)


DocumentBody = Annotated[bytes, Depends(document_body)]


def required_revision(if_match: Annotated[str | None, Header(description="The current ETag.")] = None) -> int:
    """The revision of a mandatory ``If-Match`` header."""
    if if_match is None:
        raise PreconditionFailed("send If-Match with the ETag you last read", code="if_match_required")
    return _revision(if_match)


def optional_revision(if_match: Annotated[str | None, Header(description="The current ETag.")] = None) -> int | None:
    return None if if_match is None else _revision(if_match)


def etag(revision: int) -> str:
    return f'"{revision}"'


def _revision(header: str) -> int:
    text = header.strip().strip('"')
    if not text.isascii() or not text.isdecimal() or len(text) > 9:
        raise InvalidInput(
            "If-Match is not an ETag of this service", [Violation("/header/if-match", 'must look like "3"')]
        )
    return int(text)
