"""Keys that are made of secrets from the environment, where no disk outlives the process.

Theory of operation
-------------------
A secret store generates texts, not keys. A text's key is HKDF-SHA256 (RFC 5869) of its UTF-8 bytes, without salt,
with the key's purpose as ``info``: the same text always gives the same key, in every process, and one text given
for two purposes would give two keys that say nothing of each other. Key material that exists already (a key that
was a file) is taken as it is.

A text must hold as much chance as the key is worth: HKDF makes no weak secret strong, and there is no stretching
here, since nobody chooses these texts to remember them.

Laws (each has a test of the same name)
---------------------------------------
- the_same_secret_is_the_same_key: by values that are written down, so that no release ever changes them.
- purposes_are_apart: one secret for both gives unrelated keys.
- key_material_is_taken_as_it_is: a master key or a seed that was a file goes on.
- retired_keys_verify: whatever the retired keys hold, the active one is named once.

Pure. Not checked: how much chance is in a text (``caio.config`` refuses what is known to be weak).
"""

from __future__ import annotations

from collections.abc import Sequence

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from caio.audit.sealing import KEY_BYTES
from caio.audit.signing import SEED_BYTES, Keyring, SigningKey

_MASTER = b"caio/master-key/from-secret/v1"
_SIGNING = b"caio/signing-seed/from-secret/v1"


def master_key(secret: str | bytes) -> bytes:
    """The 32-byte master key of a text, or the one that these bytes are; raises ValueError for another length."""
    return _key(secret, KEY_BYTES, _MASTER)


def keyring(secret: str | bytes, retired: Sequence[bytes] = ()) -> Keyring:
    """The keyring whose active key has this seed, or the one derived of a text; raises ValueError as above."""
    active = SigningKey.generate(_key(secret, SEED_BYTES, _SIGNING))
    return Keyring(active, tuple(dict.fromkeys(key for key in retired if key != active.public_key)))


def _key(secret: str | bytes, length: int, purpose: bytes) -> bytes:
    if isinstance(secret, str):
        return HKDF(algorithm=hashes.SHA256(), length=length, salt=None, info=purpose).derive(secret.encode())
    if len(secret) != length:
        raise ValueError(f"key material has {length} bytes, not {len(secret)}")
    return secret
