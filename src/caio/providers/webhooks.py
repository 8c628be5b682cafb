"""Delivers to webhooks: one POST through the guarded client, whose answer's status is all that is read.

Theory of operation
-------------------
An address must be https. For development http is called too, but only at a literal address, or ``localhost``,
in a network that the operator allowed; a name would resolve to anything. Redirects are answers like others: a
receiver that moves is told to its tenant, not followed. Of a body nothing is read.

Laws (each has a test of the same name)
---------------------------------------
- only_a_2xx_is_delivered: a redirect is not followed, and is no delivery.
- a_receiver_is_bounded: in time; what it says is not kept.
- nothing_is_raised: whatever a receiver does is told as a status.
- http_is_for_allowed_networks_only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from yarl import URL

from caio.events.envelope import MEDIA_TYPE
from caio.events.ports import Answered, Webhook
from caio.foundation.errors import InvalidInput, UpstreamFailed, Violation
from caio.providers.addresses import HostRefused, Network, literal, refusal
from caio.providers.answers import Answer
from caio.providers.outbound import OutboundClient

SECONDS = 10.0
MAX_URL = 2048
_LONGEST_STATUS = 300

#: The receiver says that nobody will ever be there again.
_GONE = 410


class WebhookReceiver:
    """The ``Receiver`` port. ``allow`` is the operator's list of networks that may be called."""

    def __init__(self, outbound: OutboundClient, allow: Sequence[Network] = (), *, seconds: float = SECONDS) -> None:
        self._outbound = outbound
        self._allow = tuple(allow)
        self._seconds = seconds

    def check(self, url: str) -> None:
        """Raises InvalidInput. What a name resolves to is not looked at here, but at each delivery."""
        if (wrong := self._wrong(url)) is not None:
            raise InvalidInput("the webhook's address is not one that is called", [Violation("/url", wrong)])

    async def send(self, webhook: Webhook, headers: Mapping[str, str], body: bytes) -> Answered:
        if (wrong := self._wrong(webhook.url)) is not None:
            return Answered(delivered=False, status=wrong)
        subject = f"The webhook {webhook.webhook_id}"
        try:
            async with self._outbound.request(
                "POST",
                webhook.url,
                subject=subject,
                seconds=self._seconds,
                headers={"Content-Type": MEDIA_TYPE, **headers},
                body=body,
            ) as answer:
                status, pause = answer.status, _pause(answer)
                await answer.finish()
        except UpstreamFailed as error:
            return Answered(delivered=False, status=error.message.removeprefix(subject).strip()[:_LONGEST_STATUS])
        if 200 <= status < 300:
            return Answered(delivered=True, status=str(status))
        said = f"{status}, a redirect, which is not followed" if 300 <= status < 400 else str(status)
        return Answered(delivered=False, status=said, pause=pause, final=status == _GONE)

    def _wrong(self, url: str) -> str | None:
        """What is wrong with an address, or None."""
        try:
            parsed = URL(url)
            port = parsed.port
        except ValueError:
            return "is not a URL"
        if len(url) > MAX_URL or not url.isascii() or not url.isprintable() or "\\" in url or " " in url:
            return f"must be at most {MAX_URL} printable ASCII characters"
        if parsed.scheme not in ("http", "https") or not parsed.raw_host or not port:
            return "must begin with https:// and name a host"
        if parsed.raw_user is not None or parsed.raw_password is not None or parsed.raw_fragment:
            return "must hold no user name, password or fragment"
        return self._wrong_host(parsed.raw_host, secure=parsed.scheme == "https")

    def _wrong_host(self, host: str, *, secure: bool) -> str | None:
        try:
            address = literal("127.0.0.1" if host == "localhost" else host)
        except HostRefused as error:
            return str(error)
        if address is None:
            return None if secure else "must begin with https://"
        if (refused := refusal(address, self._allow)) is not None:
            return f"is {refused.what}, which is not called"
        if not secure and not any(address in network for network in self._allow):
            return "must begin with https://"
        return None


def _pause(answer: Answer) -> int:
    """What ``Retry-After`` asks for in whole seconds, as microseconds; its form as a date is not read."""
    text = answer.header("Retry-After") or ""
    return int(text) * 1_000_000 if text.isascii() and text.isdecimal() and len(text) < 8 else 0
