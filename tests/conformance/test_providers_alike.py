"""What every provider does, whatever its protocol: one suite over all five, called whole and in streams.

What is special to a protocol is told beside it: ``test_providers.py`` (openai, http-json),
``test_providers_translated.py`` (anthropic, bedrock) and ``test_providers_process.py``.
"""

import asyncio
import traceback
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from caio.foundation.errors import UpstreamFailed, UpstreamFault
from caio.foundation.money import Usage
from caio.gateway.ports import Call, Chunk, Operation, ProviderAnswer
from tests.support.chat_services import CUT, DIALECTS, HOLD, KEY, KEY_ID, LIMIT, TOKEN, TOKENS, Stage, stage

HTTP = tuple(name for name in DIALECTS if name != "process")
STREAMING = tuple(name for name, dialect in DIALECTS.items() if dialect.streams)
MODES = [
    (name, stream) for name, dialect in DIALECTS.items() for stream in ((False, True) if dialect.streams else (False,))
]
HTTP_MODES = [mode for mode in MODES if mode[0] != "process"]
BODY = {"messages": [{"role": "user", "content": "Hällo 🌍"}], "metadata": {"caio": {"seed": 1}}}


@pytest.fixture
async def sut(protocol: str, tmp_path: Path) -> AsyncIterator[Stage]:
    async with stage(protocol, tmp_path) as played:
        yield played


def call(sut: Stage, *, stream: bool = False, timeout: float = 5.0, body: Any = BODY) -> Call:
    operation = Operation.JSON if sut.dialect.name == "http-json" else Operation.CHAT
    return Call(operation, body, stream, timeout, sut.secret)


async def ask(sut: Stage, call: Call) -> ProviderAnswer | list[Chunk]:
    if not call.stream:
        return await sut.provider.call(sut.target, call)
    async with aclosing(sut.provider.stream(sut.target, call)) as chunks:  # type: ignore[type-var]
        return [chunk async for at_once in chunks for chunk in at_once]


async def failure(sut: Stage, call: Call) -> UpstreamFailed:
    """The failure, once it is certain that it names the service and tells no secret, nor anything chained to it."""
    with pytest.raises(UpstreamFailed) as caught:
        await ask(sut, call)
    told = "".join(traceback.format_exception(caught.value))
    for link in (caught.value, caught.value.__cause__, caught.value.__context__):
        told += f"{link!r}{vars(link) if link else ''}"
    assert not [secret for secret in (TOKEN, KEY, KEY_ID) if secret in told]
    assert "sut" in caught.value.message
    return caught.value


async def plan(sut: Stage, *, stream: bool, text: str = "Grüße 🌍", bytewise: bool = False) -> None:
    """A whole answer with this text."""
    said = sut.dialect
    if stream:
        await sut.play(said.begin(), said.token(text), said.end(), media_type=said.stream_type, bytewise=bytewise)
    else:
        await sut.play(said.answer(text), media_type=said.media_type, bytewise=bytewise)


def text_of(answer: ProviderAnswer | list[Chunk]) -> str:
    if isinstance(answer, list):
        return "".join(chunk.text for chunk in answer)
    choices = answer.body.get("choices")
    said: str = choices[0]["message"]["content"] if choices else answer.body["text"]
    return said


@pytest.mark.parametrize(("protocol", "stream"), MODES)
async def test_an_answer_and_what_it_took(sut: Stage, stream: bool) -> None:
    await plan(sut, stream=stream)
    answer = await ask(sut, call(sut, stream=stream))
    assert text_of(answer) == "Grüße 🌍"
    if isinstance(answer, ProviderAnswer):
        assert answer.usage == Usage(7, 2)
        if "choices" in answer.body:
            assert answer.body["choices"][0]["finish_reason"] == "stop"
            assert answer.body["usage"]["prompt_tokens"] == 7
        return
    assert [chunk.usage for chunk in answer if chunk.usage] == [Usage(7, 2)]
    assert [chunk.finish_reason for chunk in answer if chunk.finish_reason] == ["stop"]
    assert [chunk.has_content for chunk in answer] == [False, True, False, False]
    for chunk in answer:
        assert isinstance(msgspec.json.decode(chunk.data)["choices"], list)
        assert not set(b"\r\n") & set(chunk.data)


@pytest.mark.parametrize(("protocol", "stream"), MODES)
async def test_characters_split_between_packets(sut: Stage, stream: bool) -> None:
    await plan(sut, stream=stream, bytewise=True)
    assert text_of(await ask(sut, call(sut, stream=stream))) == "Grüße 🌍"


@pytest.mark.parametrize(("protocol", "stream"), MODES)
async def test_one_call_after_another(sut: Stage, stream: bool) -> None:
    for text in ("one", "two", "three"):
        await plan(sut, stream=stream, text=text)
        assert text_of(await ask(sut, call(sut, stream=stream))) == text


@pytest.mark.parametrize(("protocol", "stream"), MODES)
async def test_caios_own_keys_stay_here(sut: Stage, stream: bool) -> None:
    await plan(sut, stream=stream)
    await ask(sut, call(sut, stream=stream))
    asked = getattr(sut, "asked", None) or sut.received
    assert b"caio" not in msgspec.json.encode(asked)
    assert "Hällo 🌍" in msgspec.json.encode(asked).decode()


@pytest.mark.parametrize(("protocol", "stream"), MODES)
async def test_every_fault_it_tells(sut: Stage, stream: bool) -> None:
    for fault, told in sut.dialect.faults.items():
        for each in told:
            headers = {"Retry-After": "7", **each.headers}
            await sut.play(each.body, status=each.status, headers=headers, media_type="application/json")
            error = await failure(sut, call(sut, stream=stream))
            assert error.fault is UpstreamFault(fault), each
            if sut.dialect.name != "process":
                assert (error.status, error.retry_after) == (each.status, 7)


@pytest.mark.parametrize("protocol", STREAMING)
async def test_every_fault_it_tells_in_a_stream(sut: Stage) -> None:
    said = sut.dialect
    for fault, told in said.stream_faults.items():
        for each in told:
            await sut.play(said.begin(), said.token("one"), each, media_type=said.stream_type)
            assert (await partial(sut)) == ("one", UpstreamFault(fault)), each


async def partial(sut: Stage, seconds: float = 5.0) -> tuple[str, UpstreamFault | None]:
    """The text before the failure, and the failure's fault."""
    text = ""
    try:
        async with aclosing(sut.provider.stream(sut.target, call(sut, stream=True, timeout=seconds))) as chunks:  # type: ignore[type-var]
            async for at_once in chunks:
                text += "".join(chunk.text for chunk in at_once)
    except UpstreamFailed as error:
        told: UpstreamFailed | None = error
    else:
        told = None
    assert told is None or not [secret for secret in (TOKEN, KEY, KEY_ID) if secret in told.message]
    return text, told.fault if told else None


@pytest.mark.parametrize("protocol", STREAMING)
@pytest.mark.parametrize("tokens", [0, 1, 30])
@pytest.mark.parametrize("manner", ["cut", "clean", "within"])
async def test_a_cut_stream_never_looks_complete(sut: Stage, tokens: int, manner: str) -> None:
    said = sut.dialect
    frames = [said.begin(), *(said.token(f"t{number} ") for number in range(tokens))]
    if manner == "within":
        frames.append(said.token("half")[:-9])
    if manner != "clean" or said.name == "process":
        await sut.play(*frames, CUT, media_type=said.stream_type)
    else:
        await sut.play(*frames, media_type=said.stream_type)
    text, fault = await partial(sut)
    assert (len(text.split()), fault) == (tokens, UpstreamFault.UPSTREAM)


@pytest.mark.parametrize("protocol", STREAMING)
async def test_a_stream_without_its_end_mark_is_cut(sut: Stage) -> None:
    said = sut.dialect
    end = said.end()
    mark = {"openai": b"data: [DONE]", "anthropic": b"event: message_stop", "process": b'"done":true'}
    if (place := end.find(mark.get(said.name, b"messageStop"))) < 0:
        raise AssertionError(end)
    at = end.rfind(b"\n", 0, place) + 1 if said.name != "bedrock" else 0
    await sut.play(said.begin(), said.token("one"), end[:at], CUT, media_type=said.stream_type)
    assert await partial(sut) == ("one", UpstreamFault.UPSTREAM)


@pytest.mark.parametrize("protocol", STREAMING)
async def test_sixty_tokens(sut: Stage) -> None:
    said = sut.dialect
    tokens = [said.token(f"t{number} ") for number in range(TOKENS)]
    await sut.play(said.begin(), *tokens, said.end(), media_type=said.stream_type)
    text, fault = await partial(sut)
    assert (text.split(), fault) == ([f"t{number}" for number in range(TOKENS)], None)


@pytest.mark.parametrize("protocol", STREAMING)
async def test_heartbeats_are_no_content(sut: Stage) -> None:
    said = sut.dialect
    await sut.play(
        said.begin(), said.heartbeat(), said.token("one"), said.heartbeat(), said.end(), media_type=said.stream_type
    )
    chunks = await ask(sut, call(sut, stream=True))
    assert isinstance(chunks, list)
    assert [chunk.text for chunk in chunks if chunk.has_content] == ["one"]


@pytest.mark.parametrize("protocol", STREAMING)
async def test_a_garbage_frame(sut: Stage) -> None:
    said = sut.dialect
    for garbage in said.garbage():
        await sut.play(said.begin(), said.token("one"), garbage, said.end(), media_type=said.stream_type)
        assert await partial(sut) == ("one", UpstreamFault.GARBAGE), garbage


@pytest.mark.parametrize("protocol", DIALECTS)
@pytest.mark.parametrize("garbage", [b"", b"{", b"NaN", b'{"a": "\xff"}', b"[" * 3000, b"[]", b'{"type": "message"}'])
async def test_a_garbage_answer(sut: Stage, garbage: bytes) -> None:
    if sut.dialect.name == "http-json" and garbage in (b"[]", b'{"type": "message"}'):
        return  # it may answer any document
    written = b'{"id": %ID%, "answer": ' + garbage + b"}\n" if sut.dialect.name == "process" else garbage
    await sut.play(written, media_type=sut.dialect.media_type)
    assert (await failure(sut, call(sut))).fault is UpstreamFault.GARBAGE


@pytest.mark.parametrize(("protocol", "stream"), MODES)
async def test_an_oversized_answer(sut: Stage, stream: bool) -> None:
    said, text = sut.dialect, "x" * LIMIT
    steps = [said.begin(), said.token(text), said.end()] if stream else [said.answer(text)]
    await sut.play(*steps, media_type=said.stream_type if stream else said.media_type)
    assert (await failure(sut, call(sut, stream=stream))).fault is UpstreamFault.GARBAGE


@pytest.mark.parametrize(("protocol", "stream"), HTTP_MODES)
async def test_another_content_type(sut: Stage, stream: bool) -> None:
    said = sut.dialect
    for media_type in ("text/plain", said.media_type if stream else "text/event-stream"):
        await sut.play(said.begin() if stream else said.answer("x"), media_type=media_type)
        assert (await failure(sut, call(sut, stream=stream))).fault is UpstreamFault.GARBAGE


@pytest.mark.parametrize(("protocol", "stream"), HTTP_MODES)
@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_redirects_are_not_followed(sut: Stage, stream: bool, status: int) -> None:
    await sut.play(b"{}", status=status, headers={"Location": sut.target.base_url + "/other"})
    assert (await failure(sut, call(sut, stream=stream))).fault is UpstreamFault.UPSTREAM
    assert len(sut.requests) == 1


@pytest.mark.parametrize(("protocol", "stream"), MODES)
async def test_a_slow_service_runs_out_of_time(sut: Stage, stream: bool) -> None:
    await sut.play(HOLD)
    timeout = 0.6 if sut.dialect.name == "process" else 0.15
    assert (await failure(sut, call(sut, stream=stream, timeout=timeout))).fault is UpstreamFault.TIMEOUT
    await sut.until_left()


@pytest.mark.parametrize("protocol", STREAMING)
async def test_a_stalled_stream_ends_with_its_time(sut: Stage) -> None:
    await sut.play(sut.dialect.begin(), sut.dialect.token("one"), HOLD, media_type=sut.dialect.stream_type)
    timeout = 0.8 if sut.dialect.name == "process" else 0.2
    assert await partial(sut, timeout) == ("one", UpstreamFault.TIMEOUT)
    await sut.until_left()


@pytest.mark.parametrize(("protocol", "stream"), MODES)
@pytest.mark.parametrize("seconds", [0.0, -1.0])
async def test_no_time_left(sut: Stage, stream: bool, seconds: float) -> None:
    await plan(sut, stream=stream)
    assert (await failure(sut, call(sut, stream=stream, timeout=seconds))).fault is UpstreamFault.TIMEOUT
    assert not sut.received
    assert not getattr(sut, "asked", [])


@pytest.mark.parametrize(("protocol", "stream"), MODES)
async def test_cancelling_closes_the_call(sut: Stage, stream: bool, wait_for_async: Any) -> None:
    await sut.play(HOLD)
    task = asyncio.create_task(ask(sut, call(sut, stream=stream)))
    await wait_for_async(lambda: sut.received or getattr(sut, "asked", []))
    await asyncio.sleep(0.02)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await sut.until_left()


@pytest.mark.parametrize("protocol", STREAMING)
async def test_leaving_a_stream_cancels_the_call(sut: Stage) -> None:
    await sut.play(sut.dialect.begin(), sut.dialect.token("one"), HOLD, media_type=sut.dialect.stream_type)
    async with aclosing(sut.provider.stream(sut.target, call(sut, stream=True))) as chunks:  # type: ignore[type-var]
        async for at_once in chunks:
            if at_once[-1].has_content:
                break
    await sut.until_left()


@pytest.mark.parametrize(("protocol", "stream"), HTTP_MODES)
async def test_connection_refused(sut: Stage, stream: bool, free_port: Any) -> None:
    sut.target = replace(sut.target, base_url=f"http://127.0.0.1:{free_port()}")
    assert (await failure(sut, call(sut, stream=stream))).fault is UpstreamFault.UNREACHABLE


@pytest.mark.parametrize(("protocol", "stream"), MODES)
async def test_a_request_that_is_no_json_is_not_sent(sut: Stage, stream: bool) -> None:
    body = {"messages": [{"role": "user", "content": "\ud800"}]}
    assert (await failure(sut, call(sut, stream=stream, body=body))).fault is UpstreamFault.INVALID
    assert not sut.received
    assert not getattr(sut, "asked", [])


@pytest.mark.parametrize(("protocol", "stream"), HTTP_MODES)
async def test_a_missing_secret_is_told_before_the_call(sut: Stage, stream: bool) -> None:
    for secret in (None, "", "x\r\ny: z", "{", "[]", '{"access_key_id": "a", "secret_access_key": "b\\r\\n"}'):
        if sut.dialect.name != "bedrock" and secret and secret.isprintable():
            continue
        error = await failure(sut, replace(call(sut, stream=stream), secret=secret))
        assert error.fault is UpstreamFault.AUTH
    assert not sut.received
