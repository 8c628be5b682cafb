"""One suite for every provider: what a service may do, and what the gateway then sees."""

import asyncio
import ssl
import traceback
from collections import Counter
from contextlib import aclosing, suppress
from ipaddress import ip_network
from urllib.parse import quote

import msgspec
import pytest

from caio.foundation.errors import UpstreamFailed, UpstreamFault
from caio.foundation.money import Usage
from caio.gateway.ports import Call, Operation, Target
from caio.providers import OutboundClient, OutboundLimits, providers
from caio.providers.http1 import STEP_BYTES
from tests.support.upstreams import TOKENS, raw_server, self_signed, upstream

SECRET = "sk-very-secret-0123456789"
LIMITS = OutboundLimits(answer_bytes=64 * 1024, connect_seconds=2)
PROTOCOLS = ("openai", "http-json")
MODES = [("openai", False), ("openai", True), ("http-json", False)]


@pytest.fixture
async def service():
    async with upstream() as running:
        yield running


@pytest.fixture
async def known():
    async with OutboundClient([ip_network("127.0.0.0/8")], limits=LIMITS) as outbound:
        yield providers(outbound)


def target(protocol, url, path, **more):
    fields = {"method": "POST", "model": None, "auth_scheme": "bearer", "secret_ref": "key", **more}
    return Target(service_id="sut", protocol=protocol, base_url=url, path=path, **fields)


def call(body=None, *, operation=None, stream=False, timeout=5.0, secret=SECRET):
    return Call(operation or Operation.JSON, body or {"messages": []}, stream, timeout, secret)


async def ask(provider, target, call):
    """The whole exchange: the answer, or all chunks."""
    if not call.stream:
        return await provider.call(target, call)
    async with aclosing(provider.stream(target, call)) as chunks:
        return [chunk async for at_once in chunks for chunk in at_once]


async def failure(provider, target, call):
    """The failure of the exchange, once it is certain that nothing in it tells the secret."""
    with pytest.raises(UpstreamFailed) as caught:
        await ask(provider, target, call)
    error = caught.value
    for link in (error, error.__cause__, error.__context__):
        assert SECRET not in f"{link!r}{vars(link) if link else ''}"
    assert SECRET not in "".join(traceback.format_exception(error))
    assert "sut" in error.message
    return error


# --- complete answers -----------------------------------------------------------------------------


async def test_chat_passes_through(known, service):
    body = {"model": "mine", "messages": [], "seed": 1, "unknown": {"a": 1}, "stream": True}
    answer = await known["openai"].call(target("openai", service.url, "/chat"), call(body, operation=Operation.CHAT))
    assert answer.body["choices"][0]["message"]["content"] == "Grüße"
    assert answer.body["extra"] == {"kept": True}
    assert answer.usage == Usage(7, TOKENS)
    assert service.body == {"model": "mine", "messages": [], "seed": 1, "unknown": {"a": 1}}


async def test_embeddings_count_their_input(known, service):
    asked = call({"input": "x"}, operation=Operation.EMBEDDINGS)
    answer = await known["openai"].call(target("openai", service.url, "/embeddings", model="m"), asked)
    assert answer.usage == Usage(3, 0)
    assert service.body == {"input": "x", "model": "m"}


async def test_http_json_usage_is_optional(known, service):
    answer = await known["http-json"].call(target("http-json", service.url, "/counted"), call())
    assert answer.usage == Usage(5, 2)
    answer = await known["http-json"].call(target("http-json", service.url, "/echo", method="PUT"), call())
    assert (answer.usage, answer.body["method"]) == (None, "PUT")


async def test_get_carries_its_members_in_the_query(known, service):
    get = target("http-json", service.url, "/echo?fixed=1", method="GET")
    answer = await known["http-json"].call(get, call({"q": "a&b=ü", "n": 2, "yes": True, "no": None}))
    assert answer.body["query"] == {"fixed": "1", "q": "a&b=ü", "n": "2", "yes": "true"}
    assert service.received[-1][1] == b""
    assert (await failure(known["http-json"], get, call({"q": ["list"]}))).fault is UpstreamFault.INVALID


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    ("metadata", "sent"),
    [({"caio": {"x": 1}}, None), ({"caio": 1, "user": "u"}, {"user": "u"}), ({"user": "u"}, {"user": "u"}), ("x", "x")],
)
async def test_caios_own_keys_stay_here(known, service, protocol, metadata, sent):
    body = {"text": "t", "metadata": metadata}
    await known[protocol].call(target(protocol, service.url, "/chat"), call(body))
    assert service.body.get("metadata") == sent
    assert body["metadata"] == metadata


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_the_secret_goes_where_the_scheme_says(known, service, protocol):
    for scheme, name, value in (
        ("bearer", "Authorization", f"Bearer {SECRET}"),
        ("header:X-Api-Key", "X-Api-Key", SECRET),
    ):
        await known[protocol].call(target(protocol, service.url, "/chat", auth_scheme=scheme), call())
        assert service.received[-1][0].headers[name] == value
    await known[protocol].call(target(protocol, service.url, "/chat", auth_scheme="none"), call())
    assert SECRET not in str(service.received[-1][0].headers)


@pytest.mark.parametrize(("protocol", "stream"), MODES)
@pytest.mark.parametrize(
    ("scheme", "secret"),
    [
        ("bearer", None),
        ("bearer", ""),
        ("bearer", f"{SECRET}\r\nX-Evil: 1"),
        ("bearer", f"{SECRET}\n"),
        ("header:X-Key", f"{SECRET}ü"),
        ("header:X-Key", f" {SECRET}"),
        ("header:Host", SECRET),
        ("header:content-length", SECRET),
        ("header:X-Key: a\r\nY", SECRET),
        ("header:", SECRET),
        ("basic", SECRET),
    ],
)
async def test_unusable_credentials_are_refused_before_the_call(known, service, protocol, stream, scheme, secret):
    if protocol == "http-json" and stream:
        return
    sut = target(protocol, service.url, "/chat", auth_scheme=scheme)
    error = await failure(known[protocol], sut, call(stream=stream, secret=secret))
    # A scheme that would break out of its line is a contract's attack rather than a missing secret.
    assert error.fault is (UpstreamFault.BLOCKED if "\r" in scheme else UpstreamFault.AUTH)
    assert service.received == []


# --- failures -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("protocol", "stream"), MODES)
@pytest.mark.parametrize(
    ("status", "fault"),
    [
        (400, UpstreamFault.INVALID),
        (401, UpstreamFault.AUTH),
        (403, UpstreamFault.AUTH),
        (429, UpstreamFault.QUOTA),
        (500, UpstreamFault.UPSTREAM),
        (503, UpstreamFault.OVERLOADED),
        (504, UpstreamFault.TIMEOUT),
        (529, UpstreamFault.OVERLOADED),
        (302, UpstreamFault.UPSTREAM),
        (307, UpstreamFault.UPSTREAM),
    ],
)
async def test_failed_statuses(known, service, protocol, stream, status, fault):
    error = await failure(known[protocol], target(protocol, service.url, f"/status/{status}"), call(stream=stream))
    assert (error.fault, error.status) == (fault, status)
    assert error.retry_after == (None if status < 400 else 7)
    assert len(service.received) == 1  # no redirect was followed


@pytest.mark.parametrize(("protocol", "stream"), MODES)
async def test_a_service_that_quotes_the_secret_is_not_quoted(known, service, protocol, stream):
    body = quote(msgspec.json.encode({"error": {"message": f"bad key {SECRET}"}}).decode())
    sut = target(protocol, service.url, f"/status/400?body={body}")
    assert (await failure(known[protocol], sut, call(stream=stream))).fault is UpstreamFault.INVALID


@pytest.mark.parametrize(("protocol", "stream"), MODES)
async def test_a_content_filter_is_told_apart(known, service, protocol, stream):
    sut = target(protocol, service.url, "/status/400?body=" + quote('{"error": {"code": "content_filter"}}'))
    assert (await failure(known[protocol], sut, call(stream=stream))).fault is UpstreamFault.CONTENT_FILTER


@pytest.mark.parametrize(("protocol", "stream"), MODES)
async def test_connection_refused(known, protocol, stream, free_port):
    sut = target(protocol, f"http://127.0.0.1:{free_port()}", "/chat")
    assert (await failure(known[protocol], sut, call(stream=stream))).fault is UpstreamFault.UNREACHABLE


@pytest.mark.parametrize(("protocol", "stream"), MODES)
async def test_tls_failure(known, protocol, stream, tmp_path):
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(self_signed(tmp_path))
    async with upstream(server) as service:
        error = await failure(known[protocol], target(protocol, service.url, "/chat"), call(stream=stream))
        assert error.fault is UpstreamFault.UNREACHABLE
        assert "TLS" in error.message
        assert service.received == []


@pytest.mark.parametrize(("protocol", "stream"), MODES)
async def test_no_head_in_time(known, service, protocol, stream):
    error = await failure(known[protocol], target(protocol, service.url, "/slow"), call(stream=stream, timeout=0.15))
    assert error.fault is UpstreamFault.TIMEOUT
    await asyncio.wait_for(service.left.wait(), 20)


@pytest.mark.parametrize(("protocol", "stream"), MODES)
@pytest.mark.parametrize("seconds", [0.0, -1.0])
async def test_no_time_left(known, service, protocol, stream, seconds):
    error = await failure(known[protocol], target(protocol, service.url, "/chat"), call(stream=stream, timeout=seconds))
    assert error.fault is UpstreamFault.TIMEOUT
    assert service.received == []


@pytest.mark.parametrize(("protocol", "stream"), MODES)
@pytest.mark.parametrize("path", ["/text", "/packed", "/huge", "/huge?type=text/event-stream"])
async def test_garbage_answers(known, service, protocol, stream, path):
    error = await failure(known[protocol], target(protocol, service.url, path), call(stream=stream))
    assert error.fault is UpstreamFault.GARBAGE


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("text", ["", "{", "NaN", '{"a": "\udcff"}', "[" * 5000, '{"a": "\\ud800"}'])
async def test_garbage_json(known, protocol, text):
    raw = text.encode(errors="surrogateescape")
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(raw)}\r\n\r\n".encode()
    async with raw_server(head + raw) as url:
        assert (await failure(known[protocol], target(protocol, url, "/"), call())).fault is UpstreamFault.GARBAGE


@pytest.mark.parametrize(("protocol", "stream"), MODES)
@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        (b"", UpstreamFault.UPSTREAM),
        (b"SSH-2.0-x\r\n\r\n", UpstreamFault.GARBAGE),
        (b"HTTP/1.1 200 OK\r\nX-Big: " + b"x" * 20_000 + b"\r\n\r\n", UpstreamFault.GARBAGE),
        (b"HTTP/1.1 200 OK\r\n" + b"X-Many: x\r\n" * 200 + b"\r\n", UpstreamFault.GARBAGE),
        (b"HTTP/1.1 500 Oh\r\nContent-Length: 99\r\n\r\ncut", UpstreamFault.UPSTREAM),
    ],
)
async def test_broken_http(known, protocol, stream, answer, fault):
    async with raw_server(answer) as url:
        assert (await failure(known[protocol], target(protocol, url, "/"), call(stream=stream))).fault is fault


@pytest.mark.parametrize(("protocol", "stream"), MODES)
@pytest.mark.parametrize("beginning", [b'{"error": ', b'{"code": "content_filter", "pad": "' + b"x" * (1 << 17)])
async def test_a_failed_answer_is_not_waited_for(known, protocol, stream, beginning, monkeypatch):
    """Its status says enough, and another service may take over while there is time."""
    monkeypatch.setattr("caio.providers.answers.BRIEF_SECONDS", 0.05)
    left = asyncio.Event()

    async def serve(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 503 Busy\r\nContent-Length: 999999\r\n\r\n" + beginning)
        with suppress(ConnectionError):
            await reader.read()
        left.set()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    sut = target(protocol, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", "/")
    async with server:
        error = await failure(known[protocol], sut, call(stream=stream))
        assert (error.fault, error.status) == (UpstreamFault.OVERLOADED, 503)
        await asyncio.wait_for(left.wait(), 20)


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_an_answer_cut_in_the_middle(known, service, protocol):
    error = await failure(known[protocol], target(protocol, service.url, "/broken_body"), call())
    assert error.fault is UpstreamFault.UPSTREAM


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("each", ["[]", "{}"])
async def test_the_lists_and_objects_of_an_answer_are_bounded(known, service, protocol, each, monkeypatch):
    monkeypatch.setattr("caio.providers.exchange.MAX_CONTAINERS", 5)
    most = quote(f'{{"choices": [{each}, {each}, {each}]}}')
    assert await ask(known[protocol], target(protocol, service.url, f"/json?text={most}"), call())
    more = quote(f'{{"choices": [{each}, {each}, {each}, {each}]}}')
    error = await failure(known[protocol], target(protocol, service.url, f"/json?text={more}"), call())
    assert error.fault is UpstreamFault.GARBAGE


@pytest.mark.parametrize("text", ["[]", '"x"', '{"data": 1}', '{"choices": {}}'])
async def test_an_openai_answer_has_its_essential_list(known, service, text):
    sut = target("openai", service.url, "/json?text=" + quote(text))
    for operation in (Operation.CHAT, Operation.EMBEDDINGS):
        assert (await failure(known["openai"], sut, call(operation=operation))).fault is UpstreamFault.GARBAGE


async def test_an_error_with_status_200_is_an_error(known, service):
    sut = target("openai", service.url, "/json?text=" + quote('{"error": {"code": 429}}'))
    assert (await failure(known["openai"], sut, call())).fault is UpstreamFault.QUOTA


@pytest.mark.parametrize(
    "usage", ['{"prompt_tokens": -1}', '{"prompt_tokens": true}', '{"prompt_tokens": 1.5}', "[]", "null"]
)
async def test_nonsense_usage_counts_as_none(known, service, usage):
    sut = target("openai", service.url, "/json?text=" + quote(f'{{"choices": [], "usage": {usage}}}'))
    assert (await known["openai"].call(sut, call(operation=Operation.CHAT))).usage is None


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_a_request_that_is_no_json_is_not_sent(known, service, protocol):
    error = await failure(known[protocol], target(protocol, service.url, "/chat"), call({"text": "\ud800"}))
    assert error.fault is UpstreamFault.INVALID
    assert service.received == []


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_large_requests_are_sent_whole(known, service, protocol):
    body = {"text": "x" * (2 << 20)}
    await known[protocol].call(target(protocol, service.url, "/chat"), call(body))
    assert service.body == body


@pytest.mark.parametrize(("protocol", "stream"), MODES)
async def test_cancelling_closes_the_call(known, service, protocol, stream, wait_for_async):
    task = asyncio.create_task(ask(known[protocol], target(protocol, service.url, "/slow"), call(stream=stream)))
    await wait_for_async(lambda: service.received)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.wait_for(service.left.wait(), 20)


# --- streams --------------------------------------------------------------------------------------


async def partial(known, service, path, seconds=5.0):
    """The words before the failure, and the failure."""
    text, fault = "", None
    asked = call(stream=True, timeout=seconds)
    try:
        async with aclosing(known["openai"].stream(target("openai", service.url, path), asked)) as chunks:
            async for at_once in chunks:
                text += "".join(chunk.text for chunk in at_once)
    except UpstreamFailed as error:
        fault = error.fault
    return text.split(), fault


async def test_a_whole_stream(known, service):
    body = {"messages": [], "stream_options": {"x": 1}, "metadata": {"caio": 1}}
    chunks = await ask(known["openai"], target("openai", service.url, "/stream", model="m"), call(body, stream=True))
    assert "".join(chunk.text for chunk in chunks).split() == [f"t{number}" for number in range(TOKENS)]
    assert [chunk.has_content for chunk in chunks] == [False, *[True] * TOKENS, False, False]
    assert [chunk.finish_reason for chunk in chunks[-2:]] == ["stop", None]
    assert [chunk.usage for chunk in chunks[-2:]] == [None, Usage(7, TOKENS)]
    assert all(msgspec.json.decode(chunk.data) is not None for chunk in chunks)
    assert service.body == {
        "messages": [],
        "model": "m",
        "stream": True,
        "stream_options": {"x": 1, "include_usage": True},
    }


async def test_connections_are_used_again(known, service):
    for path in ("/stream", "/late_end", "/stream"):
        await ask(known["openai"], target("openai", service.url, path), call(stream=True))
        await ask(known["openai"], target("openai", service.url, "/chat"), call())
    assert len(service.connections) == 1


async def test_characters_split_between_packets(known, service):
    chunks = await ask(known["openai"], target("openai", service.url, "/split"), call(stream=True))
    assert "".join(chunk.text for chunk in chunks) == "Grüße 🌍 "


@pytest.mark.parametrize("tokens", [0, 1, 30])
@pytest.mark.parametrize("manner", ["", "?clean"])
async def test_a_cut_stream_never_looks_complete(known, service, tokens, manner):
    words, fault = await partial(known, service, f"/cut/{tokens}{manner}")
    assert (len(words), fault) == (tokens, UpstreamFault.UPSTREAM)


async def test_a_stalled_stream_ends_with_its_time(known, service):
    assert await partial(known, service, "/stall", seconds=0.2) == (["one"], UpstreamFault.TIMEOUT)
    await asyncio.wait_for(service.left.wait(), 20)


@pytest.mark.parametrize(
    "frame",
    [
        "data: {",
        "data: hello",
        "data: [1]",
        'data: {"choices": 1}',
        'data: {"x": "\xff"}',
        'data: {"choices": [{"delta": []}]}',
        "data: null",
        "data: [DONE] ",
        'data: {"x": ' + "[" * 1500,
    ],
)
async def test_every_chunk_is_json(known, service, frame):
    assert await partial(known, service, "/after?frame=" + quote(frame, encoding="utf-8")) == (
        ["one"],
        UpstreamFault.GARBAGE,
    )


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        ('{"error": {"code": "content_filter"}}', UpstreamFault.CONTENT_FILTER),
        ('{"error": {"type": "server_error", "message": "oh"}}', UpstreamFault.UPSTREAM),
        ('{"error": "broken"}', UpstreamFault.UPSTREAM),
    ],
)
async def test_an_error_in_the_stream(known, service, error, fault):
    assert await partial(known, service, "/after?frame=" + quote(f"event: error\ndata: {error}")) == (["one"], fault)


@pytest.mark.parametrize(
    "delta", ['{"tool_calls": [{"index": 0}]}', '{"refusal": "no"}', '{"reasoning_content": "hm"}']
)
async def test_content_is_more_than_text(known, service, delta):
    frame = quote(f'data: {{"choices": [{{"delta": {delta}}}]}}')
    chunks = await ask(known["openai"], target("openai", service.url, f"/after?frame={frame}"), call(stream=True))
    assert chunks[1].has_content


async def test_heartbeats_and_empty_deltas_are_no_content(known, service):
    frame = quote(
        'data:\n\n: x\n\ndata: {"choices": [{"delta": {"role": "assistant", "content": null}}, {"delta": null}]}'
    )
    chunks = await ask(known["openai"], target("openai", service.url, f"/after?frame={frame}"), call(stream=True))
    assert [chunk.has_content for chunk in chunks] == [True, False]


async def test_others_have_their_turn_while_frames_flood_in(known):
    """The loop turns at least once for every STEP_BYTES of them."""
    frame, turns, seen = b"data:{}\n\n", 0, Counter[int]()
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"

    async def others():
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async def read(chunks):
        async for at_once in chunks:
            seen[turns] += len(at_once)

    async with raw_server(head + frame * 5000) as url:
        turning = asyncio.create_task(others())
        with pytest.raises(UpstreamFailed):  # there is no end mark
            await read(known["openai"].stream(target("openai", url, "/"), call(stream=True)))
        turning.cancel()
    assert seen.total() == 5000
    assert max(seen.values()) <= STEP_BYTES // len(frame) + 1


async def test_an_event_of_several_lines_is_one_line_for_the_caller(known, service):
    """Passed on as it came, it would end the line that tells it, and the rest would be lost."""
    frame = quote('data: {"choices":\ndata: [{"delta": {"content": "two"}}]}')
    chunks = await ask(known["openai"], target("openai", service.url, f"/after?frame={frame}"), call(stream=True))
    assert chunks[1].text == "two"
    assert b"\n" not in chunks[1].data


async def test_leaving_a_stream_cancels_the_call(known, service):
    stream = known["openai"].stream(target("openai", service.url, "/stall"), call(stream=True))
    async with aclosing(stream):
        async for at_once in stream:
            if at_once[-1].has_content:
                break
    await asyncio.wait_for(service.left.wait(), 20)


async def test_the_end_mark_ends_a_stream_that_stays_open(known, service):
    sut = target("openai", service.url, "/endless_end")
    async with asyncio.timeout(2):
        assert len(await ask(known["openai"], sut, call(stream=True))) == 1
    await asyncio.wait_for(service.left.wait(), 20)


async def test_what_does_not_stream_says_so(known, service):
    for protocol, operation in (("http-json", Operation.JSON), ("openai", Operation.EMBEDDINGS)):
        sut = target(protocol, service.url, "/stream")
        error = await failure(known[protocol], sut, call(operation=operation, stream=True))
        assert error.fault is UpstreamFault.INVALID
        assert "does not stream" in error.message
    assert service.received == []
