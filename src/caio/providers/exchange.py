"""What every HTTP service has in common: its address, its credentials, the body, JSON answers.

CAIO's own keys (``metadata.caio``) are for CAIO and never leave it; all other fields pass through.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import Any

import msgspec

from caio.foundation.errors import UpstreamFailed, UpstreamFault
from caio.foundation.money import Usage
from caio.gateway.ports import Call, Target
from caio.providers.answers import Answer
from caio.providers.faults import failed_answer, retry_after

OWN_KEY = "caio"
MAX_TOKENS = 2**53 - 1

#: The most lists and objects of a JSON answer, those that are only spelt in its texts included.
MAX_CONTAINERS = 1 << 18

#: What can stand in a header without being read as something else: printable, and no space at either end.
_HEADER_SAFE = re.compile(r"[!-~](?:[ -~]*[!-~])?")

#: Headers that belong to the connection; no contract may set them as its credential.
_RESERVED = frozenset(
    {
        "accept",
        "accept-encoding",
        "connection",
        "content-length",
        "content-type",
        "cookie",
        "expect",
        "host",
        "te",
        "traceparent",
        "transfer-encoding",
        "upgrade",
    }
)


def subject_of(target: Target) -> str:
    """How messages name the service. Never by its address, which may hold a credential."""
    return f"Service {target.service_id!r}"


def url_of(target: Target) -> str:
    """``base_url`` followed by the endpoint's path, which cannot become part of the host."""
    path = target.path
    return target.base_url.rstrip("/") + (path if path.startswith("/") or not path else f"/{path}")


def headers_of(target: Target, call: Call, accept: str) -> dict[str, str]:
    """The headers of a call with a JSON body. Raises UpstreamFailed AUTH when the contract's
    scheme cannot be followed."""
    headers = {"Accept": accept, "Content-Type": "application/json"}
    if call.traceparent is not None:
        headers["traceparent"] = call.traceparent
    if target.auth_scheme == "none":
        return headers
    secret = call.secret
    if not secret:
        raise _unusable(target, "needs a secret, and there is none; store it under the name in its contract")
    # A value that breaks out of its line would be a second header; the value is not repeated here.
    if not _HEADER_SAFE.fullmatch(secret):
        raise _unusable(target, "has a secret with characters that no header may hold; store it again")
    kind, _, name = target.auth_scheme.partition(":")
    if target.auth_scheme == "bearer":
        headers["Authorization"] = f"Bearer {secret}"
    elif kind == "header" and name and name.lower() not in _RESERVED:
        headers[name] = secret
    else:
        raise _unusable(target, "has an auth scheme that is neither bearer, none nor header:<Name>")
    return headers


def outgoing(body: Any) -> Any:
    """``body`` without CAIO's own keys; an object becomes a new dict."""
    if type(body) is not dict and not isinstance(body, Mapping):  # to ask a Mapping takes longer than all the rest
        return body
    sent = dict(body)
    metadata = sent.get("metadata")
    if metadata is not None and isinstance(metadata, Mapping) and OWN_KEY in metadata:
        rest = {key: value for key, value in metadata.items() if key != OWN_KEY}
        if rest:
            sent["metadata"] = rest
        else:
            del sent["metadata"]
    return sent


def json_bytes(target: Target, body: Any) -> bytes:
    """``body`` as JSON; raises UpstreamFailed INVALID for text that has no UTF-8 form."""
    try:
        return msgspec.json.encode(body)
    except (ValueError, TypeError, RecursionError):
        failure = UpstreamFailed(
            f"{subject_of(target)} was not called: the request cannot be written as JSON", UpstreamFault.INVALID
        )
    # Raised outside the handler, whose error quotes the payload.
    raise failure


async def expect_success(target: Target, call: Call, answer: Answer) -> None:
    """Raise the UpstreamFailed that a status other than 2xx stands for."""
    if 200 <= answer.status < 300:
        return
    body = await answer.read_in_brief()
    wait = retry_after(answer.header("Retry-After"), time.time())
    code = answer.header("x-amzn-errortype")
    raise failed_answer(subject_of(target), answer.status, body, secret=call.secret, wait=wait, code=code)


async def read_json(target: Target, answer: Answer) -> Any:
    """The JSON document of an answer; raises UpstreamFailed GARBAGE for anything else."""
    expect_plain(target, answer)
    media_type = answer.media_type
    if media_type != "application/json" and not media_type.endswith("+json"):
        raise garbage(target, "answered another content type than JSON")
    raw = await answer.read()
    # An empty list is three bytes of JSON and sixty of memory.
    if len(raw) > MAX_CONTAINERS and raw.count(b"[") + raw.count(b"{") > MAX_CONTAINERS:
        raise garbage(target, "answered JSON of more lists and objects than is accepted")
    try:
        return msgspec.json.decode(raw)
    except (ValueError, RecursionError):
        failure = garbage(target, "answered something that is not JSON")
    raise failure  # outside the handler, whose error may quote the answer


def expect_plain(target: Target, answer: Answer) -> None:
    """Refuse compressed answers, which nobody asked for and whose size nobody could bound."""
    encoding = answer.header("content-encoding")
    if encoding is not None and encoding.strip().lower() not in ("identity", ""):
        raise garbage(target, "compressed its answer although it was told not to")


def garbage(target: Target, what: str) -> UpstreamFailed:
    return UpstreamFailed(f"{subject_of(target)} {what}", UpstreamFault.GARBAGE)


def usage_from(document: Any, input_name: str, output_name: str) -> Usage | None:
    """The tokens of a ``usage`` object, or None unless it counts the input (the output may be absent,
    as for embeddings). ``milliseconds`` stays 0: time is measured by the caller, not reported."""
    if type(document) is not dict and not isinstance(document, Mapping):
        return None
    tokens_in, tokens_out = _count(document.get(input_name)), _count(document.get(output_name, 0))
    if tokens_in is None or tokens_out is None:
        return None
    return Usage(input_tokens=tokens_in, output_tokens=tokens_out)


def _count(value: Any) -> int | None:
    return value if type(value) is int and 0 <= value <= MAX_TOKENS else None


def _unusable(target: Target, what: str) -> UpstreamFailed:
    return UpstreamFailed(f"{subject_of(target)} {what}", UpstreamFault.AUTH)
