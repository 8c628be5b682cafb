"""Services that are local commands, speaking JSON lines over their standard input and output.

Theory of operation
-------------------
The operator names commands (setting ``process_commands``); a contract states one of these names and nothing else, so
no tenant's text is ever executed: there is no shell, and a request is data on the command's standard input. A running
command serves one call at a time and is kept for the next one; at most ``ProcessLimits.at_once`` of one name run. A
call that is cut short, by its time or because its caller left, ends its process with SIGKILL, together with all that
it started (it leads a process group of its own), since nobody knows what it would still write.

One line is one JSON object. In: ``{"id", "operation", "stream", "body"}``. Out: ``{"id", "answer"}``, or for a stream
any number of ``{"id", "chunk"}`` and then ``{"id", "done": true}``; or ``{"id", "error": {"type", "message"}}``, which
leaves the command ready for the next call. Answers and chunks of chats have OpenAI's shape.

A command that ends by itself is started again after a pause, which doubles with every end until an answer comes. Its
environment holds a PATH and a locale, no more. What it writes to standard error could quote what it was asked: it is
read and counted, never logged. The end of its standard input is its sign to go, also where this process is killed.

Laws (each has a test of the same name)
---------------------------------------
- only_named_commands_run.
- a_call_cut_short_leaves_no_process, nor does closing: not the command's own children either.
- lines_are_bounded.
- a_command_that_dies_is_not_hammered.
- standard_error_is_not_logged.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

import msgspec
import structlog

from caio.foundation.errors import UpstreamFailed, UpstreamFault
from caio.gateway.ports import Call, Chunk, Operation, ProviderAnswer, Target
from caio.providers.exchange import garbage, json_bytes, outgoing, subject_of
from caio.providers.faults import failed_event
from caio.providers.openai_compatible import read_answer, read_chunk, read_usage
from caio.providers.translated import cut

_logger = structlog.get_logger("caio.providers")

#: All that a command finds in its environment.
ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8"}

_READ_BYTES = 1 << 16
_LISTEN_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class ProcessLimits:
    """Bounds on what commands may take: processes of one name, bytes of a line, seconds between starts."""

    at_once: int = 4
    line_bytes: int = 16 << 20
    pause_seconds: float = 0.5
    longest_pause_seconds: float = 30.0


class _Line(msgspec.Struct):
    """What a command writes."""

    id: int
    answer: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    chunk: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    done: bool = False
    error: Any = None


_lines = msgspec.json.Decoder(_Line)


@dataclass(slots=True, eq=False)
class _Worker:
    """One running process, serving at most one call, until that time of the loop's clock."""

    process: asyncio.subprocess.Process
    stdin: asyncio.StreamWriter
    stdout: asyncio.StreamReader
    listening: asyncio.Task[int]
    calls: int = 0
    until: float = 0.0


@dataclass(slots=True)
class _Command:
    """One name's processes. ``ends`` are those since the last answer; nothing is started before ``not_before``."""

    argv: tuple[str, ...]
    room: asyncio.Semaphore
    idle: list[_Worker] = field(default_factory=list)
    running: set[_Worker] = field(default_factory=set)
    ends: int = 0
    not_before: float = 0.0

    def __post_init__(self) -> None:
        if not self.argv:
            raise ValueError("a command has at least a program")


class Processes:
    """The ``process`` protocol. ``commands`` are the operator's: name to program and arguments."""

    def __init__(self, commands: Mapping[str, Sequence[str]], limits: ProcessLimits | None = None) -> None:
        self._limits = limits or ProcessLimits()
        room = self._limits.at_once
        self._commands = {name: _Command(tuple(argv), asyncio.Semaphore(room)) for name, argv in commands.items()}
        self._closed = False

    async def close(self) -> None:
        """End every process; calls that are under way fail. It cannot be used again."""
        self._closed = True
        for command in self._commands.values():
            command.idle.clear()
            for worker in tuple(command.running):
                await _end(command, worker)

    async def call(self, target: Target, call: Call) -> ProviderAnswer:
        """One line in, one line out; raises UpstreamFailed."""
        async with self._worker(target, call) as worker:
            line = await self._asked(target, call, worker, stream=False)
            if line.answer is msgspec.UNSET:
                raise garbage(target, "wrote a line without an answer")
            document = _decoded(target, line.answer)
        if call.operation is Operation.CHAT:
            return read_answer(target, call, document)
        usage = document.get("usage") if isinstance(document, Mapping) else None
        return ProviderAnswer(document, read_usage(usage))

    async def stream(self, target: Target, call: Call) -> AsyncIterator[Sequence[Chunk]]:
        """The chunks up to ``done``; raises UpstreamFailed, also when the command ends before it."""
        async with self._worker(target, call) as worker:
            line = await self._asked(target, call, worker, stream=True)
            while not line.done:
                if line.chunk is msgspec.UNSET:
                    raise garbage(target, "wrote a line that is no chunk of a stream")
                yield (read_chunk(target, call, bytes(line.chunk)),)
                line = await self._next_line(target, call, worker)

    async def _asked(self, target: Target, call: Call, worker: _Worker, *, stream: bool) -> _Line:
        body = outgoing(call.body)
        if target.model is not None and isinstance(body, dict):
            body["model"] = target.model
        asked = {"id": worker.calls, "operation": call.operation, "stream": stream, "body": body}
        raw = json_bytes(target, asked) + b"\n"
        try:
            async with asyncio.timeout_at(worker.until):
                worker.stdin.write(raw)
                await worker.stdin.drain()
        except ConnectionError:
            pass  # the command is gone, of which the next line tells
        except TimeoutError:
            raise _late(target) from None
        return await self._next_line(target, call, worker)

    async def _next_line(self, target: Target, call: Call, worker: _Worker) -> _Line:
        line: _Line | None = None
        try:
            async with asyncio.timeout_at(worker.until):
                line = _lines.decode(await worker.stdout.readuntil(b"\n"))
        except TimeoutError:
            raise _late(target) from None
        except asyncio.IncompleteReadError:
            raise cut(target) from None
        except (asyncio.LimitOverrunError, ValueError, RecursionError):
            pass
        if line is None or line.id != worker.calls:  # outside the handler, whose error may quote the line
            raise garbage(target, "wrote a line that is too long, or no answer to what it was asked")
        if line.error:
            raise _Told(failed_event(subject_of(target), {"error": line.error}, secret=call.secret))
        return line

    @asynccontextmanager
    async def _worker(self, target: Target, call: Call) -> AsyncIterator[_Worker]:
        """A process for one call, kept for the next one when this one came to its end, and ended otherwise."""
        command = self._commands.get(target.command or "")
        if command is None or self._closed:
            raise _refused(target, "the operator has named no such command (CAIO_PROCESS_COMMANDS)")
        if target.auth_scheme != "none":
            raise _refused(target, "a command is given no secret; its contract's auth scheme must be none")
        if call.timeout <= 0:
            raise UpstreamFailed(f"{subject_of(target)} was not called: no time was left", UpstreamFault.TIMEOUT)
        until = asyncio.get_running_loop().time() + call.timeout
        await _entered(target, command, until)
        try:
            worker = await self._taken(target, command, until)
            clean, failure = False, None
            try:
                yield worker
                clean = True
            except _Told as told:
                clean, failure = True, told.failure
            finally:
                await self._left(command, worker, clean=clean)
            if failure is not None:
                raise failure
        finally:
            command.room.release()

    async def _taken(self, target: Target, command: _Command, until: float) -> _Worker:
        """One that is idle, or else a new one; the caller has room for it."""
        while command.idle:
            worker = command.idle.pop()
            if worker.process.returncode is None:
                worker.calls, worker.until = worker.calls + 1, until
                return worker
            await _end(command, worker)
        wait = command.not_before - monotonic()
        if wait > 0:
            what = f"ended by itself {command.ends} time(s) and is started again in a while"
            raise UpstreamFailed(f"{subject_of(target)} {what}", UpstreamFault.UNREACHABLE, retry_after=wait)
        process = await self._started(command)
        if process is None or process.stdin is None or process.stdout is None or process.stderr is None:
            raise UpstreamFailed(f"{subject_of(target)} could not be started", UpstreamFault.UNREACHABLE)
        listening = asyncio.create_task(_bytes_until_end(process.stderr))
        worker = _Worker(process, process.stdin, process.stdout, listening, 1, until)
        command.running.add(worker)
        return worker

    async def _started(self, command: _Command) -> asyncio.subprocess.Process | None:
        try:
            return await asyncio.create_subprocess_exec(
                *command.argv,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env=ENVIRONMENT,
                cwd="/",
                start_new_session=True,
                limit=self._limits.line_bytes,
            )
        except OSError:
            self._ended(command)
            return None

    async def _left(self, command: _Command, worker: _Worker, *, clean: bool) -> None:
        if clean and worker.process.returncode is None and worker in command.running:
            command.ends, command.not_before = 0, 0.0
            command.idle.append(worker)
            return
        if worker.stdout.at_eof() and not self._closed:
            self._ended(command)
        await _end(command, worker)

    def _ended(self, command: _Command) -> None:
        pause = min(self._limits.pause_seconds * 2 ** min(command.ends, 16), self._limits.longest_pause_seconds)
        command.ends += 1
        command.not_before = monotonic() + pause


class _Told(Exception):
    """A failure that the command itself told of: it is ready for the next call."""

    def __init__(self, failure: UpstreamFailed) -> None:
        super().__init__()
        self.failure = failure


async def _entered(target: Target, command: _Command, until: float) -> None:
    """Take a place among the command's processes; raises UpstreamFailed OVERLOADED when none is free in time."""
    try:
        async with asyncio.timeout_at(until):
            await command.room.acquire()
            return
    except TimeoutError:
        failure = UpstreamFailed(f"{subject_of(target)} is busy with other calls", UpstreamFault.OVERLOADED)
    raise failure


async def _end(command: _Command, worker: _Worker) -> None:
    """Kill the process and all of its group, once, and wait until it is gone, whoever leaves in the meantime."""
    if worker in command.running:
        command.running.discard(worker)
        with suppress(ProcessLookupError):
            os.killpg(worker.process.pid, signal.SIGKILL)
        await asyncio.shield(_gone(command, worker))


async def _gone(command: _Command, worker: _Worker) -> None:
    worker.stdin.close()
    # A child that has left the group may hold the pipes open, and asyncio waits for them: not for longer than this.
    with suppress(TimeoutError):
        async with asyncio.timeout(_LISTEN_SECONDS):
            await worker.process.wait()
            await asyncio.shield(worker.listening)
    code = worker.process.returncode
    if worker.listening.done():
        size = worker.listening.result()
        _logger.info("process_ended", program=command.argv[0], exit_code=code, standard_error_bytes=size)
    else:
        worker.listening.cancel()
        # Else the pipes stay open as long as that child does; asyncio has no other way to let go of them.
        worker.process._transport.close()  # type: ignore[attr-defined]


async def _bytes_until_end(stream: asyncio.StreamReader) -> int:
    """Read a stream to its end, so that the command never waits for a reader; how many bytes there were."""
    size = 0
    while piece := await stream.read(_READ_BYTES):
        size += len(piece)
    return size


def _decoded(target: Target, raw: msgspec.Raw) -> Any:
    try:
        return msgspec.json.decode(raw)
    except (ValueError, RecursionError):
        failure = garbage(target, "wrote an answer that is not JSON")
    raise failure


def _refused(target: Target, why: str) -> UpstreamFailed:
    return UpstreamFailed(f"{subject_of(target)} was not called: {why}", UpstreamFault.BLOCKED)


def _late(target: Target) -> UpstreamFailed:
    return UpstreamFailed(f"{subject_of(target)} did not answer in time", UpstreamFault.TIMEOUT)
