"""The witness client against a real witness, and against servers that are none."""

import asyncio
from contextlib import asynccontextmanager
from ipaddress import ip_network

import pytest
from aiohttp import web

from caio.audit.checkpoint import Checkpoint, log_key, read_checkpoint, sign_checkpoint
from caio.audit.merkle import consistency_spans, leaf_hash, root_of
from caio.audit.signing import SigningKey
from caio.audit.witnessing import WitnessConflict, add_cosignature, cosign, has_quorum, verify_cosignature, witness_key
from caio.foundation.errors import InvalidInput, Misconfigured, UpstreamFailed, UpstreamFault
from caio.providers.outbound import OutboundClient
from caio.providers.witness import MAX_ANSWER_BYTES, WitnessClient
from tests.support.upstreams import raw_server
from tests.support.witness_server import witness_server

ORIGIN = "caio.localhost/acme"
LOG, WITNESS, STRANGER = (SigningKey.generate(bytes([number]) * 32) for number in (1, 2, 3))
LOGS = {ORIGIN: {LOG.key_id: LOG.public_key}}
NAME = "witness.example/w1"
KEY = witness_key(NAME, WITNESS.public_key)
TIME = 1_790_000_000


class Log:
    """A log of numbered entries; ``salt`` makes it another tree from entry ``since`` on."""

    def __init__(self, salt: str = "", since: int = 0):
        self.leaves = [leaf_hash(f"{number}{salt if number >= since else ''}".encode()) for number in range(64)]

    def note(self, size: int, key: SigningKey = LOG, origin: str = ORIGIN) -> str:
        return sign_checkpoint(Checkpoint(origin, size, root_of(self.leaves[:size])), key)

    def proof(self, old: int, new: int) -> list[bytes]:
        return [root_of(self.leaves[start:end]) for start, end in consistency_spans(old, new)]


TREE = Log()
FORK = Log("!", since=5)


@pytest.fixture
async def outbound():
    async with OutboundClient([ip_network("127.0.0.0/8")]) as client:
        yield client


@pytest.fixture
async def witness():
    async with witness_server(WITNESS, LOGS, name=NAME, clock=lambda: TIME) as server:
        yield server


@pytest.fixture
def client(outbound, witness):
    return WitnessClient(outbound, witness.url, witness.key, seconds=5)


async def failed(awaitable, fault, **more):
    with pytest.raises(UpstreamFailed) as caught:
        await awaitable
    assert caught.value.fault is fault, caught.value.message
    assert {name: getattr(caught.value, name) for name in more} == more
    return caught.value


# --- a real witness -----------------------------------------------------------------------------


async def test_a_log_grows_under_the_eyes_of_its_witness(client, witness):
    old = 0
    for size in (0, 1, 1, 4, 7, 7, 8, 21, 64):
        note = TREE.note(size)
        line = await client.cosign(note, old, TREE.proof(old, size) if old else [])
        cosigned = read_checkpoint(add_cosignature(note, line))
        assert verify_cosignature(cosigned, KEY) == TIME
        assert has_quorum(cosigned, [KEY], 1)
        assert cosigned.signed_by(LOGS[ORIGIN]) == LOG.key_id
        assert witness.latest[ORIGIN].size == size
        old = size


async def test_a_note_that_others_cosigned_already_is_cosigned_too(client):
    note = TREE.note(3)
    other = add_cosignature(note, cosign(read_checkpoint(note), "witness.example/w2", STRANGER, TIME))
    both = read_checkpoint(add_cosignature(other, await client.cosign(other, 0, [])))
    assert has_quorum(both, [KEY, witness_key("witness.example/w2", STRANGER.public_key)], 2)


@pytest.mark.parametrize(("first", "second"), [(4, 9), (5, 6), (6, 9), (7, 8), (8, 16), (16, 17), (31, 64)])
async def test_a_fork_is_refused(client, witness, first, second):
    """Trees that part at entry 5: whatever the log proves, what was seen beyond it cannot be replaced."""
    await client.cosign(TREE.note(first), 0, [])
    if first <= 5:  # nothing was seen yet of what differs: still one log
        await client.cosign(FORK.note(second), first, FORK.proof(first, second))
        return
    for proof in (FORK.proof(first, second), TREE.proof(first, second), []):
        failure = await failed(client.cosign(FORK.note(second), first, proof), UpstreamFault.INVALID, status=422)
        assert "what it saw of this log is not in this checkpoint" in failure.message
    assert witness.latest[ORIGIN] == read_checkpoint(TREE.note(first)).checkpoint
    await client.cosign(TREE.note(second), first, TREE.proof(first, second))


async def test_a_fork_at_the_same_size_is_refused(client, witness):
    await client.cosign(TREE.note(9), 0, [])
    with pytest.raises(WitnessConflict, match="two trees") as caught:
        await client.cosign(FORK.note(9), 9, [])
    assert (caught.value.size, caught.value.forked) == (9, True)
    assert await client.cosign(TREE.note(9), 9, [])


async def test_a_conflict_carries_the_witness_own_size(client):
    await client.cosign(TREE.note(9), 0, [])
    for old in (0, 8, 10):
        with pytest.raises(WitnessConflict, match="prove from there") as caught:
            await client.cosign(TREE.note(20), old, TREE.proof(old, 20) if old else [])
        assert (caught.value.code, caught.value.size, caught.value.forked) == ("witness_conflict", 9, False)
    await client.cosign(TREE.note(20), caught.value.size, TREE.proof(caught.value.size, 20))


async def test_a_log_that_was_set_back_is_told(client, witness):
    await client.cosign(TREE.note(9), 0, [])
    with pytest.raises(WitnessConflict, match="set back") as caught:
        await client.cosign(TREE.note(8), 8, [])
    assert (caught.value.size, caught.value.forked) == (9, False)
    await failed(client.cosign(TREE.note(8), 9, []), UpstreamFault.INVALID, status=400)
    assert witness.latest[ORIGIN].size == 9


async def test_two_requests_at_once_do_not_set_the_witness_back(client, witness):
    """Both prove from 4; one of them is told of the other's size, and the larger tree stays."""
    await client.cosign(TREE.note(4), 0, [])
    calls = [client.cosign(TREE.note(size), 4, TREE.proof(4, size)) for size in (20, 9, 40, 12)]
    answers = await asyncio.gather(*calls, return_exceptions=True)
    lines = [answer for answer in answers if isinstance(answer, str)]
    conflicts = [answer for answer in answers if isinstance(answer, WitnessConflict)]
    assert (len(lines), len(conflicts)) == (1, 3)
    assert {conflict.size for conflict in conflicts} == {witness.latest[ORIGIN].size}


async def test_the_witness_knows_its_logs_by_key_and_origin(client, witness):
    await failed(client.cosign(TREE.note(4, STRANGER), 0, []), UpstreamFault.AUTH, status=403)
    await failed(client.cosign(TREE.note(4, origin="caio.localhost/other"), 0, []), UpstreamFault.INVALID, status=404)
    changed = TREE.note(4).replace("\n4\n", "\n5\n")
    await failed(client.cosign(changed, 0, []), UpstreamFault.AUTH, status=403)
    assert witness.latest == {}


async def test_what_cannot_be_sent_is_not_sent(client, witness):
    for note, old, proof in (("no note", 0, []), (TREE.note(4), -1, []), (TREE.note(4), 0, [b"x" * 32])):
        with pytest.raises(InvalidInput):
            await client.cosign(note, old, proof)
    assert witness.asked == 0


async def test_the_witness_speaks_the_protocol_to_anybody(outbound, witness):
    """What the server says to requests that the client cannot make."""
    for body, status in ((b"", 400), (b"old 1\n\n", 400), (b"old 0\n\n" + TREE.note(4).encode() + b"\n", 400)):
        address = witness.url + "/add-checkpoint"
        async with outbound.request("POST", address, subject="It", seconds=5, body=body) as answer:
            assert answer.status == status


# --- servers that are none ----------------------------------------------------------------------


@asynccontextmanager
async def server(handler):
    """Any handler at the witness' address."""
    application = web.Application()
    application.router.add_post("/add-checkpoint", handler)
    runner = web.AppRunner(application, shutdown_timeout=0.1, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/"
    finally:
        await runner.cleanup()


def answering(text="", status=200, content_type="text/plain"):
    async def handler(request):
        return web.Response(text=text, status=status, content_type=content_type)

    return handler


async def ask(outbound, handler, note=None, old=0, proof=(), seconds=5.0):
    async with server(handler) as url:
        return await WitnessClient(outbound, url, KEY, seconds=seconds).cosign(note or TREE.note(4), old, proof)


async def test_only_a_verified_cosignature_is_returned(outbound):
    signed = read_checkpoint(TREE.note(4))
    own = cosign(signed, NAME, WITNESS, TIME)
    others = cosign(signed, NAME, STRANGER, TIME) + cosign(signed, "witness.example/w2", WITNESS, TIME)
    assert await ask(outbound, answering(others + own)) == own
    borrowed = cosign(read_checkpoint(TREE.note(5)), NAME, WITNESS, TIME)
    damaged = own.replace(own[-10], "B" if own[-10] == "A" else "A")
    for text in ("", "\n", others, borrowed, damaged, own[:-1], own + "\n", own + "<html>\n", f"\n{own}", "ok"):
        await failed(ask(outbound, answering(text)), UpstreamFault.GARBAGE, status=200)


@pytest.mark.parametrize(
    ("status", "fault"),
    [(201, UpstreamFault.UPSTREAM), (204, UpstreamFault.UPSTREAM), (301, UpstreamFault.UPSTREAM),
     (429, UpstreamFault.QUOTA), (500, UpstreamFault.UPSTREAM), (503, UpstreamFault.OVERLOADED)],
)  # fmt: skip
async def test_other_answers_are_failures(outbound, status, fault):
    line = cosign(read_checkpoint(TREE.note(4)), NAME, WITNESS, TIME)
    await failed(ask(outbound, answering("" if status == 204 else line, status)), fault, status=status)


@pytest.mark.parametrize(
    ("text", "content_type"),
    [("9\n", "text/plain"), ("", "text/x.tlog.size"), ("9", "text/x.tlog.size"), ("-9\n", "text/x.tlog.size"),
     ("0\n", "text/x.tlog.size"), ("9" * 30 + "\n", "text/x.tlog.size")],
)  # fmt: skip
async def test_a_conflict_without_another_size_is_no_conflict(outbound, text, content_type):
    await failed(ask(outbound, answering(text, 409, content_type)), UpstreamFault.GARBAGE, status=409)


async def test_a_conflict_at_the_same_size_needs_no_number(outbound):
    for text, content_type in (("", "text/plain"), ("4\n", "text/x.tlog.size")):
        with pytest.raises(WitnessConflict) as caught:
            await ask(outbound, answering(text, 409, content_type), old=4)
        assert (caught.value.size, caught.value.forked) == (4, True)


async def test_a_witness_is_bounded(outbound):
    line = cosign(read_checkpoint(TREE.note(4)), NAME, WITNESS, TIME)
    failure = await failed(ask(outbound, answering(line + "x" * MAX_ANSWER_BYTES)), UpstreamFault.GARBAGE)
    assert "more than a witness may" in failure.message

    async def silent(request):
        await asyncio.sleep(5)

    await failed(ask(outbound, silent, seconds=0.2), UpstreamFault.TIMEOUT)

    async def endless(request):
        answer = web.StreamResponse()
        await answer.prepare(request)
        while True:
            await answer.write(b"x")
            await asyncio.sleep(0.05)

    await failed(ask(outbound, endless, seconds=0.3), UpstreamFault.TIMEOUT)
    async with raw_server(b"nonsense\r\n\r\n") as url:
        await failed(WitnessClient(outbound, url, KEY).cosign(TREE.note(4), 0, []), UpstreamFault.GARBAGE)


async def test_private_witnesses_must_be_allowed(witness):
    async with OutboundClient() as strict:
        client = WitnessClient(strict, witness.url, witness.key)
        failure = await failed(client.cosign(TREE.note(4), 0, []), UpstreamFault.BLOCKED)
    assert "CAIO_OUTBOUND_ALLOW" in failure.message
    assert witness.asked == 0


@pytest.mark.parametrize("url", ["", "witness.example", "ftp://witness.example/", "http://", "http://a/?b=c", "http://a/#b",
                                 "http://[::1"])  # fmt: skip
def test_an_address_that_is_no_prefix_is_misconfigured(outbound, url):
    with pytest.raises(Misconfigured, match="witness"):
        WitnessClient(outbound, url, KEY)


async def test_a_log_is_no_witness(outbound, client, witness):
    with pytest.raises(Misconfigured, match="log's"):
        WitnessClient(outbound, witness.url, log_key(NAME, WITNESS.public_key))
    with pytest.raises(InvalidInput, match="own name"):
        await client.cosign(TREE.note(4, origin=NAME), 0, [])
    assert witness.asked == 0
