"""Signatures of deliveries, as Standard Webhooks defines them: HMAC-SHA256 over id, time and body.

Theory of operation
-------------------
A secret is ``whsec_`` and the base64 of its bytes. The signed text is ``id.timestamp.body``; the timestamp is
the attempt's, in whole seconds, so that a receiver refuses what was recorded and sent again later. While a
secret is being rotated each delivery carries a signature of the old one and of the new one, and a receiver
that knows either accepts it.

Laws (each has a test of the same name)
---------------------------------------
- a_receiver_verifies_with_its_secret: by the published procedure alone.
- any_changed_byte_is_noticed: of the id, the time or the body.
- both_secrets_sign_while_one_is_rotated, and an ended one no longer does.

Source: Standard Webhooks specification 1.0.0, "Signature scheme" and "Webhook headers".
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec

SECRET_BYTES = 32
_PREFIX = "whsec_"


@dataclass(frozen=True, slots=True)
class Secret:
    """``text`` is what the receiver holds; from ``until`` on, in microseconds, it signs no more."""

    text: str
    until: int | None = None

    def signs(self, now: int) -> bool:
        return self.until is None or now < self.until

    def signature(self, signed: bytes) -> str:
        key = base64.b64decode(self.text.removeprefix(_PREFIX))
        return "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()


def new_secret(entropy: Callable[[int], bytes]) -> Secret:
    """A secret of 256 random bits; ``entropy(n)`` gives n bytes from a cryptographic source."""
    return Secret(_PREFIX + base64.b64encode(entropy(SECRET_BYTES)).decode())


def rotated(secrets: Sequence[Secret], fresh: Secret, now: int, overlap: int) -> tuple[Secret, ...]:
    """``fresh`` first, and the newest of ``secrets`` for ``overlap`` microseconds more."""
    newest = secrets[0]
    until = now + overlap if newest.until is None else min(newest.until, now + overlap)
    return (fresh, Secret(newest.text, until))


def headers(secrets: Sequence[Secret], event_id: str, body: bytes, now: int) -> dict[str, str]:
    """The headers of one attempt at ``now`` (microseconds since the epoch)."""
    seconds = str(now // 1_000_000)
    signed = b".".join((event_id.encode(), seconds.encode(), body))
    return {
        "webhook-id": event_id,
        "webhook-timestamp": seconds,
        "webhook-signature": " ".join(each.signature(signed) for each in secrets if each.signs(now)),
    }


def written(secrets: Sequence[Secret]) -> bytes:
    """Secrets as they are sealed."""
    return msgspec.json.encode(list(secrets))


def read(content: bytes) -> tuple[Secret, ...]:
    """What ``written`` gave."""
    return msgspec.json.decode(content, type=tuple[Secret, ...])
