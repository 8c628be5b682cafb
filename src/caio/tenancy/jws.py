"""Signed tokens (compact JWS, RFC 7515) and the public keys they are checked with (JWK sets, RFC 7517).

Theory of operation
-------------------
A token is read strictly before anything in it is believed: three parts of canonical base 64, two JSON
objects of bounded size without repeated members. Its header says which of the issuer's keys to look up,
and nothing else: keys come from the set that was fetched from the configured address, an algorithm is a
property of the key, and what a header says of keys and addresses (``jku``, ``x5u``, ``jwk``) is not read.

Laws (each has a test of the same name)
---------------------------------------
- a_key_has_one_algorithm: an RSA key verifies RS256 alone, P-256 ES256, Ed25519 EdDSA; symmetric and private
  keys are in no set. So a public key is never an HMAC secret, and ``none`` is nobody's algorithm.
- a_kid_is_a_name_only: it is compared with names of the set, whatever it looks like.
- what_is_read_twice_is_read_once: a repeated JSON member refuses the token.
- a_signature_covers_what_is_read: one changed character of any part refuses the token.

Keys are imported by joserfc, which checks their parameters, once for each fetched set; signatures are
verified by the ``cryptography`` package, at half of joserfc's cost for a call. Pure but for the import of
joserfc (the extra ``oidc``), which is late: an installation without issuers does not need it.
"""

from __future__ import annotations

import binascii
import json
import re
import string
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from caio.foundation.errors import Misconfigured

#: The algorithms there are; each takes one kind of key.
ALGORITHMS = ("RS256", "ES256", "EdDSA")

LONGEST_TOKEN = 16_384
LONGEST_KID = 256
MOST_KEYS = 64
#: Sizes of RSA keys: below, they are weak (NIST SP 800-131A); beyond, verifying is slow.
RSA_BITS = range(2048, 8193)

_TOKEN = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)")
#: From the alphabet of URLs (RFC 4648, 5) to the standard one, and what the last character may be for each length
#: modulo 4: one whose spare bits are zero.
_STANDARD = bytes.maketrans(b"-_", b"+/")
_ALPHABET = string.ascii_uppercase + string.ascii_lowercase + string.digits + "-_"
_LAST = {0: frozenset(_ALPHABET), 2: frozenset(_ALPHABET[::16]), 3: frozenset(_ALPHABET[::4])}
_PKCS1, _SHA256, _ECDSA = padding.PKCS1v15(), hashes.SHA256(), ec.ECDSA(hashes.SHA256())
_P256_BYTES = 32

PublicKey = RSAPublicKey | ec.EllipticCurvePublicKey | Ed25519PublicKey


class TokenRefused(ValueError):
    """A token that proves nothing; the message is for the operator's log and holds nothing of the token."""


@dataclass(frozen=True, slots=True)
class Token:
    """A token as it was read; nothing of it is proven before ``VerifyingKey.verify``."""

    algorithm: str
    kid: str | None
    kind: str | None
    claims: Mapping[str, Any]
    signed: bytes
    signature: bytes


@dataclass(frozen=True, slots=True)
class VerifyingKey:
    """A public key with the one algorithm that it verifies."""

    kid: str | None
    algorithm: str
    key: PublicKey

    def verify(self, token: Token) -> None:
        """Raises TokenRefused unless the token was signed with this key and its algorithm."""
        if token.algorithm != self.algorithm:
            raise TokenRefused("the algorithm is not the key's")
        try:
            if isinstance(self.key, RSAPublicKey):
                self.key.verify(token.signature, token.signed, _PKCS1, _SHA256)
            elif isinstance(self.key, Ed25519PublicKey):
                self.key.verify(token.signature, token.signed)
            else:
                self.key.verify(_der(token.signature), token.signed, _ECDSA)
        except InvalidSignature:
            raise TokenRefused("the signature is not valid") from None


class KeySet:
    """The keys of one issuer that can verify tokens."""

    def __init__(self, keys: Sequence[VerifyingKey]) -> None:
        self._keys = {(key.kid, key.algorithm): key for key in reversed(keys)}  # of two with a name, the first

    def __len__(self) -> int:
        return len(self._keys)

    def find(self, token: Token) -> VerifyingKey | None:
        """The key that the token names; for one that names none, the only one of its algorithm."""
        if token.kid is not None:
            return self._keys.get((token.kid, token.algorithm))
        fitting = [key for (_, algorithm), key in self._keys.items() if algorithm == token.algorithm]
        return fitting[0] if len(fitting) == 1 else None


def read_token(text: str) -> Token:
    """The token, not verified. Raises TokenRefused for anything but a signed token in canonical form."""
    if len(text) > LONGEST_TOKEN:
        raise TokenRefused("the token is too long")
    parts = _TOKEN.fullmatch(text)
    if parts is None:
        raise TokenRefused("not three parts of base 64")
    header = _object(parts[1], "header")
    algorithm, kid, kind = header.get("alg"), header.get("kid"), header.get("typ")
    if algorithm not in ALGORITHMS:
        raise TokenRefused("the algorithm is none that is taken")
    if "crit" in header or "b64" in header or "zip" in header:
        raise TokenRefused("the header demands what is not understood")
    if kid is not None and (type(kid) is not str or len(kid) > LONGEST_KID):
        raise TokenRefused("the key's name is not a short text")
    if kind is not None and type(kind) is not str:
        raise TokenRefused("the token's type is not a text")
    signed = text[: parts.end(2)].encode()
    return Token(algorithm, kid, kind, _object(parts[2], "payload"), signed, _decoded(parts[3]))


def check_installed() -> None:
    """Raises Misconfigured without the extra ``oidc``: for the start, before any token comes."""
    _jose()


def read_key_set(raw: bytes) -> KeySet:
    """The keys of a JWK set that may verify signatures; others are left out. Raises TokenRefused for what is no
    JWK set or has more than MOST_KEYS keys, Misconfigured without the extra ``oidc``."""
    document = _json(raw, "key set")
    listed = document.get("keys")
    if type(listed) is not list or len(listed) > MOST_KEYS:
        raise TokenRefused(f"the key set is not a list of at most {MOST_KEYS} keys")
    return KeySet([key for each in listed if isinstance(each, dict) and (key := _key(each)) is not None])


def _key(document: dict[str, Any]) -> VerifyingKey | None:
    kid = document.get("kid")
    uses = document.get("key_ops", ["verify"])
    if document.get("use", "sig") != "sig" or type(uses) is not list or "verify" not in uses:
        return None
    if "d" in document or (kid is not None and (type(kid) is not str or len(kid) > LONGEST_KID)):
        return None
    key = _imported(document)
    algorithm = _algorithm(key)
    if key is None or algorithm is None or document.get("alg", algorithm) != algorithm:
        return None
    return VerifyingKey(kid, algorithm, key)


def _jose() -> tuple[Any, Any]:
    """joserfc's errors and keys."""
    try:
        from joserfc import errors, jwk
    except ModuleNotFoundError as error:
        raise Misconfigured("issuers (CAIO_OIDC_ISSUERS) need the extra: pip install 'caio-platform[oidc]'") from error
    return errors, jwk


def _imported(document: dict[str, Any]) -> Any:
    """The key as an object of ``cryptography``; None for one of another kind or with unusable parameters."""
    errors, jwk = _jose()
    if document.get("kty") not in ("RSA", "EC", "OKP"):
        return None
    # What a key says of certificates and other addresses is nobody's business here.
    parameters: dict[str, str | list[str]] = {
        name: value for name in ("kty", "n", "e", "crv", "x", "y") if type(value := document.get(name)) is str
    }
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", errors.SecurityWarning)  # weak keys are left out below
            return jwk.import_key(parameters).get_op_key("verify")
    except (errors.JoseError, ValueError, TypeError, KeyError):
        return None


def _algorithm(key: object) -> str | None:
    match key:
        case RSAPublicKey(key_size=bits) if bits in RSA_BITS:
            return "RS256"
        case ec.EllipticCurvePublicKey(curve=ec.SECP256R1()):
            return "ES256"
        case Ed25519PublicKey():
            return "EdDSA"
    return None


def _der(signature: bytes) -> bytes:
    """An ECDSA signature of JWS (RFC 7518, 3.4: both numbers, 32 bytes each) as X.509 writes it."""
    if len(signature) != 2 * _P256_BYTES:
        raise TokenRefused("the signature has another length")
    numbers = (signature[:_P256_BYTES], signature[_P256_BYTES:])
    return encode_dss_signature(*(int.from_bytes(number) for number in numbers))


def _object(part: str, name: str) -> dict[str, Any]:
    return _json(_decoded(part), name)


def _decoded(part: str) -> bytes:
    """Base 64 in its one canonical form: no padding, and spare bits at the end are zero."""
    if len(part) % 4 == 1 or part[-1] not in _LAST[len(part) % 4]:
        raise TokenRefused("not canonical base 64")
    return binascii.a2b_base64(part.encode().translate(_STANDARD) + b"==")


def _json(raw: bytes, name: str) -> dict[str, Any]:
    try:
        document = _READER.decode(raw.decode())
    except (ValueError, RecursionError):
        raise TokenRefused(f"the {name} is not JSON without repeated members") from None
    if type(document) is not dict:
        raise TokenRefused(f"the {name} is not a JSON object")
    return document


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a repeated member")
    return members


def _no_constant(text: str) -> None:
    raise ValueError(f"{text} is not JSON")


_READER = json.JSONDecoder(object_pairs_hook=_once, parse_constant=_no_constant)
