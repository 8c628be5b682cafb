"""Access tokens of an identity provider, no two alike, and an authenticator that takes them."""

from __future__ import annotations

import base64
import json
import os
import time
from collections.abc import Iterator, Mapping

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from sqlalchemy import insert

from caio.bootstrap import Installation, now
from caio.storage.sql.members import columns_of
from caio.storage.sql.tables_tenancy import members
from caio.tenancy.authentication import Authenticator, embedded_scope
from caio.tenancy.jws import KeySet, read_key_set
from caio.tenancy.key_sets import KeySets
from caio.tenancy.oidc import Issuer
from caio.tenancy.ports import Member

ISSUER = "https://identity.example"
_AUDIENCE = "caio"


class Signer:
    """Signs tokens with a key of its own, and publishes it as providers do."""

    def __init__(self, algorithm: str) -> None:
        self.algorithm = algorithm
        self._key = (
            rsa.generate_private_key(65_537, 2_048) if algorithm == "RS256" else ec.generate_private_key(ec.SECP256R1())
        )

    async def fetch(self, issuer: Issuer) -> KeySet:
        """The port ``KeySource``, over nothing but this key."""
        public = self._key.public_key()
        named = {"kid": "k1", "alg": self.algorithm, "use": "sig"}
        if isinstance(public, rsa.RSAPublicKey):
            figures = public.public_numbers()
            stated = named | {"kty": "RSA", "n": _number(figures.n, 256), "e": _number(figures.e, 3)}
        else:
            point = public.public_numbers()
            stated = named | {"kty": "EC", "crv": "P-256", "x": _number(point.x, 32), "y": _number(point.y, 32)}
        return read_key_set(json.dumps({"keys": [stated]}).encode())

    def tokens(self) -> Iterator[str]:
        """Headers of one person, each with a token that was never seen."""
        at = int(time.time())
        while True:
            claims = {"iss": ISSUER, "sub": "person", "aud": _AUDIENCE, "client_id": "app", "jti": os.urandom(8).hex()}
            head = {"alg": self.algorithm, "kid": "k1", "typ": "at+jwt"}
            signed = f"{_encoded(head)}.{_encoded(claims | {'iat': at, 'exp': at + 3_600})}"
            yield f"Bearer {signed}.{_base64(self._sign(signed.encode()))}"

    def _sign(self, data: bytes) -> bytes:
        if isinstance(self._key, rsa.RSAPrivateKey):
            return self._key.sign(data, PKCS1v15(), SHA256())
        r, s = decode_dss_signature(self._key.sign(data, ec.ECDSA(SHA256())))
        return r.to_bytes(32) + s.to_bytes(32)


async def authenticator(opened: Installation, signer: Signer) -> Authenticator:
    """One that takes the signer's tokens, over the installation's stores; their bearer is a member."""
    stores, scope = opened.stores, embedded_scope()
    member = Member(f"mem_{os.urandom(8).hex()}", "default", ISSUER, "person", "", "", ("user",), "standard", now())
    async with opened.database.writing(scope) as connection:
        await connection.execute(members.delete())
        await connection.execute(insert(members).values(columns_of(member)))
    issuer = Issuer(ISSUER, "https://identity.example/keys", frozenset({_AUDIENCE}))
    return Authenticator(
        stores.api_keys, stores.tenants, os.urandom(32), now, stores.members, [issuer], KeySets(signer, now)
    )


def _encoded(document: Mapping[str, object]) -> str:
    return _base64(json.dumps(document).encode())


def _number(value: int, size: int) -> str:
    return _base64(value.to_bytes(size))


def _base64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
