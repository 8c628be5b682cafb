"""Keys made of secrets: by values that no release may change, since stored data and receipts depend on them."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caio.audit.key_files import load_or_create, load_or_create_master
from caio.audit.key_secrets import keyring, master_key
from caio.audit.sealing import derive
from caio.audit.signing import is_signed_by, key_id_of

SECRET = "Zr0aQ8e2Yb7LkVd5NfXh3TgMj9CpWuS1oIvEyKzRmBx4"


def test_the_same_secret_is_the_same_key() -> None:
    # HKDF-SHA256 of the text, without salt; worked out with OpenSSL's kdf command.
    assert master_key(SECRET).hex() == "877255595339077e323710198dbe2580e79161498b691cf6c84ddced5c2d8ea2"
    assert keyring(SECRET).active.public_key.hex() == "e4e4e54d98b5beaf1ce8e2db2f99a06c6ecffc7afeb6bf95c962a9f2d46c16b0"
    assert master_key("ä" * 43) == master_key("ä" * 43) != master_key("a" * 43)


@given(st.text(min_size=43))
def test_purposes_are_apart(secret: str) -> None:
    assert (
        len({master_key(secret), keyring(secret).active.public_key, keyring(master_key(secret)).active.public_key}) == 3
    )


def test_key_material_is_taken_as_it_is(tmp_path: Path) -> None:
    master = load_or_create_master(tmp_path / "master.key")
    assert master_key(master) == master
    seed = derive(master, "a seed")
    assert keyring(seed).active.public_key == keyring(seed).active.public_key
    old = load_or_create(tmp_path / "signing").active
    assert keyring(old._private.private_bytes_raw()).active.key_id == old.key_id


@pytest.mark.parametrize("length", [0, 31, 33, 64])
def test_key_material_of_another_length_is_refused(length: int) -> None:
    for make in (master_key, keyring):
        with pytest.raises(ValueError, match="32 bytes"):
            make(bytes(length))


def test_retired_keys_verify() -> None:
    old, new = keyring("o" * 43), keyring("n" * 43)
    both = keyring("n" * 43, (old.active.public_key, new.active.public_key, old.active.public_key))
    assert both.retired == (old.active.public_key,)
    trusted = both.trusted_keys()
    assert set(trusted) == {old.active.key_id, new.active.key_id}
    for each in (old.active, new.active):
        assert is_signed_by(trusted[key_id_of(each.public_key)], b"signed", each.sign(b"signed"))
