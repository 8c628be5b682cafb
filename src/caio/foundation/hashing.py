"""Digests that name their purpose.

Every hash is SHA-256 over ``purpose || 0x00 || bytes``, in lower-case hexadecimal. Bytes of one
kind (a contract) can therefore never be passed off as another (a policy), even if they are equal.
Purposes hold no zero byte and carry a version: ``caio/contract/v1``.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Any

from caio.foundation.canonical import canonical_json

CONTRACT = "caio/contract/v1"
POLICY = "caio/policy/v1"
REQUEST = "caio/request/v1"
PRINCIPAL = "caio/principal/v1"
HISTORY = "caio/history/v1"
SERVICE = "caio/service/v1"
SERVICES = "caio/services/v2"
POLICIES = "caio/policies/v1"
VERDICTS = "caio/verdicts/v1"
FEASIBLE = "caio/feasible/v2"
DECISION = "caio/decision/v2"
PLAN_REQUEST = "caio/plan-request/v1"
PLAN = "caio/plan/v1"

DIGEST_BYTES = 32

# HMAC's two pads over every byte, as the standard library's own `hmac` makes them.
_BLOCK_BYTES = 64
_INNER = bytes(byte ^ 0x36 for byte in range(256))
_OUTER = bytes(byte ^ 0x5C for byte in range(256))
# From this size on the data is not worth copying.
_LONG = 4_096


def digest(purpose: str, data: bytes) -> str:
    """SHA-256 of ``data`` under ``purpose``, as 64 hexadecimal characters."""
    return hashlib.sha256(purpose.encode() + b"\x00" + data).hexdigest()


def digest_of(purpose: str, value: Any) -> str:
    """The digest of a value's canonical JSON; raises NotCanonical when it has none."""
    return digest(purpose, canonical_json(value))


def keyed(key: bytes, data: bytes) -> bytes:
    """HMAC-SHA256 (RFC 2104): 32 bytes that nobody without ``key`` can predict."""
    if len(data) > _LONG or len(key) > _BLOCK_BYTES:
        return hmac.digest(key, data, "sha256")
    # The same from its two hashes: for the short messages of a call, setting OpenSSL's HMAC up costs more than both.
    block = key.ljust(_BLOCK_BYTES, b"\x00")
    inner = hashlib.sha256(block.translate(_INNER) + data).digest()
    return hashlib.sha256(block.translate(_OUTER) + inner).digest()


def same(left: bytes, right: bytes) -> bool:
    """Equality in time that does not depend on where two values differ."""
    return hmac.compare_digest(left, right)
