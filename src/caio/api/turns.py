"""Requests to the control plane take turns, so that one tenant's leave room for others'; see ``tenancy.turns``.

A request counts once its caller is known. The turns that it takes are its until the whole answer is sent, also
when that is a stream, so they end outside of FastAPI: in ``HoldingTurns``, around the application. What needs no
credential takes no turn.
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, cast

from fastapi import Request

from caio.tenancy.principals import Caller
from caio.tenancy.turns import Turns, Weight

if TYPE_CHECKING:
    from caio.api.asgi import App, Receive, Scope, Send

_HELD = "caio.turns"


class HoldingTurns:
    """The application around the control plane that gives back what its requests took."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with AsyncExitStack() as held:
            scope[_HELD] = held
            await self._app(scope, receive, send)


async def take_turn(turns: Turns, request: Request, caller: Caller, weight: Weight) -> None:
    """Give the request a turn of its caller's tenant until it is answered; raises LimitExceeded."""
    held = cast(AsyncExitStack, request.scope[_HELD])
    await held.enter_async_context(turns.turn(caller.scope.tenant_id, weight))
