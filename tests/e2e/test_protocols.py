"""A chat of an OpenAI client, answered by a service of another protocol; and a local command, from its example."""

import shutil
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from caio.audit.acts import Act
from caio.bootstrap import now
from caio.gateway.credentials import secret_context
from caio.tenancy.authentication import EMBEDDED, embedded_scope
from tests.e2e.conftest import Served, chat_contract, served
from tests.support.chat_services import AWS_SECRET, CUT, TOKEN, HttpStage, ProcessStage, Stage, stage
from tests.support.upstreams import Upstream

EXAMPLES = Path(__file__).parents[2] / "examples"
API: dict[str, dict[str, Any]] = {
    "anthropic": {"auth": {"scheme": "header:x-api-key", "secret_ref": "key"}},
    "bedrock": {"auth": {"scheme": "aws", "secret_ref": "key"}, "region": "eu-west-1", "model": "m.v1:0"},
    "process": {"command": "said"},
}


@pytest.fixture
async def sut(protocol: str, tmp_path: Path) -> AsyncIterator[Stage]:
    (tmp_path / "stage").mkdir()
    async with stage(protocol, tmp_path / "stage") as played:
        yield played


@pytest.fixture
async def caio(tmp_path: Path, template: tuple[Path, str], service: Upstream) -> AsyncIterator[Served]:
    """An installation whose operator has named a command: what the process stage plays, and the example."""
    folder, token = template
    shutil.copytree(folder, tmp_path / "data")
    commands = {
        "said": [sys.executable, "-I", "-S", str(tmp_path / "stage" / "command.py"), str(tmp_path / "stage")],
        "count-words": [sys.executable, "-I", "-S", str(EXAMPLES / "services" / "count_words.py")],
    }
    named = msgspec.json.encode(commands).decode()
    async with served(tmp_path / "data", token, service, process_commands=named) as running:
        yield running


async def keep_secret(caio: Served, value: str) -> None:
    scope, parts = embedded_scope(), caio.installation
    sealed = (await parts.vault.sealer(scope)).seal(value.encode(), secret_context("key"))
    await parts.stores.secrets.put(
        scope, "key", sealed, now(), await parts.acts.leaf(scope, Act("secret.stored", EMBEDDED, "key"))
    )


async def register(caio: Served, sut: Stage) -> None:
    api = {"protocol": sut.dialect.name, "model": "m", "timeout_ms": 5000, **API[sut.dialect.name]}
    if isinstance(sut, HttpStage):
        api["base_url"] = sut.target.base_url
        await keep_secret(caio, AWS_SECRET if sut.dialect.name == "bedrock" else TOKEN)
    async with caio.http.post("/api/v1/services", json=chat_contract("other", "http://x") | {"api": api}) as answer:
        assert answer.status == 201, await answer.text()


async def chat(caio: Served, *, stream: bool) -> tuple[int, str, Any]:
    body = {"model": "auto", "messages": [{"role": "user", "content": "Hi"}], "stream": stream}
    async with caio.http.post("/v1/chat/completions", json=body) as answer:
        return answer.status, await answer.text(), answer.headers


@pytest.mark.parametrize("protocol", API)
async def test_an_openai_client_is_answered(caio: Served, sut: Stage) -> None:
    await register(caio, sut)
    said = sut.dialect
    await sut.play(said.answer("Grüße 🌍"), media_type=said.media_type)
    status, text, headers = await chat(caio, stream=False)
    assert status == 200, text
    document = msgspec.json.decode(text)
    assert document["choices"][0]["message"]["content"] == "Grüße 🌍"
    assert document["usage"]["prompt_tokens"] == 7
    assert headers["x-caio-service"].startswith("other")
    await sut.play(said.begin(), said.token("Grüße "), said.token("🌍"), said.end(), media_type=said.stream_type)
    status, text, headers = await chat(caio, stream=True)
    assert status == 200, text
    events = [line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data: ")]
    assert events[-1] == "[DONE]"
    deltas = [choice["delta"] for event in events[:-1] for choice in msgspec.json.decode(event)["choices"]]
    assert "".join(delta.get("content") or "" for delta in deltas) == "Grüße 🌍"


@pytest.mark.parametrize("protocol", API)
async def test_a_stream_that_breaks_is_told(caio: Served, sut: Stage) -> None:
    await register(caio, sut)
    await sut.play(sut.dialect.begin(), sut.dialect.token("one"), CUT, media_type=sut.dialect.stream_type)
    status, text, _ = await chat(caio, stream=True)
    assert status == 200
    assert "one" in text
    assert '"error"' in text
    assert "[DONE]" not in text


@pytest.mark.parametrize("protocol", ["process"])
async def test_the_example_of_a_command(caio: Served, sut: ProcessStage) -> None:
    document = yaml.safe_load((EXAMPLES / "providers" / "local-command.yaml").read_text())
    async with caio.http.post("/api/v1/services", json=document) as answer:
        assert answer.status == 201, await answer.text()
    status, told, _ = await caio.orchestrate(capability="text.count", payload={"text": "one two three"})
    assert (status, told["output"]) == (200, {"words": 3})


@pytest.mark.parametrize("protocol", ["process"])
async def test_a_command_that_nobody_named_is_not_run(caio: Served, sut: ProcessStage) -> None:
    document = yaml.safe_load((EXAMPLES / "providers" / "local-command.yaml").read_text())
    document["api"]["command"] = "another"
    async with caio.http.post("/api/v1/services", json=document) as answer:
        assert answer.status == 201, await answer.text()
    status, told, _ = await caio.orchestrate(capability="text.count", payload={"text": "one two three"})
    assert status == 502
    assert "CAIO_PROCESS_COMMANDS" in told["detail"]
