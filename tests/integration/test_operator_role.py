"""The operator's own credentials for Bedrock, from a real endpoint of container credentials, as ECS gives its tasks."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web

from caio.aws.role import RoleKeys
from caio.config import read_settings
from caio.foundation.errors import Misconfigured, UpstreamFailed, UpstreamFault
from caio.gateway.ports import Target
from tests.e2e.conftest import Served, chat_contract, served, template  # noqa: F401 - a fixture
from tests.support.chat_services import HttpStage, stage
from tests.support.upstreams import upstream

ALLOWED, OWNER = "lent", "default"
BEDROCK = "https://bedrock-runtime.eu-west-1.amazonaws.com"


class CredentialsEndpoint:
    """Hands out a new key each time it is asked with the token that is in the file now."""

    def __init__(self, folder: Path) -> None:
        self.token_file = folder / "token"
        self.token_file.write_text("first-token")
        self.asked, self.refused, self.lasting = 0, 0, timedelta(hours=6)
        self.away = False
        self.url = ""

    async def answer(self, request: web.Request) -> web.Response:
        if self.away or request.headers.get("Authorization") != self.token_file.read_text():
            self.refused += 1
            return web.Response(status=503 if self.away else 401)
        self.asked += 1
        document = {
            "AccessKeyId": f"ASIA{self.asked:04}",
            "SecretAccessKey": f"secret-{self.asked}",
            "Token": f"session-{self.asked}",
            "Expiration": (datetime.now(UTC) + self.lasting).strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        return web.json_response(document)


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment in which AWS's chain finds nothing."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, os.devnull)
    return monkeypatch


@pytest.fixture
async def task(tmp_path: Path, bare: pytest.MonkeyPatch) -> AsyncIterator[CredentialsEndpoint]:
    """The environment of a task with a role."""
    endpoint = CredentialsEndpoint(tmp_path)
    runner = web.AppRunner(web.Application())
    runner.app.router.add_get("/v1/credentials", endpoint.answer)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    endpoint.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1/credentials"
    bare.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", endpoint.url)
    bare.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", str(endpoint.token_file))
    yield endpoint
    await runner.cleanup()


def target(service_id: str = ALLOWED, base_url: str = BEDROCK) -> Target:
    return Target(service_id, "bedrock", base_url, "", "POST", "m", "aws", None, region="eu-west-1")


@asynccontextmanager
async def keys(*lent_to: str, endpoint: str | None = None, every: float = 0.05) -> AsyncIterator[RoleKeys]:
    held = RoleKeys(lent_to or (f"{OWNER}/{ALLOWED}",), endpoint, every)
    await held.start()
    try:
        yield held
    finally:
        await held.stop()


def key_id(held: RoleKeys, owner: str = OWNER, of: Target | None = None) -> str:
    document = msgspec.json.decode(held.secret(owner, of or target()))
    assert set(document) >= {"access_key_id", "secret_access_key"}
    return str(document["access_key_id"])


async def until(true: Any) -> None:
    async with asyncio.timeout(20):
        while not true():
            await asyncio.sleep(0.02)


@pytest.mark.parametrize(
    ("owner", "service_id", "base_url"),
    [
        ("stranger", ALLOWED, BEDROCK),
        (OWNER, "other", BEDROCK),
        (OWNER, "lent2", BEDROCK),
        (OWNER, ALLOWED, "http://bedrock-runtime.eu-west-1.amazonaws.com"),
        (OWNER, ALLOWED, "https://bedrock-runtime.eu-west-1.amazonaws.com.evil.example"),
        (OWNER, ALLOWED, "https://bedrock-runtime.eu-west-1.amazonaws.com@evil.example"),
        (OWNER, ALLOWED, "https://sts.eu-west-1.amazonaws.com"),
        (OWNER, ALLOWED, "http://127.0.0.1:9999"),
    ],
)
async def test_nothing_is_lent_that_was_not_named(
    task: CredentialsEndpoint, owner: str, service_id: str, base_url: str
) -> None:
    async with keys(endpoint="http://127.0.0.1:9") as held:
        assert key_id(held) == "ASIA0001"
        assert key_id(held, of=target(base_url="http://127.0.0.1:9/")) == "ASIA0001"
        with pytest.raises(UpstreamFailed) as refused:
            held.secret(owner, target(service_id, base_url))
    assert refused.value.fault is UpstreamFault.AUTH
    assert "secret-1" not in refused.value.message


async def test_all_of_one_tenants_services_may_be_named(task: CredentialsEndpoint) -> None:
    async with keys("platform/*") as held:
        assert key_id(held, "platform", target("anything"))
        with pytest.raises(UpstreamFailed):
            held.secret("platform2", target("anything"))


async def test_renewed_before_they_end(task: CredentialsEndpoint) -> None:
    task.lasting = timedelta(minutes=14)  # AWS's chain renews from 15 minutes before the end
    async with keys() as held:
        before = key_id(held)
        task.token_file.write_text("second-token")  # the agent puts a new one there
        await until(lambda: task.asked > 2)
        await until(lambda: key_id(held) != before)
        task.away = True
        await until(lambda: task.refused > 1)
        assert key_id(held)  # those at hand go on


async def test_ended_credentials_sign_nothing(task: CredentialsEndpoint) -> None:
    task.lasting = timedelta(seconds=3)
    async with keys() as held:
        assert key_id(held)
        task.away = True

        def ended() -> bool:
            try:
                return not held.secret(OWNER, target())
            except UpstreamFailed as error:
                return error.fault is UpstreamFault.AUTH and "ended" in error.message

        await until(ended)
        task.away = False
        await until(lambda: not ended())


async def test_keys_of_the_environment_have_no_end(bare: pytest.MonkeyPatch) -> None:
    bare.setenv("AWS_ACCESS_KEY_ID", "AKIASTATED")
    bare.setenv("AWS_SECRET_ACCESS_KEY", "stated")
    async with keys() as held:
        assert key_id(held) == "AKIASTATED"


async def test_a_web_identity_is_exchanged_for_keys(tmp_path: Path, bare: pytest.MonkeyPatch) -> None:
    """As a pod's service account has it: a token in a file, and STS at the address that AWS's tools read."""
    asked: list[dict[str, Any]] = []
    (tmp_path / "token").write_text("a.web.identity")

    async def answer(request: web.Request) -> web.Response:
        asked.append(dict(await request.post()))
        ends = (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
        made = {"AccessKeyId": "ASIAWEB", "SecretAccessKey": "s", "SessionToken": "t", "Expiration": ends}
        text = "".join(f"<{name}>{value}</{name}>" for name, value in made.items())
        for name in ("Credentials", "AssumeRoleWithWebIdentityResult", "AssumeRoleWithWebIdentityResponse"):
            text = f"<{name}>{text}</{name}>"
        return web.Response(text=text, content_type="text/xml")

    runner = web.AppRunner(web.Application())
    runner.app.router.add_post("/", answer)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    stated = {
        "AWS_ENDPOINT_URL_STS": f"http://127.0.0.1:{runner.addresses[0][1]}",
        "AWS_WEB_IDENTITY_TOKEN_FILE": str(tmp_path / "token"),
        "AWS_ROLE_ARN": "arn:aws:iam::123456789012:role/caio",
        "AWS_REGION": "eu-west-1",
    }
    for name, value in stated.items():
        bare.setenv(name, value)
    try:
        async with keys() as held:
            assert key_id(held) == "ASIAWEB"
    finally:
        await runner.cleanup()
    assert asked[0]["WebIdentityToken"] == "a.web.identity"


async def test_nothing_to_lend_is_no_reason_not_to_start(bare: pytest.MonkeyPatch) -> None:
    async with keys() as held:
        with pytest.raises(UpstreamFailed, match="finds no credentials"):
            held.secret(OWNER, target())


@pytest.fixture
async def bedrock(tmp_path: Path) -> AsyncIterator[HttpStage]:
    async with stage("bedrock", tmp_path) as played:
        assert isinstance(played, HttpStage)
        yield played


@pytest.mark.parametrize("lent", [True, False])
async def test_a_service_without_a_secret_is_signed_for_as_the_operator(
    tmp_path: Path,
    template: tuple[Path, str],  # noqa: F811
    task: CredentialsEndpoint,
    bedrock: HttpStage,
    bare: pytest.MonkeyPatch,
    lent: bool,
) -> None:
    """The whole way, by a served installation; lent to nobody unless the operator says so."""
    bare.setenv("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", bedrock.target.base_url)
    folder, token = template
    shutil.copytree(folder, tmp_path / "data")
    api = {"protocol": "bedrock", "base_url": bedrock.target.base_url, "model": "m", "region": "eu-west-1"}
    document = chat_contract(ALLOWED, "http://x") | {"api": api | {"auth": {"scheme": "aws"}}}
    said = bedrock.dialect
    await bedrock.play(said.answer("Hi."), media_type=said.media_type)
    settings = {"aws_role_services": f"{OWNER}/{ALLOWED}"} if lent else {}
    async with upstream() as service, served(tmp_path / "data", token, service, **settings) as caio:
        status, text = await _registered_and_asked(caio, document)
    if lent:
        assert status == 200, text
        request = bedrock.requests[-1][0]
        assert request.headers["Authorization"].startswith("AWS4-HMAC-SHA256 Credential=ASIA0001/")
        assert request.headers["X-Amz-Security-Token"] == "session-1"
    else:
        assert (status, bedrock.requests, task.asked) == (502, [], 0), text
        assert "CAIO_AWS_ROLE_SERVICES" in text


async def _registered_and_asked(caio: Served, document: dict[str, Any]) -> tuple[int, str]:
    async with caio.http.post("/api/v1/services", json=document) as answer:
        assert answer.status == 201, await answer.text()
    body = {"model": "auto", "messages": [{"role": "user", "content": "Hi"}]}
    async with caio.http.post("/v1/chat/completions", json=body) as answer:
        return answer.status, await answer.text()


@pytest.mark.parametrize("stated", ["platform", "*", "*/claude", "a/b/c", "Platform/claude", "a/b*"])
def test_who_is_lent_to_is_named_exactly(tmp_path: Path, stated: str) -> None:
    with pytest.raises(Misconfigured):
        read_settings(data_dir=tmp_path, aws_role_services=stated)
