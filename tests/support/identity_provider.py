"""An identity provider on this machine: real keys, a real server for them, tokens of every provider's shape.

It can lie on purpose: what it serves, signs and claims is the test's to say.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from itertools import count
from typing import Any

from aiohttp import web
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

API = "https://api.example"
CLIENT = "client-1"


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def number(value: int, size: int | None = None) -> str:
    return b64(value.to_bytes(size or (value.bit_length() + 7) // 8))


@dataclass
class Key:
    """A signing key with its name; ``algorithm`` decides its kind."""

    kid: str
    algorithm: str = "RS256"
    private: Any = None

    def __post_init__(self) -> None:
        if self.private is None:
            self.private = _generated(self.algorithm)

    def sign(self, data: bytes) -> bytes:
        if self.algorithm == "RS256":
            return bytes(self.private.sign(data, padding.PKCS1v15(), hashes.SHA256()))
        if self.algorithm == "EdDSA":
            return bytes(self.private.sign(data))
        r, s = decode_dss_signature(self.private.sign(data, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(32) + s.to_bytes(32)

    def jwk(self) -> dict[str, Any]:
        """The public key as providers publish it."""
        named = {"kid": self.kid, "alg": self.algorithm, "use": "sig"}
        public = self.private.public_key()
        if self.algorithm == "RS256":
            numbers = public.public_numbers()
            return named | {"kty": "RSA", "n": number(numbers.n), "e": number(numbers.e)}
        if self.algorithm == "EdDSA":
            return named | {"kty": "OKP", "crv": "Ed25519", "x": b64(public.public_bytes_raw())}
        numbers = public.public_numbers()
        return named | {"kty": "EC", "crv": "P-256", "x": number(numbers.x, 32), "y": number(numbers.y, 32)}


def _generated(algorithm: str) -> Any:
    if algorithm == "RS256":
        return rsa.generate_private_key(public_exponent=65537, key_size=2048)
    if algorithm == "EdDSA":
        return ed25519.Ed25519PrivateKey.generate()
    return ec.generate_private_key(ec.SECP256R1())


@cache
def _kept(number: int) -> Any:
    """One of two keys that providers share between tests, since making one takes long."""
    return _generated("RS256")


_numbers = count()


def token(claims: Mapping[str, Any] | bytes, key: Key, **header: Any) -> str:
    """A signed token; members of the header that are None are left out."""
    stated = {"alg": key.algorithm, "kid": key.kid, "typ": "JWT"} | header
    raw = claims if isinstance(claims, bytes) else json.dumps(claims).encode()
    head = json.dumps({name: value for name, value in stated.items() if value is not None}).encode()
    signed = f"{b64(head)}.{b64(raw)}"
    return f"{signed}.{b64(key.sign(signed.encode()))}"


def seconds() -> int:
    return int(time.time())


def plain(issuer: str, **changes: Any) -> dict[str, Any]:
    """Claims as RFC 9068 has them; those that are None are left out."""
    now = seconds()
    claims = {
        "iss": issuer,
        "sub": "person-1",
        "aud": API,
        "client_id": CLIENT,
        "iat": now,
        "nbf": now,
        "exp": now + 300,
        "jti": "1",
    } | changes
    return {name: value for name, value in claims.items() if value is not None}


def cognito(issuer: str, **changes: Any) -> dict[str, Any]:
    """An Amazon Cognito access token: no audience."""
    shape: dict[str, Any] = {"aud": None, "nbf": None, "token_use": "access", "cognito:groups": ["admin"]}
    return plain(issuer, **shape | changes)


def auth0(issuer: str, **changes: Any) -> dict[str, Any]:
    """An Auth0 access token: several audiences, ``azp``, namespaced claims."""
    shape: dict[str, Any] = {"client_id": None, "nbf": None, "aud": [API, f"{issuer}/userinfo"], "azp": CLIENT}
    return plain(issuer, **shape | {"https://example.com/roles": ["admin"], "permissions": ["keys:manage"]} | changes)


def keycloak(issuer: str, **changes: Any) -> dict[str, Any]:
    """A Keycloak access token: ``typ``, ``azp`` and realm roles."""
    shape: dict[str, Any] = {"client_id": None, "azp": CLIENT, "typ": "Bearer", "nonce": "n"}
    return plain(issuer, **shape | {"realm_access": {"roles": ["admin", "operator"]}} | changes)


@dataclass
class Provider:
    """A running provider. ``served`` is what its key set holds; ``answers`` replaces paths' answers."""

    url: str = ""
    key: Key = field(default_factory=lambda: Key("k1", private=_kept(next(_numbers) % 2)))
    served: list[dict[str, Any]] = field(default_factory=list)
    answers: dict[str, web.Response] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    down: bool = False

    def token(self, **changes: Any) -> str:
        """A good token with changed claims."""
        return token(plain(self.url, **changes), self.key)

    def setting(self, **changes: Any) -> dict[str, Any]:
        """The issuer as CAIO_OIDC_ISSUERS names it."""
        return {"issuer": self.url, "audiences": [API]} | changes


@asynccontextmanager
async def identity_provider() -> AsyncIterator[Provider]:
    """Serve a provider on a free port of 127.0.0.1 until the block ends."""
    provider = Provider()
    provider.served.append(provider.key.jwk())

    async def answer(request: web.Request) -> web.Response:
        provider.asked.append(request.path)
        if provider.down:
            return web.Response(status=503)
        if request.path in provider.answers:
            stated = provider.answers[request.path]
            return web.Response(status=stated.status, body=stated.body, headers=stated.headers)
        if request.path == "/.well-known/openid-configuration":
            return web.json_response({"issuer": provider.url, "jwks_uri": f"{provider.url}/keys"})
        if request.path == "/keys":
            return web.json_response({"keys": provider.served})
        return web.Response(status=404)

    application = web.Application()
    application.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    provider.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield provider
    finally:
        await runner.cleanup()
