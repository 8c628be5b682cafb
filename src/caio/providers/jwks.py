"""Fetching the public keys of identity providers, through the guarded outbound client.

The issuer's address is the operator's; where no address of its keys is configured, the provider's discovery
document (OpenID Connect Discovery 1.0, 4) names one, which must be on the issuer's own host and as secure as
it: a changed document cannot send the look-up elsewhere. Answers are bounded in size and time, redirects are
not followed.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import msgspec

from caio.foundation.errors import UpstreamFailed, UpstreamFault
from caio.providers.outbound import OutboundClient
from caio.tenancy.jws import KeySet, read_key_set
from caio.tenancy.oidc import Issuer

SECONDS = 5.0
MOST_BYTES = 256 * 1024
_DISCOVERY = "/.well-known/openid-configuration"


class JwksClient:
    """The ``KeySource`` port."""

    def __init__(self, outbound: OutboundClient) -> None:
        self._outbound = outbound

    async def fetch(self, issuer: Issuer) -> KeySet:
        """Raises UpstreamFailed, also for a discovery document that names another issuer or host, and
        TokenRefused for what is no key set."""
        url = issuer.jwks_url or await self._discovered(issuer)
        return read_key_set(await self._get(url, issuer))

    async def _discovered(self, issuer: Issuer) -> str:
        raw = await self._get(issuer.issuer.rstrip("/") + _DISCOVERY, issuer)
        try:
            document: Any = msgspec.json.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError):
            document = None
        named = document.get("jwks_uri") if isinstance(document, dict) else None
        if not isinstance(named, str) or document.get("issuer") != issuer.issuer:
            raise _unusable(issuer, "its discovery document names no keys, or another issuer")
        if not _same_place(named, issuer.issuer):
            raise _unusable(issuer, "its discovery document names keys on another host; set jwks_url to allow that")
        return named

    async def _get(self, url: str, issuer: Issuer) -> bytes:
        pieces, size = [], 0
        wanted = {"Accept": "application/json"}
        async with self._outbound.request(
            "GET", url, subject=_subject(issuer), seconds=SECONDS, headers=wanted
        ) as answer:
            if answer.status != 200:
                raise _unusable(issuer, f"it answered with status {answer.status}")
            while piece := await answer.next_piece():
                pieces.append(piece)
                size += len(piece)
                if size > MOST_BYTES:
                    raise _unusable(issuer, "it answered more than is accepted")
        return b"".join(pieces)


def _subject(issuer: Issuer) -> str:
    return f"Identity provider {issuer.issuer!r}"


def _unusable(issuer: Issuer, what: str) -> UpstreamFailed:
    return UpstreamFailed(f"{_subject(issuer)} gave no keys: {what}", UpstreamFault.GARBAGE)


def _same_place(url: str, issuer: str) -> bool:
    """Whether scheme, host and port are the issuer's own."""
    try:
        named, own = urlsplit(url), urlsplit(issuer)
        return (named.scheme, named.hostname, named.port) == (own.scheme, own.hostname, own.port)
    except ValueError:
        return False
