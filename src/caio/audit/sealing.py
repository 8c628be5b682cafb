"""Envelope encryption: what the journal keeps can be read with the tenant's key only.

Theory of operation
-------------------
The installation has one *master key*. Each tenant has one *data key*, kept wrapped by a key that
is derived from the master key. Destroying a tenant's data key makes everything sealed with it
unreadable for good, while the journal's commitments stay and can still be verified.

A sealed value is ``version (1 byte) || run (16) || nonce (12) || AES-256-GCM ciphertext and tag``.
GCM with random nonces must not encrypt more than 2**32 values under one key (NIST SP 800-38D,
section 8.3), which a busy tenant reaches within weeks. A sealer therefore works in *runs*: each has a key of its
own, HMAC-SHA256(data key, purpose || run id), and ends after ``SEALS_PER_RUN`` values. The
*context* is authenticated beside the value and names tenant, kind and subject.

Laws (each has a test of the same name)
---------------------------------------
- what_is_sealed_opens: with the same key and context, in any process.
- any_flipped_byte_is_refused: of the sealed value or of its context.
- sealed_values_cannot_be_moved: to another tenant, kind or subject.
- a_run_ends: no run's key seals more than SEALS_PER_RUN values.
- first_writer_wins: concurrent first uses of a tenant's key agree on one key.

Not hidden: the length of a value. Not detected here: an old value put back under its own
context; the journal's order and its tree are for that.
"""

from __future__ import annotations

from collections.abc import Callable

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from caio.audit.ports import TenantKeyStore
from caio.foundation.canonical import canonical_json
from caio.foundation.errors import SealBroken
from caio.foundation.hashing import keyed
from caio.foundation.scope import TenantScope

#: ``entropy(n)`` returns n bytes from a cryptographic source: ``os.urandom`` outside of tests.
Entropy = Callable[[int], bytes]

KEY_BYTES = 32
SEALS_PER_RUN = 2**24

_VERSION = b"\x01"
_RUN_BYTES, _NONCE_BYTES, _TAG_BYTES = 16, 12, 16
_RUN_PURPOSE = b"caio/seal-run/v1\x00"
_WRAPPING = "caio/tenant-key-wrapping/v1"
_TENANT_KEY = "tenant-key"


def derive(master: bytes, purpose: str) -> bytes:
    """A 32-byte key for one purpose (HKDF-SHA256, RFC 5869, without salt; ``info`` is the purpose).

    Raises ValueError unless ``master`` has 32 bytes.
    """
    if len(master) != KEY_BYTES:
        raise ValueError(f"a master key has {KEY_BYTES} bytes, not {len(master)}")
    return HKDF(algorithm=hashes.SHA256(), length=KEY_BYTES, salt=None, info=purpose.encode()).derive(master)


def sealing_context(tenant_id: str, kind: str, subject_id: str) -> bytes:
    """The context of a value: whose it is, what it is and what it is about, unambiguously."""
    return canonical_json(["caio/sealed/v1", tenant_id, kind, subject_id])


class Sealer:
    """Seals and opens values with one 32-byte key. Used by one event loop, not by several threads."""

    def __init__(self, key: bytes, entropy: Entropy) -> None:
        if len(key) != KEY_BYTES:
            raise ValueError(f"a data key has {KEY_BYTES} bytes, not {len(key)}")
        self._key = key
        self._entropy = entropy
        self._begin_run()

    def seal(self, plaintext: bytes, context: bytes) -> bytes:
        """``plaintext``, readable with this key and the same ``context`` only; 45 bytes longer."""
        if self._left == 0:
            self._begin_run()
        self._left -= 1
        nonce = self._entropy(_NONCE_BYTES)
        return b"".join((_VERSION, self._run, nonce, self._cipher.encrypt(nonce, plaintext, context)))

    def open(self, sealed: bytes, context: bytes) -> bytes:
        """What was sealed under ``context``; raises SealBroken for anything else."""
        head = len(_VERSION) + _RUN_BYTES
        if not sealed.startswith(_VERSION) or len(sealed) < head + _NONCE_BYTES + _TAG_BYTES:
            raise SealBroken("Stored data is not sealed in a form this version knows; it may have been changed.")
        run, nonce = sealed[len(_VERSION) : head], sealed[head : head + _NONCE_BYTES]
        cipher = self._cipher if run == self._run else self._cipher_of(run)
        try:
            return cipher.decrypt(nonce, sealed[head + _NONCE_BYTES :], context)
        except InvalidTag:
            raise SealBroken(
                "Stored data does not open: it was changed or moved, or its key is another or destroyed."
            ) from None

    def _begin_run(self) -> None:
        self._run = self._entropy(_RUN_BYTES)
        self._cipher = self._cipher_of(self._run)
        self._left = SEALS_PER_RUN

    def _cipher_of(self, run: bytes) -> AESGCM:
        return AESGCM(keyed(self._key, _RUN_PURPOSE + run))


class TenantVault:
    """The sealers of all tenants: data keys unwrapped once and kept in memory, never stored in clear."""

    def __init__(self, master: bytes, keys: TenantKeyStore, entropy: Entropy) -> None:
        self._wrapping = Sealer(derive(master, _WRAPPING), entropy)
        self._keys = keys
        self._entropy = entropy
        self._sealers: dict[str, Sealer] = {}

    async def sealer(self, scope: TenantScope) -> Sealer:
        """The tenant's sealer; its data key is made on first use.

        Raises SealBroken when the stored key was not wrapped by this master key.
        """
        known = self._sealers.get(scope.tenant_id)
        if known is not None:
            return known
        context = sealing_context(scope.tenant_id, _TENANT_KEY, scope.tenant_id)
        fresh = self._wrapping.seal(self._entropy(KEY_BYTES), context)
        wrapped = await self._keys.wrapped_key(scope, fresh)
        try:
            key = self._wrapping.open(wrapped, context)
        except SealBroken as broken:
            raise SealBroken(
                f"The data key of tenant {scope.tenant_id} does not open with this master key. "
                "Put back the master key file that belongs to this database."
            ) from broken
        return self._sealers.setdefault(scope.tenant_id, Sealer(key, self._entropy))
