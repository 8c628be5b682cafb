"""An installation whose keys are secrets of the environment: no file is needed, and another secret is refused."""

from __future__ import annotations

import base64
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from caio.audit.key_secrets import keyring
from caio.bootstrap import open_installation
from caio.config import read_settings
from caio.foundation.errors import Misconfigured, SealBroken
from caio.tenancy.authentication import embedded_scope
from tests.support.caio_command import run_caio
from tests.support.emulated_aws import emulated_aws
from tests.support.processes import upgraded_file

MASTER, SIGNING, NEXT = "Zr0aQ8e2Yb7LkVd5NfXh3TgMj9CpWuS1oIvEyKzRmBx4", "s1" * 30, "s2" * 30


PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "run-several-processes.md"


def _printed(command: str, folder: Path) -> str:
    return subprocess.run(["sh", "-c", command], cwd=folder, check=True, capture_output=True, text=True).stdout


def public(secret: str) -> str:
    return base64.b64encode(keyring(secret).active.public_key).decode()


class Started:
    """Starts of one installation, each like a task's: with its database, and otherwise an empty directory."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    async def __call__(self, **stated: Any) -> tuple[str, set[str], str | None]:
        """The key that signed, those that verify, and the first API key where this start made it."""
        shutil.rmtree(self.folder / "keys", ignore_errors=True)
        settings = read_settings(
            data_dir=self.folder, **{"auth_secret_key": MASTER, "signing_secret": SIGNING, "anchor": "none"} | stated
        )
        async with open_installation(settings) as installation:
            first = await installation.api_keys.create_first(embedded_scope())
            await installation.sequencer.take_in("default")
            assert installation.sequencer.trouble is None
            keys = installation.keyring
            return keys.active.key_id, set(keys.trusted_keys()), None if first is None else first.token


@pytest.fixture
def started(tmp_path: Path) -> Started:
    (tmp_path / "data").mkdir(mode=0o700)
    (tmp_path / "data" / "caio.db").write_bytes(upgraded_file())
    return Started(tmp_path / "data")


async def test_every_start_has_the_same_keys_and_writes_none(started: Started) -> None:
    first, trusted, token = await started()
    assert token is not None
    assert (await started())[:2] == (first, trusted)
    assert first == keyring(SIGNING).active.key_id
    assert list((started.folder / "keys").iterdir()) == []


async def test_another_master_secret_is_refused(started: Started) -> None:
    await started()
    with pytest.raises(SealBroken):
        await started(auth_secret_key=NEXT)
    await started()


async def test_a_key_that_was_a_file_goes_on_as_a_secret(started: Started) -> None:
    settings = read_settings(data_dir=started.folder, anchor="none")
    async with open_installation(settings) as installation:
        signed = installation.keyring.active
    # As docs/how-to/run-several-processes.md says to do it.
    commands = {
        "auth_secret_key": "base64 -w0 keys/master.key",
        "signing_secret": "openssl pkey -in keys/signing/active.pem -outform DER | tail -c 32 | base64 -w0",
    }
    assert all(f"`{each}`" in PAGE.read_text() for each in commands.values())
    stated = {name: "base64:" + _printed(command, started.folder) for name, command in commands.items()}
    assert (await started(**stated))[0] == signed.key_id


async def test_another_signing_secret_must_name_the_one_before(started: Started) -> None:
    old, _, _ = await started()
    with pytest.raises(Misconfigured, match=f"signed with the key {old}.*CAIO_RETIRED_SIGNING_KEYS") as refused:
        await started(signing_secret=NEXT)
    assert refused.value.code == "keys_differ"
    new = keyring(NEXT).active.key_id
    assert (await started(retired_signing_keys=public(NEXT)))[:2] == (old, {old, new})  # announced
    assert (await started(signing_secret=NEXT, retired_signing_keys=public(SIGNING)))[:2] == (new, {old, new})
    assert (await started(retired_signing_keys=public(NEXT)))[0] == old  # and back


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    with emulated_aws(tmp_path_factory.mktemp("aws")) as environment:
        yield environment


async def test_another_master_secret_is_refused_behind_a_key_service(
    started: Started, aws: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from caio.aws.clients import aws_client

    for name, value in aws.items():
        monkeypatch.setenv(name, value)
    async with aws_client("kms") as client:
        key = (await client.create_key())["KeyMetadata"]["Arn"]
    await started(kms_key_id=key)
    with pytest.raises(Misconfigured, match="belongs with the master key") as refused:
        await started(kms_key_id=key, auth_secret_key=NEXT)
    assert refused.value.code == "keys_differ"
    await started(kms_key_id=key)
    environment = {"CAIO_AUTH_SECRET_KEY": NEXT, "CAIO_SIGNING_SECRET": SIGNING, "CAIO_KMS_KEY_ID": key, **aws}
    code, said = await run_caio(
        started.folder.parent, environment, "keys", "create", "x", "--embedded", "--data-dir", started.folder
    )
    assert (code, "belongs with the master key" in said) == (1, True), said


async def test_the_command_shows_the_key_and_says_how_it_is_replaced(tmp_path: Path) -> None:
    environment = {"CAIO_SIGNING_SECRET": SIGNING}
    code, said = await run_caio(tmp_path, environment, "signing-key", "show")
    assert (code, said.splitlines()[0]) == (0, public(SIGNING))
    code, said = await run_caio(tmp_path, environment, "signing-key", "rotate")
    assert code == 1
    assert "CAIO_SIGNING_SECRET=… caio signing-key show" in said
    assert public(SIGNING) in said
    assert SIGNING not in said
    assert not (tmp_path / ".caio").exists()


async def test_an_owners_command_needs_no_file(tmp_path: Path) -> None:
    environment = {"CAIO_AUTH_SECRET_KEY": MASTER, "CAIO_SIGNING_SECRET": SIGNING, "CAIO_ANCHOR": "none"}
    code, said = await run_caio(tmp_path, environment, "keys", "create", "Operator", "--embedded")
    assert code == 0, said
    token = said.splitlines()[0]
    shutil.rmtree(tmp_path / ".caio" / "keys")
    settings = read_settings(data_dir=tmp_path / ".caio", auth_secret_key=MASTER, signing_secret=SIGNING, anchor="none")
    async with open_installation(settings) as installation:
        caller = await installation.authenticator.authenticate(f"Bearer {token}")
        assert caller.scope.tenant_id == "default"
