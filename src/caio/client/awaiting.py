"""``caio.AsyncClient``: CAIO's API for programs with an event loop. Its twin for those that wait is ``blocking``."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import date
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar, Unpack

import httpx2

from caio.client import answers, calls, trust
from caio.client.calls import Document, Request, Wishes
from caio.client.connection import CONNECTIONS, TIMEOUT_SECONDS, connection_to
from caio.client.errors import Misused, StreamBroken
from caio.client.exchange import Attempt, Call, NoAnswer, Pause, Received, exchange
from caio.client.streams import ChatEvents, broken
from caio.client.transport import lost_by, received_of, request_of

if TYPE_CHECKING:
    from caio.audit.verify import Verification

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


class AsyncChatStream:
    """A chat completion, piece by piece. Iterate it to the end, or close it: that cancels what is left of the call.

    It begins when it is entered or first iterated; ``routing`` is known from then on.
    """

    def __init__(self, client: AsyncClient, call: Call[Received]) -> None:
        self._client = client
        self._call = call
        self._received: Received | None = None
        self._closed = False
        self._chunks = self._iterate()

    async def __aenter__(self) -> Self:
        await self._open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.close()

    def __aiter__(self) -> AsyncIterator[answers.ChatChunk]:
        return self

    async def __anext__(self) -> answers.ChatChunk:
        return await anext(self._chunks)

    @property
    def routing(self) -> answers.Routing:
        """Which decision it comes of, and which service tells it. Raises Misused before it has begun."""
        if self._received is None:
            raise Misused("the stream has not begun: enter it, or take its first piece")
        return calls.routing_of(self._received)

    async def text(self) -> str:
        """All the text that is still to come."""
        return "".join([chunk.text async for chunk in self])

    async def close(self) -> None:
        """Nothing more is wanted of it."""
        self._closed = True
        if self._received is not None:
            await self._received.opened.aclose()

    async def _open(self) -> Received:
        if self._received is None:
            if self._closed:
                raise Misused("the stream is closed")
            self._received = await self._client._ask(self._call)
        return self._received

    async def _iterate(self) -> AsyncIterator[answers.ChatChunk]:
        response, events = (await self._open()).opened, ChatEvents()
        try:
            async for piece in response.aiter_bytes():
                for chunk in events.feed(piece):
                    yield chunk
                if events.ended:
                    break
            events.close()
        except (httpx2.HTTPError, httpx2.StreamError) as error:
            fault: StreamBroken = broken(str(lost_by(error)))
        else:
            return
        finally:
            await response.aclose()
        raise fault


class ChatCalls:
    """``client.chat``: OpenAI's chat completions. ``model`` is a service, an alias, ``auto`` or ``auto:CAPABILITY``;
    ``fields`` are further ones of OpenAI's request."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client

    async def create(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        model: str = "auto",
        wishes: Wishes | None = None,
        idempotency_key: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - as in the blocking twin
        **fields: Any,
    ) -> answers.Chat:
        """A complete answer."""
        call = calls.chat(messages, model, wishes, fields, idempotency_key=idempotency_key, timeout=timeout)
        return await self._client._ask(call)

    def stream(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        model: str = "auto",
        wishes: Wishes | None = None,
        timeout: float | None = None,
        **fields: Any,
    ) -> AsyncChatStream:
        """An answer in pieces: ``async with client.chat.stream(…) as stream: async for chunk in stream: …``."""
        return AsyncChatStream(self._client, calls.chat_stream(messages, model, wishes, fields, timeout=timeout))


class _Publications:
    """Contracts or policies, registered, versioned, retired."""

    _kind = ""

    def __init__(self, client: AsyncClient) -> None:
        self._ask = client._ask

    async def register(self, document: Document) -> answers.Publication:
        """Register a document: YAML or JSON as text, or a mapping."""
        return await self._ask(calls.register(self._kind, document))

    async def validate(self, document: Document) -> answers.Validation:
        """Say everything that is wrong with it, without registering it."""
        return await self._ask(calls.validate(self._kind, document))

    async def publish(self, name: str, document: Document, revision: int) -> answers.Publication:
        """Publish a further version, which becomes the active one; ``revision`` is the one last read."""
        return await self._ask(calls.publish(self._kind, name, document, revision))

    async def get(self, name: str, version: str | None = None) -> answers.Publication:
        """The newest version, or the one asked for."""
        return await self._ask(calls.publication(self._kind, name, version))

    async def list(
        self, *, after: str | None = None, limit: int = 50, retired: bool = False
    ) -> answers.Page[answers.Publication]:
        """A page, by name; the next begins ``after`` its ``next``."""
        return await self._ask(calls.publications(self._kind, after, limit, retired))

    async def retire(self, name: str, revision: int | None = None) -> answers.Publication:
        """Take it out of use; its versions stay readable."""
        return await self._ask(calls.retire(self._kind, name, revision))


class Services(_Publications):
    """``client.services``: contracts."""

    _kind = "services"


class Policies(_Publications):
    """``client.policies``: the tenant's rules."""

    _kind = "policies"


class Decisions:
    """``client.decisions``: what was decided, and on which evidence."""

    def __init__(self, client: AsyncClient) -> None:
        self._ask = client._ask

    async def get(self, decision_id: str) -> answers.Decision:
        return await self._ask(calls.decision(decision_id))

    async def list(self, *, before: str | None = None, limit: int = 50) -> answers.Page[answers.DecisionSummary]:
        """A page, newest first; the next is what was ``before`` its ``next``."""
        return await self._ask(calls.decisions(before, limit))

    async def evidence(self, decision_id: str) -> dict[str, Any]:
        """What the decision was made from: with it, it can be worked out again."""
        return await self._ask(calls.of_decision(decision_id, "evidence"))

    async def explanation(self, decision_id: str) -> dict[str, Any]:
        """Why the winner won, and what each loser lacked."""
        return await self._ask(calls.of_decision(decision_id, "explanation"))


class Receipts:
    """``client.receipts``: signed receipts, and what they prove."""

    def __init__(self, client: AsyncClient) -> None:
        self._ask = client._ask

    async def get(self, decision_id: str) -> dict[str, Any]:
        return await self._ask(calls.of_decision(decision_id, "receipt"))

    async def published_keys(self) -> dict[str, bytes]:
        """The keys that the server publishes. To verify with these is to trust the server on first use."""
        return trust.keys_in(await self._ask(calls.published_keys()))

    async def verify(
        self, receipt: str | Mapping[str, Any], keys: trust.Keys, evidence: Mapping[str, Any] | None = None
    ) -> Verification:
        """Check every claim of a receipt, given or fetched by its decision's id, with ``keys`` alone."""
        document = await self.get(receipt) if isinstance(receipt, str) else receipt
        return trust.verify_receipt(document, keys, evidence)
