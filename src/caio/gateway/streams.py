"""The request path for answers that come in pieces (server-sent events in OpenAI's shape).

Theory of operation
-------------------
``open`` returns once the first content has come from a service and the decision is durable, so
the headers can tell the truth about who answers. Until then a broken stream is invisible: the
next ranked service takes over. After content has been released a break ends the stream with an
explicit error event and no end mark; it never looks complete. Whoever sends the frames sends that event where it
is not the service that broke (``OpenStream.end``). ``[DONE]`` is released only after
the outcome is durable; where that cannot be written, an error event is. A caller who goes away cancels the
upstream call, and what was produced until then is settled. One who does not read is taken for gone a little after
the request's deadline (``OpenStream.seconds_left``): whoever sends the frames sees to that.

Between the first chunks and the last nothing has to be awaited: where both sides can, a chunk goes from the socket
it comes by to the caller's with no task between (``Straight``).

A service has ``Patience`` for its first content and between any two chunks, and never longer than
the deadline or the contract's ``timeout_ms`` leave. Comments and heartbeats of the protocol are no chunks.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field, replace
from time import monotonic

import structlog

from caio.audit.ports import Status
from caio.foundation.errors import CaioError, UpstreamFailed, UpstreamFault
from caio.foundation.money import Usage
from caio.gateway.attempts import Endpoint, price, since
from caio.gateway.books import Ending
from caio.gateway.course import acceptable
from caio.gateway.frames import End, Frames
from caio.gateway.in_time import InTime
from caio.gateway.pipeline import Gateway, ended_by
from caio.gateway.ports import Chunk, Standing
from caio.gateway.run import Run, Tried, Wanted, estimated_tokens, named
from caio.gateway.waits import Waits

_logger = structlog.get_logger("caio.gateway")

#: How much longer than the request's deadline a stream may take to be read, in seconds.
GRACE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Patience:
    """For how many seconds a service is waited for: until there is content, and from chunk to chunk."""

    first_token_seconds: float = 60.0
    idle_seconds: float = 30.0


@dataclass(slots=True)
class _Upstream:
    """One service's stream and what has come of it so far."""

    endpoint: Endpoint
    started: float
    chunks: AsyncIterator[Sequence[Chunk]] = field(init=False)
    tell: Callable[[Sequence[Chunk]], bool] | None = None
    held: list[Chunk] = field(default_factory=list)
    first_content_ms: int | None = None
    text_bytes: int = 0
    usage: Usage | None = None

    def take(self, chunks: Sequence[Chunk]) -> bool:
        return self.tell is not None and self.tell(chunks)

    def note(self, chunks: Sequence[Chunk]) -> None:
        for chunk in chunks:
            self.text_bytes += len(chunk.text.encode())
            self.usage = chunk.usage or self.usage
            if self.first_content_ms is None and chunk.has_content:
                self.first_content_ms = self.elapsed_ms

    @property
    def elapsed_ms(self) -> int:
        return since(self.started)


@dataclass(slots=True)
class Straight:
    """The short way of a stream's frames: what ``write`` sends is not among those that are iterated. It says whether
    the next frame may be sent so, too; whoever iterates sets it when one may."""

    write: Callable[[bytes], bool] | None = None


@dataclass(frozen=True, slots=True)
class OpenStream:
    """A stream whose first content is at hand. Iterate ``frames`` to the end, or close it; at the latest at
    ``ends_at``, by the monotonic clock. ``end`` tells why there is none, where the iteration ended without one."""

    decision_id: str
    service_id: str
    version: str
    frames: AsyncGenerator[bytes, None]
    end: End
    standing: Standing | None
    ends_at: float
    straight: Straight = field(default_factory=Straight)

    @property
    def seconds_left(self) -> float:
        return self.ends_at - monotonic()


class Streams:
    """Opens streams along the gateway's path."""

    def __init__(self, gateway: Gateway, patience: Patience) -> None:
        self._gateway = gateway
        self._patience = patience

    async def open(self, wanted: Wanted) -> OpenStream:
        """Raises what ``Gateway.orchestrate`` raises, before anything was released."""
        gateway = self._gateway
        run = await gateway.admitted(wanted)
        entering = gateway.enter(run)
        upstream: _Upstream | None = None
        try:
            with InTime(run.started, entering):
                upstream = await self._first_content(run)
                await entering
        except (Exception, asyncio.CancelledError) as error:
            gateway.course.left(run)
            try:
                if upstream is not None:
                    await _close(upstream)
            finally:
                await gateway.books.abandon(run, entering, ended_by(error))
            if isinstance(error, CaioError):  # the decision is durable, or ``abandon`` would have raised
                raise named(error, run.decision_id) from error.__cause__
            raise
        gateway.metrics.first_token_seconds.add(run.waited + monotonic() - run.started)
        end = End(run.wanted.frames(), run.decision_id)
        offer, straight = run.candidate.offer, Straight()
        frames = self._frames(run, upstream, end, straight)
        await anext(frames)  # a generator that was begun finishes the run even when nobody reads on
        ends_at = monotonic() + run.remaining + GRACE_SECONDS
        standing = run.grant.standing
        decision_id, service_id, version = run.decision_id, offer.service_id, offer.version
        return OpenStream(decision_id, service_id, version, frames, end, standing, ends_at, straight)

    async def _first_content(self, run: Run) -> _Upstream:
        """The first service, in rank order, that gets as far as content within its guarantee."""
        while True:
            started = monotonic()
            upstream: _Upstream | None = None
            try:
                upstream = await self._connect(run, started)
                tried = self._tried(run, upstream, None)
            except UpstreamFailed as fault:
                tried = Tried(run.candidate, since(started), fault, streamed=True)
            if upstream is not None and acceptable(tried, run.decision.on_violation):
                return upstream
            if upstream is not None:
                await _close(upstream)
            run.tried.append(tried)
            self._gateway.course.told(run, tried)
            await self._gateway.course.followed(run, tried, repeatable=False)

    async def _connect(self, run: Run, started: float) -> _Upstream:
        provider, endpoint, call = await self._gateway.attempts.prepare(run)
        upstream = _Upstream(endpoint, started)
        upstream.chunks = provider.stream(endpoint.target, replace(call, take=upstream.take))
        try:
            async with asyncio.timeout(min(call.timeout, self._patience.first_token_seconds)):
                async for chunks in upstream.chunks:
                    upstream.held += chunks
                    upstream.note(chunks)
                    if upstream.first_content_ms is not None:
                        break
        except TimeoutError:
            await _close(upstream)
            raise UpstreamFailed("no first token in time", UpstreamFault.TIMEOUT) from None
        except BaseException:
            await _close(upstream)
            raise
        return upstream

    async def _frames(self, run: Run, upstream: _Upstream, end: End, straight: Straight) -> AsyncGenerator[bytes, None]:
        """What the caller receives, after an empty first step that does not wait; together what came at once.
        However it ends, the run is finished exactly once."""

        def tell(chunks: Sequence[Chunk]) -> bool:
            """Send chunks straight on, while the next are waited for."""
            if (write := straight.write) is None:
                return False
            waits.renew()
            upstream.note(chunks)
            if (told := _told(telling, chunks)) and not write(told):
                straight.write = None
            return True

        status, telling = Status.CANCELLED, end.frames
        fault: UpstreamFailed | None = None
        waits = Waits(self._patience.idle_seconds, monotonic() + run.remaining)
        self._gateway.metrics.streams_open += 1
        try:
            yield b""
            chunks: Sequence[Chunk] = upstream.held
            upstream.held = []
            upstream.tell = tell
            while chunks:
                if told := _told(telling, chunks):
                    yield told
                try:
                    with waits:  # and not around the yield: the caller's pace is not the service's fault
                        chunks = await anext(upstream.chunks)
                except StopAsyncIteration:
                    chunks = ()
                upstream.note(chunks)
            status = Status.OK
        except UpstreamFailed as error:
            status, fault = Status.FAILED, error
        except Exception:
            status = Status.FAILED
            raise
        finally:
            waits.close()
            self._gateway.metrics.streams_open -= 1
            try:
                await _close(upstream)
            finally:
                unwritten = await self._ended(run, upstream, status, fault)
        yield end.told(unwritten or fault)

    async def _ended(
        self, run: Run, upstream: _Upstream, status: Status, fault: UpstreamFailed | None
    ) -> CaioError | None:
        """Finish the run; why that could not be written, where somebody reads on who is to be told."""
        tried = self._tried(run, upstream, fault)
        run.tried.append(tried)
        if status is Status.CANCELLED:
            self._gateway.course.left(run)
        else:
            self._gateway.course.told(run, tried)
        if status is Status.OK and tried.breaches:
            status = Status.VIOLATED
        try:
            await self._gateway.books.finish(run, Ending(status, tried.usage, tried.cost))
        except CaioError as error:
            if status is Status.CANCELLED:
                raise
            _logger.error("outcome_not_written", decision_id=run.decision_id, code=error.code)
            return error
        return None

    def _tried(self, run: Run, upstream: _Upstream, fault: UpstreamFailed | None) -> Tried:
        """The attempt as it stands: usage as reported, else counted from what was produced."""
        produced = Usage(estimated_tokens(run.wanted.request.input_bytes), estimated_tokens(upstream.text_bytes))
        usage = replace(upstream.usage or produced, milliseconds=upstream.elapsed_ms)
        first = upstream.first_content_ms
        breaches = () if first is None else upstream.endpoint.rules.check_first_token(first)
        latency = first or upstream.elapsed_ms
        cost, over = price(run.candidate, usage)
        return Tried(run.candidate, latency, fault, None, usage, cost, (*breaches, *over), streamed=True)


def _told(telling: Frames, chunks: Sequence[Chunk]) -> bytes:
    return telling.chunk(chunks[0]) if len(chunks) == 1 else b"".join(map(telling.chunk, chunks))


async def _close(upstream: _Upstream) -> None:
    """Cancel the upstream call, if it is still going."""
    close = getattr(upstream.chunks, "aclose", None)
    if close is not None:
        await close()
