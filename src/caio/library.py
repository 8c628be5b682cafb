"""CAIO as a library: the server's own parts, in this process, without HTTP.

    with Orchestrator("./data", allow_private=["127.0.0.0/8"]) as caio:
        caio.register_service("examples/contracts/sentiment-lexicon.yaml")
        answer = caio.orchestrate({"capability": "text.sentiment", "payload": {"text": "Well done."}})
        receipt = caio.receipt(answer.decision_id)

Theory of operation
-------------------
The methods are synchronous; an event loop of their own runs in one background thread and does the
work. The data directory is locked while it is open, as a server's is. No tenant given means the
default tenant, never all of them. Errors are those of ``caio.foundation.errors``.
"""

from __future__ import annotations

import asyncio
import tempfile
import threading
from collections.abc import Coroutine, Mapping, Sequence
from concurrent.futures import Future, wait
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import msgspec

from caio.api.wanted import from_orchestrate
from caio.audit.signing import key_set
from caio.bootstrap import Installation, embedded_settings, now, open_installation
from caio.contracts import parse_contract
from caio.foundation.errors import NotReady
from caio.foundation.scope import DEFAULT_TENANT, TenantScope
from caio.gateway.course import Decided
from caio.gateway.plan_intake import read_plan
from caio.gateway.run import Answer, Wanted
from caio.registry.ports import Published
from caio.registry.views import Reference
from caio.routing.model import History
from caio.routing.plans import PlanDecision
from caio.routing.plans.milp import guided, solver_is_installed
from caio.tenancy.authentication import EMBEDDED, embedded_caller, embedded_scope
from caio.tenancy.ports import Quotas, Tenant, TenantStatus
from caio.tenancy.principals import Caller

T = TypeVar("T")

_PAGE = 200


class Orchestrator:
    """An installation of CAIO inside this process. Close it, or use it in a ``with`` block.

    ``data_dir`` keeps everything; None means a temporary directory that is removed on ``close``.
    ``allow_private`` lists the private networks (CIDR) that services may live in; other settings
    come from the environment. Raises Misconfigured when the directory is in use.
    """

    def __init__(self, data_dir: str | Path | None = None, *, allow_private: Sequence[str] = ()) -> None:
        self._closing = ExitStack()
        self._calls: set[Future[Any]] = set()
        self._guard = threading.Lock()
        self._closed = False
        if data_dir is None:
            data_dir = self._closing.enter_context(tempfile.TemporaryDirectory(prefix="caio-"))
        settings = embedded_settings(Path(data_dir), allow_private)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="caio", daemon=True)
        self._thread.start()
        self._closing.callback(self._stop_loop)
        self._stack = AsyncExitStack()
        try:
            self._installation: Installation = self._run(self._stack.enter_async_context(open_installation(settings)))
        except BaseException:
            self._closing.close()
            raise
        self._closing.callback(lambda: self._submit(self._stack.aclose()).result())

    def register_service(
        self, contract_path: str | Path, service_id: str | None = None, tenant_id: str | None = None
    ) -> Published:
        """Register the contract in a YAML or JSON file, under another id if one is given. A tenant
        that does not exist yet is created. Raises InvalidInput with every violation, or Conflict."""
        source: bytes | Mapping[str, Any] = Path(contract_path).read_bytes()
        if service_id is not None:
            source = {**parse_contract(source).value.document(), "service_id": service_id}
        return self._run(self._register(source, tenant_id or DEFAULT_TENANT))

    def route_request(
        self,
        request: Mapping[str, Any],
        policies: Sequence[Reference] = (),
        history: History | None = None,
        seed: str | int | None = None,
        tenant_id: str | None = None,
    ) -> Decided:
        """Decide, and journal the decision, without calling anyone. ``request`` is the ``request`` of
        ``POST /api/v1/orchestrate``. Raises NoServiceSatisfies with one reason a service."""
        return self._run(self._route(_body(request, policies, seed), history, tenant_id or DEFAULT_TENANT))

    def orchestrate(
        self,
        request: Mapping[str, Any],
        policies: Sequence[Reference] = (),
        seed: str | int | None = None,
        tenant_id: str | None = None,
    ) -> Answer:
        """Decide, call the winner, enforce its guarantees, and answer."""
        return self._run(self._orchestrate(_body(request, policies, seed), tenant_id or DEFAULT_TENANT))

    def plan(
        self,
        request: Mapping[str, Any],
        policies: Sequence[Reference] = (),
        history: History | None = None,
        tenant_id: str | None = None,
    ) -> PlanDecision:
        """The best services for a chain or graph of stages, and what they promise end to end; nothing is
        called and nothing recorded. ``request`` is what ``caio plan`` reads from a file. A refusal is a
        plan too (``is_refused``, ``refusal()``). Raises InvalidInput, and TooLarge ``plan_too_hard`` for
        what only the extra ``caio-platform[plans]`` can search."""
        return self._run(self._plan(request, policies, history, tenant_id or DEFAULT_TENANT))

    def list_services(self, tags: Sequence[str] | None = None, tenant_id: str | None = None) -> list[Published]:
        """The tenant's services by id; with ``tags``, those that have all of them."""
        return self._run(self._list(frozenset(tags or ()), tenant_id or DEFAULT_TENANT))

    def receipt(self, decision_id: str, tenant_id: str | None = None) -> dict[str, Any]:
        """The decision's signed receipt with its place in the log; ``caio verify`` checks it offline. Raises
        NotFound, and Erased when its content is gone."""
        decisions = self._installation.decisions
        scope = embedded_scope(tenant_id or DEFAULT_TENANT)
        return self._run(decisions.receipt(scope, decision_id, EMBEDDED, now()))

    def evidence(self, decision_id: str, tenant_id: str | None = None) -> dict[str, Any]:
        """What the decision's certificate commits to: with it, ``caio verify`` recomputes the decision."""
        return self._run(self._evidence(embedded_scope(tenant_id or DEFAULT_TENANT), decision_id))

    def verification_keys(self) -> dict[str, Any]:
        """The public key set to pin for verifying this installation's receipts."""
        return key_set(self._installation.keyring)

    def close(self) -> None:
        """Wait for the calls of other threads, finish what is being written, and let go of the data
        directory. Later calls raise NotReady; closing twice is harmless."""
        with self._guard:
            self._closed = True
            running = tuple(self._calls)
        wait(running)
        self._closing.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    async def _register(self, source: bytes | Mapping[str, Any], tenant_id: str) -> Published:
        currency = self._installation.settings.currency
        tenant = Tenant(tenant_id, tenant_id, TenantStatus.ACTIVE, currency, Quotas(), now())
        await self._installation.tenants.create(embedded_scope(tenant_id), EMBEDDED, tenant)
        caller = await self._caller(tenant_id)
        accepted = await self._installation.catalog.register(caller, source)
        return accepted.published

    async def _route(self, body: bytes, history: History | None, tenant_id: str) -> Decided:
        return await self._installation.gateway.route(await self._wanted(body, tenant_id), history)

    async def _plan(
        self, request: Mapping[str, Any], policies: Sequence[Reference], history: History | None, tenant_id: str
    ) -> PlanDecision:
        caller = await self._caller(tenant_id)
        read, named = read_plan(request, tenant_id=tenant_id, currency=caller.tenant.currency)
        solver = guided if solver_is_installed() else None
        return await self._installation.gateway.plan(caller, read, [*named, *policies], history, solver)

    async def _orchestrate(self, body: bytes, tenant_id: str) -> Answer:
        return await self._installation.gateway.orchestrate(await self._wanted(body, tenant_id))

    async def _evidence(self, scope: TenantScope, decision_id: str) -> dict[str, Any]:
        decisions = self._installation.decisions
        return await decisions.evidence(scope, await decisions.get(scope, decision_id, EMBEDDED))

    async def _list(self, tags: frozenset[str], tenant_id: str) -> list[Published]:
        found: list[Published] = []
        after: str | None = ""
        while after is not None:
            page = await self._installation.catalog.services(
                embedded_scope(tenant_id), after=after, limit=_PAGE, tag=None, retired=False
            )
            found += [each for each in page.items if tags <= set(each.publication.tags)]
            after = page.next_after
        return found

    async def _wanted(self, body: bytes, tenant_id: str) -> Wanted:
        return from_orchestrate(body, await self._caller(tenant_id))

    async def _caller(self, tenant_id: str) -> Caller:
        return embedded_caller(await self._installation.stores.tenants.get(embedded_scope(tenant_id)))

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        with self._guard:
            if self._closed:
                work.close()
                raise NotReady("this Orchestrator is closed; open another one", code="closed")
            call = self._submit(work)
            self._calls.add(call)
        call.add_done_callback(self._calls.discard)
        try:
            return call.result()
        except BaseException:
            call.cancel()  # when it was the waiting that was interrupted
            raise

    def _submit(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def _stop_loop(self) -> None:
        self._submit(self._loop.shutdown_default_executor()).result()  # closing a loop does not wait for its threads
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


def _body(request: Mapping[str, Any], policies: Sequence[Reference], seed: str | int | None) -> bytes:
    stated = dict(request) if seed is None else {**request, "seed": seed}
    return msgspec.json.encode({"request": stated, "policies": list(policies)})
