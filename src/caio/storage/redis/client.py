"""One Redis server, asked in bounded time over one connection.

Requests are written as they come and answered in their order, so that calls at once share the way there and back.

Laws (each has a test of the same name)
---------------------------------------
- a_step_is_bounded: an answer that is not there after ``step_seconds`` is not waited for. The connection is dropped,
  so that a late answer is never taken for another's. Connecting happens in the background alone.
- a_dropped_connection_keeps_nobody: whoever waits for an answer on it is told at once.
- away_costs_nothing: after a step that failed the server counts as away, and further steps fail at once
  until ``Heartbeats`` has reached it again.
- a_busy_process_is_not_an_outage: time in which this process did not look for the answer does not count.
- a_step_that_fails_by_itself_fails_alone: an account that is not as it should be is one tenant's trouble.
- a_server_that_evicts_is_refused: so is one in cluster mode, and one too old.

Whether a step that got no answer was carried out is not known here. Steps that take something therefore carry
the time after which the server must not take it any more.
"""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from redis.asyncio import Connection, ConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError, ResponseError

from caio.foundation.errors import Misconfigured
from caio.storage.redis.scripts import Script

STEP_SECONDS = 0.05

#: How long connecting may take, with name look-up, TLS and log-in; no call waits for it.
CONNECT_SECONDS = 1.0

_OLDEST = (6, 2)

_STATES = re.compile(r"\b(OOM|READONLY|MISCONF|NOREPLICAS|MASTERDOWN|LOADING|BUSY|CLUSTERDOWN|NOPERM)\b")


class ServerAway(Exception):
    """The server did not answer in time, or cannot do what it was asked at present."""


class StepFailed(ServerAway):
    """The server answers, but this step cannot be done: an account that it holds is not as it should be. To the
    call that is the same; others go on."""


class _Line:
    """A connection on which many wait for their answers."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._writer = connection._writer
        self._waiting: deque[asyncio.Future[Any]] = deque()
        self._reading = asyncio.create_task(self._read())

    async def ask(self, words: Sequence[str | bytes], seconds: float) -> Any:
        """The answer, an error of the server as an exception. Raises TimeoutError and OSError."""
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting.append(answer)
        if self._reading.done():
            raise ConnectionError
        async with asyncio.timeout(seconds):  # a server that stands still takes in no more than its buffers
            await self._connection.send_packed_command(_packed(words), check_health=False)
        await asyncio.wait((answer,), timeout=seconds)
        for _ in range(3):
            if not answer.done():
                await asyncio.sleep(0)  # the loop may have been busy elsewhere: look once more
        if not answer.done():
            raise TimeoutError
        if isinstance(told := answer.result(), ConnectionError):
            raise told
        return told

    async def close(self) -> None:
        self._reading.cancel()
        with suppress(asyncio.CancelledError):
            await self._reading
        self._tell_that_it_is_lost("closed")
        if self._writer is not None:
            self._writer.transport.abort()  # what the server has not taken in must not reach it later
        await self._connection.disconnect(nowait=True)

    async def _read(self) -> None:
        try:
            while True:
                try:
                    answer = await self._connection.read_response(disconnect_on_error=False)
                except ResponseError as error:
                    answer = error
                waiting = self._waiting.popleft()
                if not waiting.done():
                    waiting.set_result(answer)
        except (RedisError, OSError) as error:
            self._tell_that_it_is_lost(str(error))

    def _tell_that_it_is_lost(self, why: str) -> None:
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_result(ConnectionError(why))  # no exception: whoever waited may have gone


class Client:
    """Scripts on one server. ``away`` is set by a failure and cleared by whoever has seen it answer again."""

    def __init__(self, url: str, *, step_seconds: float = STEP_SECONDS) -> None:
        try:
            self._pool = ConnectionPool.from_url(url, retry=Retry(NoBackoff(), 0), client_name="caio")
        except ValueError:  # it would quote what stands in the port's place: a part of a password that is not quoted
            raise unusable_url("CAIO_REDIS_URL") from None
        self._line: _Line | None = None
        self.step_seconds = step_seconds
        self.away = True
        self.timeouts = 0
        self.failures = 0

    async def run(self, script: Script, keys: Sequence[str] = (), arguments: Sequence[str | bytes] = ()) -> list[Any]:
        """What the script answers. Raises ServerAway, at once while the server is away."""
        if self.away:
            raise ServerAway
        return await self.try_to_run(script, keys, arguments)

    async def try_to_run(
        self, script: Script, keys: Sequence[str] = (), arguments: Sequence[str | bytes] = ()
    ) -> list[Any]:
        """The same, also while the server is away: to find out whether it still is."""
        rest = (str(len(keys)), *keys, *arguments)
        answer = await self._ask("EVALSHA", script.digest, *rest)
        if isinstance(answer, NoScriptError):
            answer = await self._ask("EVAL", script.text, *rest)
        return list(await self._sound(answer))

    async def fields(self, key: str) -> dict[str, str]:
        """A hash's fields. Raises ServerAway."""
        flat = [each.decode() for each in await self._sound(await self._ask("HGETALL", key))]
        return dict(zip(flat[::2], flat[1::2], strict=True))

    async def members(self, key: str) -> list[str]:
        """A set's members. Raises ServerAway."""
        return sorted(each.decode() for each in await self._sound(await self._ask("SMEMBERS", key)))

    async def connect(self) -> None:
        """Connect, unless that is so already. Raises ServerAway, and Misconfigured for a server that could forget or
        misplace accounts."""
        if self._is_connected():
            return
        connection: Connection = self._pool.make_connection()  # type: ignore[no-untyped-call]
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await connection.connect()  # type: ignore[no-untyped-call]
        except (TimeoutError, RedisError, OSError):
            self.failures += 1
            await connection.disconnect(nowait=True)
            raise ServerAway from None
        except BaseException:
            await connection.disconnect(nowait=True)  # whoever waited was cancelled; nobody else holds it
            raise
        if self._is_connected():  # somebody else was faster
            await connection.disconnect(nowait=True)
            return
        self._line = _Line(connection)
        about = await self._sound(await self._ask("INFO"))
        try:
            _check(about.decode())
        except Misconfigured:
            await self._drop()
            raise

    def _is_connected(self) -> bool:
        return self._line is not None

    async def close(self) -> None:
        self.away = True
        await self._drop()

    async def _ask(self, *words: str | bytes) -> Any:
        line = self._line
        if line is None:
            self.away = True
            raise ServerAway
        try:
            return await line.ask(words, self.step_seconds)
        except TimeoutError:
            self.timeouts += 1
        except (RedisError, OSError):
            self.failures += 1
        if line is self._line:
            await self._drop()
        raise ServerAway

    async def _sound(self, answer: Any) -> Any:
        """The answer, unless it is an error."""
        if isinstance(answer, Exception):
            self.failures += 1
            if _is_of_the_step(answer):
                raise StepFailed(str(answer))
            await self._drop()
            raise ServerAway
        return answer

    async def _drop(self) -> None:
        self.away = True
        line, self._line = self._line, None
        if line is not None:
            await line.close()


def unusable_url(variable: str) -> Misconfigured:
    return Misconfigured(
        f"{variable} cannot be used: its form is rediss://user:password@host:port/number, with each character of the "
        "password that means something in a URL, like / or @, as its %-code"
    )


def _is_of_the_step(error: Exception) -> bool:
    """Whether a script failed by what it found, not by the state that the server is in."""
    # Errors of states have classes of their own, or their names in the text: as older servers tell them of scripts.
    return type(error) is ResponseError and "user_script" in str(error) and not _STATES.search(str(error))


def _packed(words: Sequence[str | bytes]) -> bytes:
    """A request in Redis's protocol."""
    parts = [b"*%d\r\n" % len(words)]
    for word in words:
        data = word if isinstance(word, bytes) else word.encode()
        parts.append(b"$%d\r\n%b\r\n" % (len(data), data))
    return b"".join(parts)


def _check(info: str) -> None:
    about = dict(line.split(":", 1) for line in info.splitlines() if ":" in line)
    version, policy = about.get("redis_version", "0"), about.get("maxmemory_policy", "noeviction")
    if about.get("redis_mode") == "cluster":
        raise Misconfigured("CAIO_REDIS_URL names a cluster; use one primary with replicas, cluster mode disabled")
    if tuple(int(part) for part in version.split(".")[:2]) < _OLDEST:
        raise Misconfigured(f"CAIO_REDIS_URL names a Redis {version}; at least 6.2 is needed")
    if policy != "noeviction":
        raise Misconfigured(
            f"the Redis of CAIO_REDIS_URL could forget limits: set its maxmemory-policy, {policy}, to noeviction"
        )
