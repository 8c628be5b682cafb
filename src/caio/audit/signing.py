"""Ed25519 keys as values: signing keys, their public halves, and the document that publishes them.

Theory of operation
-------------------
A key is known by its id, the first 16 hexadecimal characters of SHA-256 over the raw public key.
The id only finds a key. Trust comes from the set of public keys that a verifier got beforehand
and pinned: never from a key or an id inside of what is verified.

A keyring has one active key, which signs, and the public keys of retired ones, which keep old
signatures verifiable. The private half of a retired key no longer exists.

Laws (each has a test of the same name)
---------------------------------------
- only_the_signed_message_verifies: RFC 8032's vectors hold; any flipped bit is refused.
- key_sets_round_trip: a published key set reads back as the same trusted keys.
- key_sets_are_checked: an id that does not belong to its key is refused, with every violation.

Pure, except that ``SigningKey.generate`` takes its seed as an argument: no file, clock or entropy.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from caio.foundation.errors import InvalidInput, Misconfigured, Violation

ALGORITHM = "Ed25519"
PUBLIC_KEY_BYTES = 32
SIGNATURE_BYTES = 64
SEED_BYTES = 32


def key_id_of(public_key: bytes) -> str:
    """The id of a raw public key: 16 hexadecimal characters."""
    return hashlib.sha256(public_key).hexdigest()[:16]


def is_signed_by(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Whether ``signature`` is Ed25519 (RFC 8032) of ``message`` under the raw ``public_key``.

    False also for keys and signatures of a wrong length. Whether the key is trusted is not checked.
    """
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


class SigningKey:
    """A private key. Its text form is kept out of ``repr``, logs and errors."""

    def __init__(self, private: Ed25519PrivateKey) -> None:
        self._private = private
        self.public_key = private.public_key().public_bytes_raw()
        self.key_id = key_id_of(self.public_key)

    @classmethod
    def generate(cls, seed: bytes) -> SigningKey:
        """The key of 32 random bytes; raises ValueError for another length."""
        return cls(Ed25519PrivateKey.from_private_bytes(seed))

    @classmethod
    def from_pem(cls, pem: bytes) -> SigningKey:
        """Read an unencrypted PKCS #8 key; raises Misconfigured for anything else."""
        try:
            private = serialization.load_pem_private_key(pem, password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            private = None
        if not isinstance(private, Ed25519PrivateKey):
            raise Misconfigured("The signing key is not an unencrypted Ed25519 private key in PEM (PKCS #8) form.")
        return cls(private)

    def to_pem(self) -> bytes:
        return self._private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    def sign(self, message: bytes) -> bytes:
        return self._private.sign(message)

    def __repr__(self) -> str:
        return f"SigningKey({self.key_id})"


@dataclass(frozen=True, slots=True)
class Keyring:
    """The key that signs, and the raw public keys of those that did before."""

    active: SigningKey
    retired: tuple[bytes, ...] = ()

    def trusted_keys(self) -> dict[str, bytes]:
        """Raw public keys by id, as a verifier pins them."""
        return {key_id_of(key): key for key in (*self.retired, self.active.public_key)}


def key_set(keyring: Keyring) -> dict[str, Any]:
    """The public document: ``{"keys": [{"key_id", "algorithm", "public_key", "status"}]}``, active first."""

    def entry(public_key: bytes, status: str) -> dict[str, str]:
        return {
            "key_id": key_id_of(public_key),
            "algorithm": ALGORITHM,
            "public_key": base64.b64encode(public_key).decode(),
            "status": status,
        }

    retired = [entry(key, "retired") for key in keyring.retired if key != keyring.active.public_key]
    return {"keys": [entry(keyring.active.public_key, "active"), *retired]}


def read_key_set(document: Any) -> dict[str, bytes]:
    """The trusted keys of a key set document, retired ones included.

    Raises InvalidInput with every violation. Where the document came from is not checked: that is
    what pinning means. Keys of an algorithm that is not known here are left out.
    """
    entries = document.get("keys") if isinstance(document, Mapping) else None
    if not isinstance(entries, list) or not entries:
        raise InvalidInput("This is not a key set.", [Violation("/keys", "must be a list of at least one key")])
    keys: dict[str, bytes] = {}
    violations: list[Violation] = []
    for index, entry in enumerate(entries):
        if not isinstance(entry, Mapping):
            violations.append(Violation(f"/keys/{index}", "must be an object"))
        elif entry.get("algorithm") == ALGORITHM:
            public_key = _raw(entry.get("public_key"), PUBLIC_KEY_BYTES)
            if public_key is None:
                violations.append(Violation(f"/keys/{index}/public_key", "must be 32 bytes in base64"))
            elif entry.get("key_id") != key_id_of(public_key):
                violations.append(Violation(f"/keys/{index}/key_id", f"must be {key_id_of(public_key)} for this key"))
            else:
                keys[key_id_of(public_key)] = public_key
    if violations:
        raise InvalidInput("The key set has mistakes; get it again from its publisher.", violations)
    if not keys:
        raise InvalidInput("The key set holds no Ed25519 key.", [Violation("/keys", "no key of a known algorithm")])
    return keys


def read_signature(text: str) -> bytes | None:
    """The 64 bytes of a base64 signature, or None. One signature has one text (RFC 4648, section 3.5)."""
    return _raw(text, SIGNATURE_BYTES)


def _raw(text: Any, length: int) -> bytes | None:
    try:
        raw = base64.b64decode(text, validate=True) if isinstance(text, str) else b""
    except (binascii.Error, ValueError):
        return None
    return raw if len(raw) == length and base64.b64encode(raw).decode() == text else None
