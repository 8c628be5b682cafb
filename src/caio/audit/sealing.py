"""Envelope encryption: what the journal keeps can be read with the tenant's key only.

Theory of operation
-------------------
Each tenant has one *data key*, kept wrapped: by a key that is derived from the installation's
*master key* (``LocalWrapping``), or by a key service that never gives its key away. Destroying a
tenant's data key makes everything sealed with it unreadable for good, while the journal's
commitments stay and can still be verified. A vault keeps unwrapped keys in memory and looks every
``LOOK_SECONDS`` whether the stored one is still there, so that a key which another process
destroyed falls out of use.

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
- a_destroyed_key_falls_out_of_use: here at once, in other processes within LOOK_SECONDS and the time
  of one look; no other key is ever made for that tenant.

Not reached by destruction: values that were opened before, and copies of the wrapped key in backups
of the database. Not hidden: the length of a value. Not detected here: an old value put back under its own
context; the journal's order and its tree are for that.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from caio.audit.ports import KeyWrapping, TenantKeyStore
from caio.foundation.canonical import canonical_plain
from caio.foundation.errors import Erased, SealBroken
from caio.foundation.hashing import keyed
from caio.foundation.scope import TenantScope

#: ``entropy(n)`` returns n bytes from a cryptographic source: ``os.urandom`` outside of tests.
Entropy = Callable[[int], bytes]
#: Seconds that only ever grow: ``time.monotonic`` outside of tests.
Clock = Callable[[], float]

KEY_BYTES = 32
SEALS_PER_RUN = 2**24
#: How long a key is used before the vault looks whether it was destroyed.
LOOK_SECONDS = 5.0
#: Tenants whose keys are held; another's is unwrapped again when it is needed.
TENANTS_KEPT = 10_000

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
    return canonical_plain(["caio/sealed/v1", tenant_id, kind, subject_id])


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

    def keyed_name(self, content: bytes) -> str:
        """A name of ``content``, in hex, that nobody can make or recognise without this key (HMAC-SHA256).
        ``content`` begins with its purpose."""
        return keyed(self._key, content).hex()

    def _begin_run(self) -> None:
        self._run = self._entropy(_RUN_BYTES)
        self._cipher = self._cipher_of(self._run)
        self._left = SEALS_PER_RUN

    def _cipher_of(self, run: bytes) -> AESGCM:
        return AESGCM(keyed(self._key, _RUN_PURPOSE + run))


class LocalWrapping:
    """The ``KeyWrapping`` port with the installation's own master key."""

    def __init__(self, master: bytes, entropy: Entropy) -> None:
        self._sealer = Sealer(derive(master, _WRAPPING), entropy)

    async def wrap(self, key: bytes, tenant_id: str) -> bytes:
        return self._sealer.seal(key, sealing_context(tenant_id, _TENANT_KEY, tenant_id))

    async def unwrap(self, wrapped: bytes, tenant_id: str) -> bytes:
        try:
            return self._sealer.open(wrapped, sealing_context(tenant_id, _TENANT_KEY, tenant_id))
        except SealBroken as broken:
            raise SealBroken(
                f"The data key of tenant {tenant_id} does not open with this master key. "
                "Put back the master key file that belongs to this database."
            ) from broken


@dataclass(slots=True)
class _Held:
    """A tenant's key in memory, as it was stored when last looked at; ``until`` is when to look again."""

    wrapped: bytes
    sealer: Sealer
    until: float


class TenantVault:
    """The sealers of all tenants: data keys unwrapped once and kept in memory, never stored in clear."""

    def __init__(self, wrapping: KeyWrapping, keys: TenantKeyStore, entropy: Entropy, clock: Clock) -> None:
        self._wrapping = wrapping
        self._keys = keys
        self._entropy = entropy
        self._clock = clock
        self._held: dict[str, _Held] = {}
        self._forgotten = 0  # how often, of any tenant

    async def sealer(self, scope: TenantScope) -> Sealer:
        """The tenant's sealer; its data key is made on first use.

        Raises Erased ``tenant_key_destroyed`` after its destruction, and what the wrapping's ``unwrap`` raises.
        """
        held, now = self._held.get(scope.tenant_id), self._clock()
        if held is not None and now < held.until:
            return held.sealer
        if held is not None:
            held.until = now + LOOK_SECONDS  # one caller looks; whoever comes meanwhile does not wait
        try:
            return await self._looked_up(scope, now)
        except BaseException as error:
            if isinstance(error, Erased):
                self.forget(scope.tenant_id)
            elif held is not None:
                held.until = now  # nobody knows: the next caller looks
            raise

    def held(self, scope: TenantScope) -> Sealer | None:
        """What ``sealer`` would answer now without waiting; None when it would wait."""
        held = self._held.get(scope.tenant_id)
        return held.sealer if held is not None and self._clock() < held.until else None

    def forget(self, tenant_id: str) -> None:
        """Drop the tenant's key from memory; the next use reads it again, and so does one under way."""
        self._forgotten += 1
        self._held.pop(tenant_id, None)

    async def destroy(self, scope: TenantScope, now: int) -> bool:
        """Destroy the tenant's data key for good at ``now`` (microseconds since the epoch); whether this call
        did. Raises NotFound for an unknown tenant."""
        destroyed = await self._keys.destroy(scope, now)
        self.forget(scope.tenant_id)
        return destroyed

    async def _looked_up(self, scope: TenantScope, now: float) -> Sealer:
        tenant_id, forgotten = scope.tenant_id, self._forgotten
        wrapped = await self._keys.find(scope)
        if wrapped is None:
            fresh = await self._wrapping.wrap(self._entropy(KEY_BYTES), tenant_id)
            wrapped = await self._keys.wrapped_key(scope, fresh)
        if (held := self._held.get(tenant_id)) is not None and held.wrapped == wrapped:
            return held.sealer
        sealer = Sealer(await self._wrapping.unwrap(wrapped, tenant_id), self._entropy)
        if (held := self._held.get(tenant_id)) is not None and held.wrapped == wrapped:
            return held.sealer  # another first use was faster
        if self._forgotten != forgotten:
            return await self._looked_up(scope, now)  # what was found may have been destroyed since
        self._held[tenant_id] = _Held(wrapped, sealer, now + LOOK_SECONDS)
        if len(self._held) > TENANTS_KEPT:
            del self._held[next(iter(self._held))]
        return sealer
