"""The canary: what a caller does, done every five minutes, from health to a receipt whose signature is checked.

Theory of operation
-------------------
Four steps, each of which raises ``Failed`` with a sentence: the API is ready; a request is orchestrated with the key
of the canary's own tenant; the decision's receipt is fetched; the receipt is checked against the installation's
published keys. The Synthetics runtime brings neither CAIO nor a library for Ed25519, and a canary that fetched its
tools would fail with them, so what it needs of both is here, on the standard library: the canonical JSON of the
receipts it asks for, and RFC 8032's verification, in some milliseconds. boto3, which the runtime brings, reads the key.

Laws (each has a test of the same name)
---------------------------------------
- a_working_installation_passes: against a real server, with a real service behind it.
- each_failure_is_told: not ready, key refused, nothing that serves, a service that fails.
- a_receipt_that_was_touched_fails: any part of it, and one that another key signed.
- a_pinned_key_is_held_to: a receipt by a key that is not pinned fails, published or not.
- the_key_is_never_told: not in what is raised, and not to where the server redirects.

Not checked: the receipt's place in the log, and the decision itself; ``caio verify`` checks those.
Sources: docs/reference/receipt-format.md, RFC 8032 section 5.1.7, RFC 8785.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import json
import os
import urllib.error
import urllib.request
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

SECONDS = 30
MOST_BYTES = 4 << 20
PURPOSE = b"caio/receipt/v1\x00"

#: What is asked unless the environment says otherwise: the smallest request of a capability that only the canary has.
ASKED = '{"request": {"capability": "canary.echo", "payload": {"text": "Are you there?"}}}'


class Failed(Exception):
    """A step that did not go as it must, in one sentence."""


@dataclass(frozen=True)
class Installation:
    """An installation as the canary calls it. ``url`` has no path; ``api_key`` never appears in what is raised."""

    url: str
    api_key: str = field(repr=False)

    def ask(self, path: str, body: bytes | None = None) -> Any:
        """The JSON of an answer of success; raises Failed for every other outcome."""
        headers = {"Authorization": f"Bearer {self.api_key}", "Content-Type": "application/json"}
        request = urllib.request.Request(self.url + path, data=body, headers=headers)  # noqa: S310 - https by the module
        try:
            with _OPENER.open(request, timeout=SECONDS) as answer:
                raw = answer.read(MOST_BYTES)
        except urllib.error.HTTPError as error:
            raise Failed(f"{path} answered {error.code} {_code_of(error)}".rstrip() + ".") from None
        except (
            OSError,
            http.client.HTTPException,
        ) as error:  # refused, no such name, a certificate that does not fit, too slow
            raise Failed(f"{path} could not be asked: {getattr(error, 'reason', error)}.") from None
        try:
            return json.loads(raw, parse_float=Fraction)
        except ValueError:
            raise Failed(f"{path} answered something other than JSON.") from None


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirect would take the API key along to wherever it points."""

    def redirect_request(self, *_: Any) -> None:
        return None


_OPENER = urllib.request.build_opener(_NoRedirects)


def _code_of(error: urllib.error.HTTPError) -> str:
    """The problem's stable code, where the answer has one."""
    try:
        return str(json.loads(error.read(MOST_BYTES))["code"])
    except (ValueError, KeyError, TypeError, OSError):
        return ""


class Fraction(str):
    """A number with a fraction, as its text: nothing here reckons with one, and no receipt holds any."""

    __slots__ = ()


# --- The steps ----------------------------------------------------------------------------------------


def run(installation: Installation, asked: bytes, pinned: Collection[str] = ()) -> str:
    """All steps; returns the decision's id. ``pinned`` are ids of the keys to trust; empty for all published ones.

    Raises Failed at the first step that does not hold.
    """
    ready = installation.ask("/health/ready")
    if ready.get("status") != "healthy":
        raise Failed(f"/health/ready answered 200 and says {ready.get('status')!r}.")
    decision_id = installation.ask("/api/v1/orchestrate", asked).get("decision_id")
    if not isinstance(decision_id, str):
        raise Failed("/api/v1/orchestrate named no decision.")
    receipt = installation.ask(f"/api/v1/decisions/{decision_id}/receipt")
    keys = public_keys(installation.ask("/.well-known/caio-keys.json"), pinned)
    check_receipt(receipt, decision_id, keys)
    return decision_id


def public_keys(document: Any, pinned: Collection[str]) -> dict[str, bytes]:
    """The trusted keys by id; raises Failed for a document that is none and for an id that is not its key's."""
    try:
        entries = [entry for entry in document["keys"] if entry["algorithm"] == "Ed25519"]
        keys = {entry["key_id"]: base64.b64decode(entry["public_key"], validate=True) for entry in entries}
    except (KeyError, TypeError, ValueError):
        raise Failed("The published keys are no set of keys.") from None
    for key_id, key in keys.items():
        if hashlib.sha256(key).hexdigest()[:16] != key_id:
            raise Failed(f"The published key {key_id} is not the one of that id.")
    return {key_id: key for key_id, key in keys.items() if not pinned or key_id in pinned}


def check_receipt(receipt: Any, decision_id: str, keys: Mapping[str, bytes]) -> None:
    """Raises Failed unless ``receipt`` is of the decision, signed by one of ``keys``, and shows what it commits to."""
    try:
        if receipt["decision_id"] != decision_id:
            raise Failed("The receipt is another decision's.")
        key = keys.get(receipt["key_id"])
        if key is None:
            raise Failed(f"The receipt is signed by {receipt['key_id']}, which is not a trusted key.")
        signature = base64.b64decode(receipt["signature"], validate=True)
        signed = PURPOSE + canonical({name: value for name, value in receipt.items() if name != "signature"})
        if not is_signed(key, signed, signature):
            raise Failed("The receipt's signature does not hold.")
        for entry in filter(None, (receipt["decision"], receipt["outcome"])):
            committed = hmac.digest(bytes.fromhex(entry["salt"]), canonical(entry["payload"]), "sha256")
            if committed.hex() != entry["commitment"]:
                raise Failed("The receipt shows an entry that the log does not commit to.")
    except (KeyError, TypeError, ValueError, AttributeError):
        raise Failed("The receipt has not the form of one.") from None


def canonical(value: Any) -> bytes:
    """RFC 8785 of a document without fractions, whose names are ASCII; raises ValueError for any other."""
    if _strays(value):
        raise ValueError("a receipt holds neither fractions nor names beyond ASCII")
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()


def _strays(value: Any) -> bool:
    if isinstance(value, dict):
        return any(not name.isascii() or _strays(item) for name, item in value.items())
    if isinstance(value, list):
        return any(map(_strays, value))
    return isinstance(value, Fraction)


# --- Ed25519 (RFC 8032, section 5.1), points as (X, Y, Z, T) -------------------------------------------

Point = tuple[int, int, int, int]
PRIME = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
CURVE = -121665 * pow(121666, -1, PRIME) % PRIME


def is_signed(key: bytes, message: bytes, signature: bytes) -> bool:
    """Whether ``signature`` is the Ed25519 signature of ``message`` by the raw public ``key``."""
    if len(key) != 32 or len(signature) != 64:
        return False
    point, scalar = _point(key), int.from_bytes(signature[32:], "little")
    if point is None or scalar >= ORDER:
        return False
    challenge = int.from_bytes(hashlib.sha512(signature[:32] + key + message).digest(), "little") % ORDER
    negated = (PRIME - point[0], point[1], 1, PRIME - point[3])
    return _encoded(_added(_times(scalar, _BASE), _times(challenge, negated))) == signature[:32]


def _added(left: Point, right: Point) -> Point:
    a = (left[1] - left[0]) * (right[1] - right[0]) % PRIME
    b = (left[1] + left[0]) * (right[1] + right[0]) % PRIME
    c = 2 * left[3] * right[3] * CURVE % PRIME
    d = 2 * left[2] * right[2] % PRIME
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % PRIME, g * h % PRIME, f * g % PRIME, e * h % PRIME


def _times(scalar: int, point: Point) -> Point:
    total: Point = (0, 1, 1, 0)
    while scalar:
        if scalar & 1:
            total = _added(total, point)
        point, scalar = _added(point, point), scalar >> 1
    return total


def _point(raw: bytes) -> Point | None:
    """The point that 32 bytes stand for, None when they stand for none."""
    odd, y = raw[31] >> 7, int.from_bytes(raw, "little") & (2**255 - 1)
    if y >= PRIME:
        return None
    square = (y * y - 1) * pow(CURVE * y * y + 1, -1, PRIME) % PRIME
    x = pow(square, (PRIME + 3) // 8, PRIME)
    if (x * x - square) % PRIME:
        x = x * pow(2, (PRIME - 1) // 4, PRIME) % PRIME
    if (x * x - square) % PRIME or (x == 0 and odd):
        return None
    x = PRIME - x if x % 2 != odd else x
    return x, y, 1, x * y % PRIME


def _encoded(point: Point) -> bytes:
    inverse = pow(point[2], -1, PRIME)
    x, y = point[0] * inverse % PRIME, point[1] * inverse % PRIME
    return (y | (x & 1) << 255).to_bytes(32, "little")


_BASE_BYTES = (4 * pow(5, -1, PRIME) % PRIME).to_bytes(32, "little")
_BASE = _point(_BASE_BYTES) or (0, 1, 1, 0)


# --- What Synthetics calls --------------------------------------------------------------------------------


def handler(_event: object, _context: object) -> str:
    """One run, by the settings that the canary's environment has. Raises Failed."""
    installation = Installation(os.environ["CAIO_URL"], _api_key(os.environ["API_KEY_SECRET"]))
    asked = os.environ.get("ASKED") or ASKED
    pinned = os.environ.get("TRUSTED_KEY_IDS", "").split()
    return f"decision {run(installation, asked.encode(), pinned)} holds"


def _api_key(secret_arn: str) -> str:
    """The member `canary` of the secret."""
    secrets = import_module("boto3").client("secretsmanager")
    value = secrets.get_secret_value(SecretId=secret_arn)["SecretString"]
    api_key = json.loads(value).get("canary")
    if not isinstance(api_key, str) or not api_key:
        raise Failed("The secret has no member `canary`: put the API key of the canary's tenant there.")
    return api_key
