"""Key files: made once, private, and rotated without losing old receipts."""

import os
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from caio.audit import key_files
from caio.audit.key_files import load_or_create, load_or_create_master, rotate
from caio.audit.signing import is_signed_by
from caio.foundation.errors import Misconfigured


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def leftovers(directory):
    return [path.name for path in directory.rglob(".*") if path.name != ".lock"]


def test_a_key_is_made_at_first_and_found_again(tmp_path):
    first = load_or_create(tmp_path / "keys")
    assert load_or_create(tmp_path / "keys").trusted_keys() == first.trusted_keys()
    assert first.retired == ()
    assert leftovers(tmp_path / "keys") == []


def test_keys_are_made_once(tmp_path):
    program = (
        "import sys; from pathlib import Path; from caio.audit.key_files import *;"
        "path = Path(sys.argv[1]);"
        "print(load_or_create(path / 'keys').active.key_id, load_or_create_master(path / 'master.key').hex())"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE) for _ in range(4)
    ]
    assert len({process.communicate(timeout=30)[0] for process in processes}) == 1
    assert all(process.returncode == 0 for process in processes)


def test_threads_that_race_get_the_same_key(tmp_path):
    with ThreadPoolExecutor(16) as pool:
        keys = set(pool.map(lambda _: load_or_create_master(tmp_path / "master.key"), range(64)))
    assert len(keys) == 1
    assert leftovers(tmp_path) == []


def test_private_files_are_private(tmp_path):
    before = os.umask(0)
    try:
        load_or_create(tmp_path / "keys")
        load_or_create_master(tmp_path / "master.key")
        rotate(tmp_path / "keys")
    finally:
        os.umask(before)
    for path in (tmp_path / "keys" / "active.pem", tmp_path / "master.key"):
        assert mode(path) == 0o600
    assert mode(tmp_path / "keys") == 0o700


@pytest.mark.parametrize("bits", [0o640, 0o604, 0o660, 0o610, 0o602])
def test_files_that_others_may_read_are_refused(tmp_path, bits):
    load_or_create(tmp_path / "keys")
    load_or_create_master(tmp_path / "master.key")
    (tmp_path / "keys" / "active.pem").chmod(bits)
    (tmp_path / "master.key").chmod(bits)
    for load in (
        lambda: load_or_create(tmp_path / "keys"),
        lambda: rotate(tmp_path / "keys"),
        lambda: load_or_create_master(tmp_path / "master.key"),
    ):
        with pytest.raises(Misconfigured, match="chmod 600"):
            load()


def test_stricter_files_are_accepted(tmp_path):
    key = load_or_create_master(tmp_path / "master.key")
    (tmp_path / "master.key").chmod(0o400)
    assert load_or_create_master(tmp_path / "master.key") == key


def test_rotation_keeps_old_receipts_verifiable(tmp_path):
    rings = [load_or_create(tmp_path)]
    signatures = [rings[0].active.sign(b"receipt")]
    for _ in range(3):
        rings.append(rotate(tmp_path))
        signatures.append(rings[-1].active.sign(b"receipt"))
    trusted = load_or_create(tmp_path).trusted_keys()
    assert trusted == rings[-1].trusted_keys()
    assert len(trusted) == 4
    for ring, signature in zip(rings, signatures, strict=True):
        assert is_signed_by(trusted[ring.active.key_id], b"receipt", signature)
    assert list(tmp_path.glob("*.pem")) == [tmp_path / "active.pem"]  # no old private key is left
    assert all(b"PRIVATE" not in path.read_bytes() for path in (tmp_path / "retired").iterdir())


def test_an_interrupted_rotation_changes_nothing(tmp_path, monkeypatch):
    old = load_or_create(tmp_path)

    def interrupted(path, content):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(key_files, "_replace", interrupted)
        with pytest.raises(KeyboardInterrupt):
            rotate(tmp_path)
    assert load_or_create(tmp_path).trusted_keys() == old.trusted_keys()
    assert old.active.key_id in rotate(tmp_path).trusted_keys()


def test_rotations_at_once_lose_no_key(tmp_path):
    first = load_or_create(tmp_path)
    with ThreadPoolExecutor(8) as pool:
        rings = list(pool.map(lambda _: rotate(tmp_path), range(8)))
    assert set(load_or_create(tmp_path).trusted_keys()) == {
        first.active.key_id,
        *(ring.active.key_id for ring in rings),
    }


def test_there_must_be_a_key_to_rotate(tmp_path):
    with pytest.raises(Misconfigured, match="start the server once"):
        rotate(tmp_path / "keys")


@pytest.mark.parametrize("content", [b"", b"k" * 31, b"k" * 33])
def test_a_master_key_of_another_length_is_refused(tmp_path, content):
    path = tmp_path / "master.key"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(Misconfigured, match="32"):
        load_or_create_master(path)
    assert path.read_bytes() == content


def test_damaged_keys_are_named(tmp_path):
    load_or_create(tmp_path)
    retired = rotate(tmp_path)
    published = next((tmp_path / "retired").iterdir())
    good = published.read_bytes()
    published.write_bytes(b"damaged")
    with pytest.raises(Misconfigured, match=published.name):
        load_or_create(tmp_path)
    published.write_bytes(good)
    published.rename(published.with_name("0123456789abcdef.pem"))
    with pytest.raises(Misconfigured, match="0123456789abcdef"):
        load_or_create(tmp_path)
    published.with_name("0123456789abcdef.pem").unlink()
    assert load_or_create(tmp_path).active.key_id == retired.active.key_id
    (tmp_path / "active.pem").write_bytes(b"damaged")
    with pytest.raises(Misconfigured, match="Ed25519"):
        load_or_create(tmp_path)


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(Misconfigured, match="active"):
        load_or_create(tmp_path / "file")
    with pytest.raises(Misconfigured, match=r"master\.key"):
        load_or_create_master(tmp_path / "file" / "master.key")
