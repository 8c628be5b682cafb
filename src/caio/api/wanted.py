"""From an HTTP body to what the gateway is asked for, on the native surface; and what all surfaces read of headers."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping

import msgspec

from caio.foundation.errors import InvalidInput, Violation
from caio.gateway.answer_cache import LONGEST_SECONDS
from caio.gateway.chats import as_payload
from caio.gateway.intake import kernel_request, read_body
from caio.gateway.ports import PROTOCOLS_OF, Operation
from caio.gateway.run import Answer, Wanted, body_alone
from caio.routing.model import Request
from caio.tenancy.principals import Caller

RECEIPT = "x-caio-receipt"
CACHE = "x-caio-cache"
LONGEST_IDEMPOTENCY_KEY = 255

#: The headers of ours that a native call is read by.
NATIVE = (RECEIPT, CACHE)

#: How headers begin that say what is asked for.
OWN = "x-caio-"

_NO_BODY = b"null"


def from_orchestrate(
    raw: bytes,
    caller: Caller,
    idempotency_key: str | None = None,
    fingerprint: str = "",
    render: Callable[[Answer], bytes] = body_alone,
) -> Wanted:
    """Raises InvalidInput with every violation."""
    body = read_body(raw)
    payload = _NO_BODY if body.request.payload is None else msgspec.json.encode(body.request.payload)
    labels = dict(body.context.labels)
    if body.context.session is not None:
        labels["session"] = body.context.session
    request = kernel_request(
        body.request,
        tenant_id=caller.scope.tenant_id,
        currency=caller.tenant.currency,
        input_bytes=len(payload),
        labels=labels,
        protocols=PROTOCOLS_OF[Operation.JSON],
    )
    sent, request = as_payload(body.request.payload, request, "/request/payload")
    return Wanted(
        caller,
        request,
        Operation.JSON,
        sent,
        raw,
        [*body.request.policies, *body.policies],
        idempotency_key,
        fingerprint,
        render=render,
    )


def fingerprint_of(path: str, raw: bytes, headers: Mapping[str, str], caller: Caller) -> str:
    """What an idempotency key is bound to: the operation, who asks, the wishes in headers, the exact body."""
    wishes = sorted(item for item in headers.items() if item[0].startswith("x-caio-"))
    bound = msgspec.json.encode([path, caller.principal.principal_id, wishes])
    return hashlib.sha256(bound + b"\0" + raw).hexdigest()


def idempotency_key(headers: Mapping[str, str]) -> str | None:
    """The ``Idempotency-Key`` header; raises InvalidInput for an unusable one."""
    key = headers.get("idempotency-key")
    if key is not None and not (0 < len(key) <= LONGEST_IDEMPOTENCY_KEY and key.isascii() and key.isprintable()):
        rule = "must be 1 to 255 printable ASCII characters"
        violations = [Violation("/header/idempotency-key", rule)]
        raise InvalidInput(f"Idempotency-Key {rule}", violations, code="invalid_header")
    return key


def only_known(headers: Mapping[str, str], known: Collection[str]) -> None:
    """Raises InvalidInput for a header of ours that nothing is read from: misspelt, it would bind nothing, and a call
    may cost what its caller meant to forbid."""
    unknown = [name for name in headers if name.startswith(OWN) and name not in known]
    if unknown:
        rule = f"is not known here; these are: {', '.join(sorted(known))}"
        violations = [Violation(f"/header/{name}", rule) for name in sorted(unknown)]
        raise InvalidInput(f"{violations[0].pointer[8:]} {rule}", violations, code="invalid_header")


def receipt_in_body(headers: Mapping[str, str]) -> bool:
    """Whether the ``x-caio-receipt`` header of a native call asks for the receipt itself; raises InvalidInput for
    another wish, and for a header of ours that such a call is not read by: its wishes stand in its body."""
    only_known(headers, NATIVE)
    wish = headers.get(RECEIPT)
    if wish not in (None, "body"):
        raise InvalidInput(
            f"{RECEIPT} may only be: body", [Violation(f"/header/{RECEIPT}", "must be body")], code="invalid_header"
        )
    return wish == "body"


def cache_seconds(headers: Mapping[str, str], request: Request) -> int | None:
    """How old an answer may be that the caller will take again (``x-caio-cache``); None when it must be new. Raises
    InvalidInput for another value than whole seconds up to a day, and for a stream."""
    stated = headers.get(CACHE)
    if stated is None:
        return None
    if not (stated.isascii() and stated.isdecimal() and 0 < int(stated[:6]) <= LONGEST_SECONDS and len(stated) < 6):
        rule = f"must be whole seconds, 1 to {LONGEST_SECONDS}"
        raise InvalidInput(f"{CACHE} {rule}", [Violation(f"/header/{CACHE}", rule)], code="invalid_header")
    if request.stream:
        raise InvalidInput(f"a stream is not kept: leave out {CACHE}", code="cache_not_for_streams")
    return int(stated)
