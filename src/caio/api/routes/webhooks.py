"""``/api/v1/webhooks``: where the tenant's events are delivered."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query
from pydantic import BaseModel, ConfigDict, Field

from caio.api.dependencies import DocumentBody, ThePlatform, caller_with
from caio.events.ports import Webhook
from caio.gateway.intake import read
from caio.tenancy.principals import Caller, Permission
from caio.tenancy.webhooks import LONGEST_OVERLAP, MAX_URL, MOST_TYPES, NewSecret

router = APIRouter(prefix="/api/v1/webhooks", tags=["events"])

Manager = Annotated[Caller, Depends(caller_with(Permission.WEBHOOKS_MANAGE))]
WebhookId = Annotated[str, Path(max_length=64)]


class WebhookWish(BaseModel):
    """A webhook to make. Each of ``types`` is an event's type or what types begin with, up to a point."""

    model_config = ConfigDict(extra="forbid")

    url: Annotated[str, Field(min_length=1, max_length=MAX_URL, description="An https address.")]
    types: Annotated[list[Annotated[str, Field(max_length=100)]], Field(min_length=1, max_length=MOST_TYPES)] = [
        "caio."
    ]


class SecretRotationWish(BaseModel):
    """How long the old secret goes on signing beside the new one."""

    model_config = ConfigDict(extra="forbid")

    overlap_seconds: Annotated[int, Field(ge=0, le=LONGEST_OVERLAP)] = 86_400


class WebhookView(BaseModel):
    """A webhook without its secret. Times are microseconds since the epoch."""

    webhook_id: str
    url: str
    types: list[str]
    created_at: int
    created_by: str
    disabled_at: int | None


class NewWebhookView(WebhookView):
    """With a secret just made: shown this once, it cannot be read again."""

    secret: str


class WebhookListing(BaseModel):
    items: list[WebhookView]


class DeliveryView(BaseModel):
    """One event on its way to the webhook: ``state`` is waiting, delivered or dead."""

    event_id: str
    type: str
    seq: int
    occurred_at: int
    state: str
    attempts: int
    due_at: int | None
    delivered_at: int | None
    status: Annotated[str, Field(description="How the last attempt went: a status code, or what went wrong.")]


class DeliveryListing(BaseModel):
    items: list[DeliveryView]
    next_before: str | None = None


class WebhookTestView(BaseModel):
    delivered: bool
    status: str


def _body(name: str) -> dict[str, object]:
    schema = {"$ref": f"#/components/schemas/{name}"}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


@router.post("", status_code=201, openapi_extra=_body("WebhookWish"))
async def create_webhook(caller: Manager, body: DocumentBody, platform: ThePlatform) -> NewWebhookView:
    """Have events delivered to an address. The secret that deliveries are signed with is shown this once."""
    wish = read(WebhookWish, body)
    return _new(await platform.webhooks.create(caller, wish.url, wish.types))


@router.get("")
async def list_webhooks(caller: Manager, platform: ThePlatform) -> WebhookListing:
    """The tenant's webhooks, disabled ones included, oldest first."""
    return WebhookListing(items=[_view(each) for each in await platform.webhooks.all(caller.scope)])


@router.get("/{webhook_id}")
async def get_webhook(caller: Manager, platform: ThePlatform, webhook_id: WebhookId) -> WebhookView:
    """One webhook."""
    return _view(await platform.webhooks.get(caller.scope, webhook_id))


@router.delete("/{webhook_id}")
async def delete_webhook(caller: Manager, platform: ThePlatform, webhook_id: WebhookId) -> WebhookView:
    """Delete a webhook: what waits for it is not delivered any more."""
    return _view(await platform.webhooks.delete(caller, webhook_id))


@router.post("/{webhook_id}/rotate", openapi_extra=_body("SecretRotationWish"))
async def rotate_webhook_secret(
    caller: Manager, body: DocumentBody, platform: ThePlatform, webhook_id: WebhookId
) -> NewWebhookView:
    """Make a new secret, shown this once. Until the overlap ends, deliveries carry a signature of each."""
    wish = read(SecretRotationWish, body)
    return _new(await platform.webhooks.rotate(caller, webhook_id, wish.overlap_seconds))


@router.post("/{webhook_id}/enable")
async def enable_webhook(caller: Manager, platform: ThePlatform, webhook_id: WebhookId) -> WebhookView:
    """Deliver to a disabled webhook again: events that occur from now on."""
    return _view(await platform.webhooks.enable(caller, webhook_id))


@router.post("/{webhook_id}/test")
async def send_test_event(caller: Manager, platform: ThePlatform, webhook_id: WebhookId) -> WebhookTestView:
    """Send one event of the type `caio.webhook.tested` now, and say how that went. It is not tried again."""
    answered = await platform.webhooks.test(caller, webhook_id)
    return WebhookTestView(delivered=answered.delivered, status=answered.status)


@router.get("/{webhook_id}/deliveries")
async def list_deliveries(
    caller: Manager,
    platform: ThePlatform,
    webhook_id: WebhookId,
    before: Annotated[str | None, Query(max_length=64, description="`next_before` of the page before.")] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> DeliveryListing:
    """What went to the webhook in the last 30 days, newest event first."""
    await platform.webhooks.get(caller.scope, webhook_id)
    found = await platform.event_history.deliveries(caller.scope, webhook_id, before, limit)
    items = [
        DeliveryView(
            event_id=event.event_id,
            type=event.type,
            seq=event.seq,
            occurred_at=event.occurred_at,
            state="delivered" if each.delivered_at is not None else "dead" if each.dead else "waiting",
            attempts=each.attempts,
            due_at=each.due_at,
            delivered_at=each.delivered_at,
            status=each.last_status,
        )
        for event, each in found
    ]
    return DeliveryListing(items=items, next_before=items[-1].event_id if len(items) == limit else None)


def _view(webhook: Webhook) -> WebhookView:
    return WebhookView(
        webhook_id=webhook.webhook_id,
        url=webhook.url,
        types=list(webhook.types),
        created_at=webhook.created_at,
        created_by=webhook.created_by,
        disabled_at=webhook.disabled_at,
    )


def _new(made: NewSecret) -> NewWebhookView:
    return NewWebhookView(**_view(made.webhook).model_dump(), secret=made.secret)
