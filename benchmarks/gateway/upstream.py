"""AI services that answer at once: a raw HTTP/1.1 responder, so that the service costs next to nothing.

``/classify`` answers a classification; ``/v1/chat/completions`` a completion, or a stream of sixteen tokens
when the body says ``"stream":true``. A stream for the user ``paced`` has 25 tokens a second, until somebody asks for
``/end``, and the body's ``max_tokens`` at most. The text of a paced token is its number and the clock's nanoseconds
when it left, and with the end comes how many there were, so that whoever receives them can tell what was lost and how
long the rest took.

Run as a process: ``python -m benchmarks.gateway.upstream`` prints its port.
"""

from __future__ import annotations

import asyncio
import re
import time
from typing import cast

import uvloop

TOKENS = 16
PER_SECOND = 25
#: The streams of a fortieth of each period are written at once, so that a timer serves many.
PHASES = 40

CLASSIFIED = b'{"label": "positive", "confidence": 0.97, "usage": {"input_tokens": 12, "output_tokens": 4}}'
COMPLETED = (
    b'{"id":"chatcmpl-1","object":"chat.completion","created":1700000000,"model":"mock","choices":[{"index":0,'
    b'"message":{"role":"assistant","content":"It was better than the first half."},"finish_reason":"stop"}],'
    b'"usage":{"prompt_tokens":24,"completion_tokens":8,"total_tokens":32}}'
)
STREAMING = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
_MOST = re.compile(rb'"max_tokens": ?(\d+)')
_STREAM = re.compile(rb'"stream": ?true')
_PACED = re.compile(rb'"user": ?"paced"')


def _complete(body: bytes) -> bytes:
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
    return head % len(body) + body


def _chunked(frame: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(frame), frame)


def _delta(delta: bytes, finish: bytes = b"null") -> bytes:
    return _chunked(
        b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1700000000,"model":"mock",'
        b'"choices":[{"index":0,"delta":{%b},"finish_reason":%b}]}\n\n' % (delta, finish)
    )


def _end(tokens: int, last: bytes = b"") -> bytes:
    usage = b'"usage":{"prompt_tokens":24,"completion_tokens":%d,"total_tokens":%d}' % (tokens, tokens + 24)
    counted = b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1700000000,"model":"mock",'
    counted += b'"choices":[],' + usage + b"}\n\n"
    return _delta(last, b'"stop"') + _chunked(counted) + _chunked(b"data: [DONE]\n\n") + b"0\r\n\r\n"


ROLE = _delta(b'"role":"assistant","content":""')
ANSWERS = {
    b"/classify": _complete(CLASSIFIED),
    b"/v1/chat/completions": _complete(COMPLETED),
    b"/end": _complete(b"{}"),
}
STREAMED = STREAMING + ROLE + b"".join(_delta(b'"content":"word "') for _ in range(TOKENS)) + _end(TOKENS)


class Pace:
    """Every paced stream, served by one timer."""

    def __init__(self) -> None:
        self._phases: list[dict[asyncio.WriteTransport, list[int]]] = [{} for _ in range(PHASES)]
        self._opened = 0
        self._due = 0.0

    def add(self, transport: asyncio.WriteTransport, tokens: int) -> None:
        transport.write(STREAMING + ROLE)
        self._phases[self._opened % PHASES][transport] = [0, tokens]
        self._opened += 1

    def end(self) -> None:
        """Let the next token of each stream that is open be its last."""
        for phase in self._phases:
            for progress in phase.values():
                progress[1] = progress[0] + 1

    async def keep(self) -> None:
        """Serve the streams until cancelled, one phase after the other; what comes late is not left out."""
        due, turn = time.monotonic(), 0
        while True:
            due += 1 / PER_SECOND / PHASES
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            phase = self._phases[turn % PHASES]
            turn += 1
            for transport, progress in list(phase.items()):
                if transport.is_closing():
                    del phase[transport]
                    continue
                number, tokens = progress
                frame = _delta(b'"content":"%d %d "' % (number, time.monotonic_ns()))
                progress[0] = number + 1
                if number + 1 == tokens:
                    frame += _end(tokens, b'"content":"of %d"' % tokens)
                    del phase[transport]
                transport.write(frame)


class Responder(asyncio.Protocol):
    """Answers each request once its body is complete; understands Content-Length and chunks sent at once."""

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are not registered as WriteTransport; they are one all the same.
        self._transport = cast(asyncio.WriteTransport, transport)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head, length = self._buffer[:end], _content_length(self._buffer[:end])
            if length is None:
                last = self._buffer.find(b"0\r\n\r\n", end + 4)
                if last < 0:
                    return
                length = last + 5 - (end + 4)
            if len(self._buffer) < end + 4 + length:
                return
            body = self._buffer[end + 4 : end + 4 + length]
            self._buffer = self._buffer[end + 4 + length :]
            self._answer(head.split(b" ", 2)[1], body)

    def _answer(self, path: bytes, body: bytes) -> None:
        if path == b"/end":
            self._pace.end()
        if not _STREAM.search(body):
            self._transport.write(ANSWERS[path])
        elif _PACED.search(body):
            most = _MOST.search(body)
            self._pace.add(self._transport, int(most[1]) if most else TOKENS)
        else:
            self._transport.write(STREAMED)


def _content_length(head: bytes) -> int | None:
    """None for a body in chunks."""
    length: int | None = 0
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            length = int(line[15:])
        elif line.startswith(b"transfer-encoding:"):
            length = None
    return length


async def main() -> None:
    pace = Pace()
    server = await asyncio.get_running_loop().create_server(lambda: Responder(pace), "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.gather(server.serve_forever(), pace.keep())


if __name__ == "__main__":
    uvloop.run(main())
