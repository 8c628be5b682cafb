"""Delivering to webhooks: real receivers, and addresses that are never called."""

from __future__ import annotations

from collections.abc import AsyncIterator
from ipaddress import ip_network

import pytest

from caio.events.ports import Answered, Webhook
from caio.foundation.errors import InvalidInput
from caio.providers.outbound import OutboundClient
from caio.providers.webhooks import WebhookReceiver as Sender
from tests.support.webhook_receiver import WebhookReceiver, webhook_receiver

LOCAL = (ip_network("127.0.0.0/8"),)
HEADERS = {"webhook-id": "evt_1", "webhook-timestamp": "1", "webhook-signature": "v1,x"}


@pytest.fixture
async def receiver() -> AsyncIterator[WebhookReceiver]:
    async with webhook_receiver() as running:
        yield running


def webhook(url: str) -> Webhook:
    return Webhook("whk_1", "acme", url, ("caio.",), b"", 0, "me")


async def sent(url: str, seconds: float = 2.0) -> Answered:
    async with OutboundClient(LOCAL) as outbound:
        return await Sender(outbound, LOCAL, seconds=seconds).send(webhook(url), HEADERS, b"{}")


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
async def test_what_is_delivered(receiver: WebhookReceiver, status: int) -> None:
    receiver.status = status
    assert await sent(receiver.url) == Answered(delivered=True, status=str(status))
    (got,) = receiver.received
    assert got.body == b"{}"
    assert got.headers["webhook-signature"] == "v1,x"
    assert got.headers["Content-Type"] == "application/cloudevents+json"


@pytest.mark.parametrize("status", [301, 302, 307, 308, 400, 401, 404, 429, 500, 503])
async def test_only_a_2xx_is_delivered(receiver: WebhookReceiver, status: int) -> None:
    receiver.status, receiver.answer = status, {"Location": f"{receiver.url}/elsewhere"}
    answered = await sent(receiver.url)
    assert not answered.delivered
    assert not answered.final
    assert answered.status.startswith(str(status))
    assert len(receiver.received) == 1, "a redirect is not followed"


async def test_gone_is_for_good(receiver: WebhookReceiver) -> None:
    receiver.status = 410
    assert (await sent(receiver.url)).final


@pytest.mark.parametrize(("header", "pause"), [("7", 7_000_000), ("-1", 0), ("soon", 0), ("9" * 40, 0), ("", 0)])
async def test_a_pause_is_read(receiver: WebhookReceiver, header: str, pause: int) -> None:
    receiver.status, receiver.answer = 503, {"Retry-After": header}
    assert (await sent(receiver.url)).pause == pause


async def test_a_receiver_is_bounded(receiver: WebhookReceiver) -> None:
    answered = await sent(f"{receiver.url}/hang", seconds=0.1)
    assert answered == Answered(delivered=False, status="did not answer in time")


async def test_nothing_is_raised() -> None:
    async with webhook_receiver() as gone:
        url = gone.url
    assert (await sent(url)).status == "could not be reached: it accepts no connection"
    hosts = ("169.254.169.254", "10.0.0.1", "[::1", f"{'a' * 64}.example")
    for address in (*(f"https://{host}/" for host in hosts), "http://example.com/", "nonsense"):
        answered = await sent(address)
        assert not answered.delivered
        assert answered.status


async def test_names_that_mean_private_addresses_are_not_called() -> None:
    async def resolve(host: str, port: int) -> list[str]:
        return ["203.0.113.7", "169.254.169.254"]

    async with OutboundClient(resolve=resolve) as outbound:
        answered = await Sender(outbound).send(webhook("https://hooks.example.com/"), HEADERS, b"{}")
    assert not answered.delivered
    assert "was not called" in answered.status


@pytest.mark.parametrize(
    ("url", "allowed", "accepted"),
    [
        ("https://example.com/a?b=c", (), True),
        ("http://example.com/", (), False),
        ("http://example.com/", LOCAL, False),
        ("http://127.0.0.1:8080/", (), False),
        ("https://127.0.0.1:8080/", (), False),
        ("http://127.0.0.1:8080/", LOCAL, True),
        ("https://127.0.0.1/", LOCAL, True),
        ("http://localhost:8080/", LOCAL, True),
        ("http://localhost:8080/", (), False),
        ("http://8.8.8.8/", LOCAL, False),
        ("http://10.0.0.1/", LOCAL, False),
        ("https://8.8.8.8/", (), True),
        ("https://169.254.169.254/", (ip_network("0.0.0.0/0"),), False),
        ("https://example.com:0/", (), False),
        ("https://example.com:99999/", (), False),
    ],
)
async def test_http_is_for_allowed_networks_only(url: str, allowed: tuple, accepted: bool) -> None:
    async with OutboundClient(allowed) as outbound:
        sender = Sender(outbound, allowed)
        if accepted:
            sender.check(url)
        else:
            with pytest.raises(InvalidInput):
                sender.check(url)
