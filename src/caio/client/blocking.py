"""``caio.Client``: CAIO's API for programs that wait for answers. Its twin for event loops is ``awaiting``."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import date
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar, Unpack

import httpx2

from caio.client import answers, calls
from caio.client.blocking_parts import ChatCalls, Decisions, Policies, Receipts, Services, Workflows
from caio.client.calls import Request, Wishes
from caio.client.connection import CONNECTIONS, TIMEOUT_SECONDS, connection_to
from caio.client.exchange import Attempt, Call, NoAnswer, Pause, Received, exchange
from caio.client.transport import lost_by, received_of, request_of

if TYPE_CHECKING:
    pass

T = TypeVar("T")


class Client:
    """A server, asked with one key. Safe for several threads; close it, or use it as a context manager.

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
        self._http = httpx2.Client(
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
        return f"<caio.Client of {self._connection.url}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def orchestrate(
        self,
        capability: str,
        payload: Any = None,
        *,
        idempotency_key: str | None = None,
        timeout: float | None = None,
        with_receipt: bool = False,
        **request: Unpack[Request],
    ) -> answers.Orchestrated:
        """Have the best service that satisfies the request called, and its answer enforced."""
        return self._ask(
            calls.orchestrate(
                capability,
                payload,
                request,
                idempotency_key=idempotency_key,
                timeout=timeout,
                with_receipt=with_receipt,
            )
        )

    def route(self, capability: str, payload: Any = None, **request: Unpack[Request]) -> answers.Routed:
        """Decide and record, without calling anyone."""
        return self._ask(calls.route(capability, payload, request))

    def discover(self, capability: str, payload: Any = None, **request: Unpack[Request]) -> answers.Discovered:
        """Who could take such a request, and what the others lack. Nothing is recorded."""
        return self._ask(calls.discover(capability, payload, request))

    def embeddings(
        self,
        texts: str | Sequence[Any],
        *,
        model: str = "auto",
        wishes: Wishes | None = None,
        idempotency_key: str | None = None,
        timeout: float | None = None,
        **fields: Any,
    ) -> answers.Embeddings:
        """Embed texts; ``fields`` are further ones of OpenAI's request."""
        return self._ask(
            calls.embeddings(texts, model, wishes, fields, idempotency_key=idempotency_key, timeout=timeout)
        )

    def models(self) -> list[answers.Model]:
        """What ``model`` may name."""
        return self._ask(calls.list_models())

    def usage(
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
        return self._ask(calls.usage(since, until, group_by, filters))

    def _ask(self, call: Call[T]) -> T:
        return call.read(self._exchanged(call))

    def _exchanged(self, call: Call[Any]) -> Received:
        """Carry out the steps of a call."""
        steps = exchange(call, call.timeout or self._connection.timeout, self._connection.patience)
        try:
            step = next(steps)
            while True:
                if isinstance(step, Pause):
                    time.sleep(step.seconds)
                    step = steps.send(None)
                    continue
                outcome = self._attempt(call, step)
                step = steps.throw(outcome) if isinstance(outcome, NoAnswer) else steps.send(outcome)
        except StopIteration as done:
            received: Received = done.value
            return received

    def _attempt(self, call: Call[Any], step: Attempt) -> Received | NoAnswer:
        ends = time.monotonic() + step.seconds
        request = request_of(self._http, self._connection.url, call, step.seconds)
        try:
            response = self._http.send(request, stream=True)
            if call.is_stream and response.status_code == 200:
                return received_of(response, b"")
            try:
                return received_of(response, self._body(response, ends))
            finally:
                response.close()
        except (httpx2.HTTPError, httpx2.StreamError) as error:
            return lost_by(error)

    def _body(self, response: httpx2.Response, ends: float) -> bytes:
        parts = []
        for part in response.iter_bytes():
            parts.append(part)
            if time.monotonic() > ends:
                raise httpx2.ReadTimeout("the answer came too slowly")
        return b"".join(parts)
