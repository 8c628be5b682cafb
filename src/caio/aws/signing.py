"""AWS Signature Version 4: the headers that prove who sends a request.

Theory of operation
-------------------
A request is written in one canonical form; its hash, the time and the credential's scope (day, region, service)
make the string to sign; the key is derived from the secret and that scope. The form is the one that AWS documents
for every service but S3: the path *as it is sent* is encoded once more, so a name that was percent-encoded into it
appears doubly encoded in the canonical form.

Every header handed in is signed, and ``host`` and ``x-amz-date`` with them: hand in no header that a proxy or the
HTTP client may change.

Laws (each has a test of the same name)
---------------------------------------
- signs_as_the_published_suite_does: AWS's own examples, to the byte.
- signs_as_botocore_does: for requests drawn at random.

Source: "Create a signed AWS API request", https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html.
Pure: the time is an argument, in microseconds since the epoch. Not done: S3's rules, chunked payloads, presigned URLs.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl, quote, urlsplit

ALGORITHM = "AWS4-HMAC-SHA256"

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_PORTS = {"http": 80, "https": 443}
_SPACES = re.compile(" +")


@dataclass(frozen=True, slots=True)
class AwsKey:
    """An access key; temporary ones have a session token."""

    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str | None = field(default=None, repr=False)


def signed_headers(
    key: AwsKey,
    *,
    method: str,
    url: str,
    headers: Mapping[str, str],
    body: bytes,
    region: str,
    service: str,
    at: int,
) -> dict[str, str]:
    """``headers`` and those that sign them; ``Host`` is left to the HTTP client, which must send the URL's own."""
    stamp = (_EPOCH + timedelta(microseconds=at)).strftime("%Y%m%dT%H%M%SZ")
    added = {"X-Amz-Date": stamp}
    if key.session_token is not None:
        added["X-Amz-Security-Token"] = key.session_token
    sent = {**headers, **added}
    names, request = canonical_request(method, url, {**sent, "Host": _host(url)}, body)
    scope = f"{stamp[:8]}/{region}/{service}/aws4_request"
    text = f"{ALGORITHM}\n{stamp}\n{scope}\n{_sha256(request.encode())}"
    signature = hmac.new(_signing_key(key, scope), text.encode(), hashlib.sha256).hexdigest()
    credential = f"Credential={key.access_key_id}/{scope}"
    return {**sent, "Authorization": f"{ALGORITHM} {credential}, SignedHeaders={names}, Signature={signature}"}


def canonical_request(method: str, url: str, headers: Mapping[str, str], body: bytes) -> tuple[str, str]:
    """The names of the signed headers, and the request in its canonical form."""
    parts = urlsplit(url)
    lines = sorted((name.lower(), _SPACES.sub(" ", value.strip())) for name, value in headers.items())
    names = ";".join(name for name, _ in lines)
    pairs = sorted((_encoded(name), _encoded(value)) for name, value in parse_qsl(parts.query, keep_blank_values=True))
    return names, "\n".join(
        (
            method,
            quote(parts.path or "/", safe="/~"),
            "&".join(f"{name}={value}" for name, value in pairs),
            *(f"{name}:{value}" for name, value in lines),
            "",
            names,
            _sha256(body),
        )
    )


def _signing_key(key: AwsKey, scope: str) -> bytes:
    derived = f"AWS4{key.secret_access_key}".encode()
    for part in scope.split("/"):
        derived = hmac.digest(derived, part.encode(), "sha256")
    return derived


def _host(url: str) -> str:
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return host.rpartition(":")[0] if parts.port is not None and parts.port == _PORTS.get(parts.scheme) else host


def _encoded(text: str) -> str:
    return quote(text, safe="-_.~")


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
