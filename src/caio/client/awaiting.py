"""``caio.AsyncClient``: CAIO's API for programs with an event loop. Its twin for those that wait is ``blocking``."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import date
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar, Unpack

import httpx2

from caio.client import answers, calls
from caio.client.awaiting_parts import ChatCalls, Decisions, Policies, Receipts, Services, Workflows
from caio.client.calls import Request, Wishes
from caio.client.connection import CONNECTIONS, TIMEOUT_SECONDS, connection_to
from caio.client.exchange import Attempt, Call, NoAnswer, Pause, Received, exchange
from caio.client.transport import lost_by, received_of, request_of

if TYPE_CHECKING:
    pass

T = TypeVar("T")


class AsyncClient:
    """A server, asked with one key. Belongs to one event loop; close it, or use it as a context manager.

    ``url``, ``api_key`` and ``tenant`` are CAIO_URL, CAIO_API_KEY and CAIO_TENANT of the environment unless given.
    ``timeout`` is the time of a whole call in seconds, its attempts and the waits between them; of a stream, the
    time until it begins and the longest silence in it. Calls are tried again up to ``retries`` times where that
    cannot do anything twice. ``allow_http`` sends the key without TLS beyond this machine. Every method raises
    ``caio.client.ClientError``.
    """

    def __init__(
        self,
        url: str | None = None,
        api_key: str | None = None,
        *,
        tenant: str | None = None,
        timeout: float = TIMEOUT_SECONDS,
        retries: int = 4,
        allow_http: bool = False,
    ) -> None:
        self._connection = connection_to(url, api_key, tenant, timeout, retries, allow_http=allow_http)
        self._http = httpx2.AsyncClient(
            headers=self._connection.headers(),
            limits=httpx2.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS),
            trust_env=False,
        )
        self.chat = ChatCalls(self)
        self.services = Services(self)
        self.policies = Policies(self)
        self.decisions = Decisions(self)
        self.receipts = Receipts(self)
        self.workflows = Workflows(self)

    def __repr__(self) -> str:
        return f"<caio.AsyncClient of {self._connection.url}>"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def orchestrate(
        self,
        capability: str,
        payload: Any = None,
        *,
        idempotency_key: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - as in the blocking twin
        with_receipt: bool = False,
        **request: Unpack[Request],
    ) -> answers.Orchestrated:
        """Have the best service that satisfies the request called, and its answer enforced."""
        return await self._ask(
            calls.orchestrate(
                capability,
                payload,
                request,
                idempotency_key=idempotency_key,
                timeout=timeout,
                with_receipt=with_receipt,
            )
        )

    async def route(self, capability: str, payload: Any = None, **request: Unpack[Request]) -> answers.Routed:
        """Decide and record, without calling anyone."""
        return await self._ask(calls.route(capability, payload, request))

    async def discover(self, capability: str, payload: Any = None, **request: Unpack[Request]) -> answers.Discovered:
        """Who could take such a request, and what the others lack. Nothing is recorded."""
        return await self._ask(calls.discover(capability, payload, request))

    async def embeddings(
        self,
        texts: str | Sequence[Any],
        *,
        model: str = "auto",
        wishes: Wishes | None = None,
        idempotency_key: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - as in the blocking twin
        **fields: Any,
    ) -> answers.Embeddings:
        """Embed texts; ``fields`` are further ones of OpenAI's request."""
        return await self._ask(
            calls.embeddings(texts, model, wishes, fields, idempotency_key=idempotency_key, timeout=timeout)
        )

    async def models(self) -> list[answers.Model]:
        """What ``model`` may name."""
        return await self._ask(calls.list_models())

    async def usage(
        self,
        since: date | None = None,
        until: date | None = None,
        *,
        group_by: Sequence[str] = ("day",),
        principal: str | None = None,
        service: str | None = None,
        capability: str | None = None,
    ) -> answers.UsageStatement:
        """What was used from ``since`` to before ``until`` (UTC): this month, unless given."""
        filters = {"principal": principal, "service": service, "capability": capability}
        return await self._ask(calls.usage(since, until, group_by, filters))

    async def _ask(self, call: Call[T]) -> T:
        return call.read(await self._exchanged(call))

    async def _exchanged(self, call: Call[Any]) -> Received:
        """Carry out the steps of a call."""
        steps = exchange(call, call.timeout or self._connection.timeout, self._connection.patience)
        try:
            step = next(steps)
            while True:
                if isinstance(step, Pause):
                    await asyncio.sleep(step.seconds)
                    step = steps.send(None)
                    continue
                outcome = await self._attempt(call, step)
                step = steps.throw(outcome) if isinstance(outcome, NoAnswer) else steps.send(outcome)
        except StopIteration as done:
            received: Received = done.value
            return received

    async def _attempt(self, call: Call[Any], step: Attempt) -> Received | NoAnswer:
        request = request_of(self._http, self._connection.url, call, step.seconds)
        try:
            async with asyncio.timeout(step.seconds):
                response = await self._http.send(request, stream=True)
                if call.is_stream and response.status_code == 200:
                    return received_of(response, b"")
                try:
                    return received_of(response, await response.aread())
                finally:
                    await response.aclose()
        except TimeoutError:
            return NoAnswer("the server did not answer in time", sent=True, late=True)
        except (httpx2.HTTPError, httpx2.StreamError) as error:
            return lost_by(error)
