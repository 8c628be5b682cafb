"""Tenants' keys wrapped by KMS: on an emulated KMS, and on its wire for refusals that the emulation does not give.

moto 5 opens with disabled keys and with keys that are being deleted, and answers AccessDenied where KMS answers
IncorrectKey; a server on 127.0.0.1 gives those answers in KMS's form (AWS JSON 1.1).
"""

from __future__ import annotations

import json
import os
import sys
import time
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from caio.audit.sealing import TenantVault, sealing_context
from caio.aws.clients import aws_client
from caio.aws.kms import KmsWrapping
from caio.bootstrap import open_installation, open_wrapping
from caio.config import read_settings
from caio.foundation.errors import Erased, Misconfigured, NotReady, SealBroken
from caio.tenancy.authentication import embedded_scope
from tests.support.emulated_aws import CREDENTIALS, emulated_aws

KEY = b"k" * 32
ABSENT = "1234abcd-12ab-34cd-56ef-1234567890ab"


@pytest.fixture(scope="module")
def aws_environment(tmp_path_factory):
    with emulated_aws(tmp_path_factory.mktemp("aws")) as environment:
        yield environment


@pytest.fixture
async def kms(aws_environment, monkeypatch):
    for name, value in aws_environment.items():
        monkeypatch.setenv(name, value)
    async with aws_client("kms") as client:
        yield client


@pytest.fixture
async def key_id(kms):
    return (await kms.create_key())["KeyMetadata"]["Arn"]


@asynccontextmanager
async def refusing(code, status=400):
    """A wrapping whose KMS answers every question with this error."""

    async def answer(_):
        return web.Response(status=status, text=json.dumps({"__type": code, "message": "arn:aws:kms:secret"}))

    runner = web.AppRunner(web.Application())
    runner.app.router.add_post("/", answer)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (CREDENTIALS | {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}"}).items():
            patch.setenv(name, value)
        async with aws_client("kms") as client:
            yield KmsWrapping(client, ABSENT)
    await runner.cleanup()


async def test_what_is_wrapped_unwraps(kms, key_id):
    wrapping = KmsWrapping(kms, key_id)
    wrapped = await wrapping.wrap(KEY, "acme")
    assert KEY not in wrapped
    assert wrapped != await wrapping.wrap(KEY, "acme")
    assert await KmsWrapping(kms, key_id).unwrap(wrapped, "acme") == KEY


async def test_a_wrapped_key_opens_for_its_tenant_only(kms, key_id):
    wrapping = KmsWrapping(kms, key_id)
    with pytest.raises(SealBroken, match="CAIO_KMS_KEY_ID"):
        await wrapping.unwrap(await wrapping.wrap(KEY, "acme"), "rival")


async def test_what_was_not_wrapped_by_this_key_is_refused(kms, key_id):
    wrapping = KmsWrapping(kms, key_id)
    wrapped = await wrapping.wrap(KEY, "acme")
    for changed in (b"", b"x", wrapped[:-1], wrapped[:-1] + bytes([wrapped[-1] ^ 1])):
        with pytest.raises(SealBroken):
            await wrapping.unwrap(changed, "acme")


async def test_a_key_that_is_not_there_is_named_as_the_cause(kms):
    with pytest.raises(NotReady, match="NotFoundException") as refused:
        await KmsWrapping(kms, ABSENT).wrap(KEY, "acme")
    assert refused.value.code == "kms_key_unusable"


@pytest.mark.parametrize(
    ("answer", "status", "error", "code"),
    [
        ("DisabledException", 400, NotReady, "kms_key_unusable"),
        ("KMSInvalidStateException", 400, NotReady, "kms_key_unusable"),
        ("IncorrectKeyException", 400, SealBroken, "seal_broken"),
        ("InvalidCiphertextException", 400, SealBroken, "seal_broken"),
        ("AccessDeniedException", 400, NotReady, "aws_refused"),
        ("KeyUnavailableException", 500, NotReady, "not_ready"),
        ("ThrottlingException", 400, NotReady, "not_ready"),
        ("KMSInternalException", 500, NotReady, "not_ready"),
    ],
)
async def test_every_refusal_has_its_error_and_tells_no_names(answer, status, error, code):
    async with refusing(answer, status) as wrapping:
        with pytest.raises(error) as refused:
            await wrapping.unwrap(b"w" * 96, "acme")
    assert refused.value.code == code
    assert "arn:" not in refused.value.message


async def test_a_kms_that_does_not_answer_is_not_ready(kms, key_id, monkeypatch, free_port):
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    async with aws_client("kms") as nobody:
        with pytest.raises(NotReady, match="does not answer"):
            await KmsWrapping(nobody, key_id).wrap(KEY, "acme")


@pytest.mark.parametrize(("variable", "value"), [("AWS_ENDPOINT_URL", "no address"), ("AWS_REGION", None)])
async def test_an_unusable_environment_is_a_misconfiguration(monkeypatch, variable, value):
    for name, usual in CREDENTIALS.items():
        monkeypatch.setenv(name, usual)
    if value is None:
        monkeypatch.delenv("AWS_DEFAULT_REGION")
        monkeypatch.delenv(variable)
    else:
        monkeypatch.setenv(variable, value)
    with pytest.raises(Misconfigured, match="cannot be made"):
        async with aws_client("kms"):
            pass


async def test_missing_credentials_are_a_misconfiguration(kms, key_id, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    async with aws_client("kms") as nobody:
        with pytest.raises(Misconfigured, match="no AWS credentials"):
            await KmsWrapping(nobody, key_id).wrap(KEY, "acme")


async def test_without_the_extra_the_settings_are_refused(tmp_path, monkeypatch):
    class Absent:
        @staticmethod
        def find_spec(name, *_):
            if name == "aiobotocore":
                raise ModuleNotFoundError("No module named 'aiobotocore'", name=name)

    for name in [name for name in sys.modules if name.partition(".")[0] == "aiobotocore"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [Absent, *sys.meta_path])
    settings = read_settings(data_dir=tmp_path, kms_key_id=ABSENT)
    with pytest.raises(Misconfigured, match=r"caio-platform\[aws\]"):
        async with open_wrapping(settings, KEY):
            pass


async def test_an_installation_stands_on_kms(kms, key_id, tmp_path):
    """Records, a restart, another master key for the tenants' keys being of no use, and destruction."""
    settings = read_settings(data_dir=tmp_path / "data", kms_key_id=key_id)
    scope, context = embedded_scope(), sealing_context("default", "test", "1")
    async with open_installation(settings) as installation:
        sealed = (await installation.vault.sealer(scope)).seal(b"secret", context)
    async with open_installation(settings) as installation:
        assert (await installation.vault.sealer(scope)).open(sealed, context) == b"secret"
    with pytest.raises(SealBroken, match="master key"):
        async with open_installation(read_settings(data_dir=tmp_path / "data")):
            pass
    async with open_installation(settings) as installation:
        assert await installation.vault.destroy(scope, 7)
    async with open_installation(settings) as installation:  # the other tenants go on
        with pytest.raises(Erased):
            await installation.vault.sealer(scope)
        other = TenantVault(KmsWrapping(kms, key_id), installation.stores.tenant_keys, os.urandom, time.monotonic)
        with pytest.raises(Erased):
            await other.sealer(scope)
