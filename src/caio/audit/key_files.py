"""Keys on disk: the master key, the signing key and the public keys of retired ones.

Theory of operation
-------------------
    DIRECTORY/active.pem            private key, PKCS #8, mode 0600
    DIRECTORY/retired/<key_id>.pem  public keys, SubjectPublicKeyInfo

A file appears complete or not at all: it is written under a temporary name, synced, and then
linked (which fails if the name is taken) or renamed. Loading needs no right to write. Rotation
publishes the old public key before it replaces the private one, so that a crash in between loses
neither, and holds a lock, so that no key of a second rotation is lost.

Laws (each has a test of the same name)
---------------------------------------
- keys_are_made_once: processes that start together end up with the same key.
- private_files_are_private: mode 0600 when written; refused when others may read them.
- rotation_keeps_old_receipts_verifiable: also when it is interrupted.
"""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from caio.audit import whole_files
from caio.audit.sealing import KEY_BYTES
from caio.audit.signing import SEED_BYTES, Keyring, SigningKey, key_id_of
from caio.foundation.errors import Misconfigured

ACTIVE = "active.pem"
RETIRED = "retired"


def load_or_create(directory: Path) -> Keyring:
    """The keyring in ``directory``; a key is generated when there is none.

    Raises Misconfigured when a file is unreadable, damaged, or readable by others.
    """
    pem = _load_or_create(directory / ACTIVE, lambda: SigningKey.generate(os.urandom(SEED_BYTES)).to_pem())
    return _keyring(directory, SigningKey.from_pem(pem))


def rotate(directory: Path) -> Keyring:
    """Retire the active key and make a new one. The retired private key is gone for good.

    A running server goes on signing with the old key until it loads the directory again; both
    kinds of receipt verify against the new key set. Raises Misconfigured as ``load_or_create`` does.
    """
    if not (directory / ACTIVE).exists():
        raise Misconfigured(f"There is no signing key in {directory} to rotate; start the server once to make it.")
    with _locked(directory):
        old = SigningKey.from_pem(_read_private(directory / ACTIVE))
        published = directory / RETIRED / f"{old.key_id}.pem"
        if not published.exists():
            _create(published, _public_pem(old.public_key), mode=0o644)
        new = SigningKey.generate(os.urandom(SEED_BYTES))
        _replace(directory / ACTIVE, new.to_pem())
        return _keyring(directory, new)


def load_or_create_master(path: Path) -> bytes:
    """The 32-byte master key in ``path``, generated when there is none.

    Whoever loses this file loses everything sealed under it. Raises Misconfigured when the file
    is unreadable, has another length, or is readable by others.
    """
    key = _load_or_create(path, lambda: os.urandom(KEY_BYTES))
    if len(key) != KEY_BYTES:
        raise Misconfigured(f"{path} holds {len(key)} bytes where a master key has {KEY_BYTES}; restore it.")
    return key


def _keyring(directory: Path, active: SigningKey) -> Keyring:
    retired = (_read_public(path) for path in sorted((directory / RETIRED).glob("*.pem")))
    return Keyring(active, tuple(key for key in retired if key != active.public_key))


def _read_public(path: Path) -> bytes:
    try:
        public = serialization.load_pem_public_key(path.read_bytes())
    except (OSError, ValueError) as error:
        raise Misconfigured(f"{path} is not a readable public key in PEM form; restore or remove it.") from error
    if not isinstance(public, Ed25519PublicKey) or key_id_of(public.public_bytes_raw()) != path.stem:
        raise Misconfigured(f"{path} does not hold the Ed25519 key that its name says; restore or remove it.")
    return public.public_bytes_raw()


def _public_pem(public_key: bytes) -> bytes:
    return Ed25519PublicKey.from_public_bytes(public_key).public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def _load_or_create(path: Path, make: Callable[[], bytes]) -> bytes:
    try:
        if not path.exists():
            with suppress(FileExistsError):  # another process was first
                _create(path, make(), mode=0o600)
    except OSError as error:
        raise Misconfigured(f"{path} cannot be created: {error.strerror}.") from error
    return _read_private(path)


def _read_private(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            if mode & 0o077:
                raise Misconfigured(
                    f"{path} may be read or changed by others (mode {mode:04o}); run: chmod 600 {path}. "
                    "If others had access to this machine, replace the key."
                )
            return file.read()
    except OSError as error:
        raise Misconfigured(f"{path} cannot be read: {error.strerror}.") from error


def _create(path: Path, content: bytes, mode: int) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    whole_files.create(path, content, mode)


def _replace(path: Path, content: bytes) -> None:
    whole_files.write_temporary(path, content, mode=0o600).replace(path)
    whole_files.sync_directory(path.parent)


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Hold ``directory`` against other rotations, of this process or another."""
    descriptor = os.open(directory / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
