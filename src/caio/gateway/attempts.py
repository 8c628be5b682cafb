"""Calling one service once, and saying what its answer is worth.

An attempt never raises for what a service does: it returns a ``Tried`` with a fault or with an
answer, its usage, price and breaches. Prices are capped at what was reserved (DESIGN, law 6); a
service whose usage would cost more has broken its contract, which is recorded as a breach.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from math import ceil
from time import monotonic
from typing import Any

import msgspec

from caio.audit.record import Breach
from caio.foundation.errors import InvalidInput, Misconfigured, UpstreamFailed, UpstreamFault, Violation
from caio.foundation.money import Usage
from caio.foundation.quantity import decimal_text
from caio.gateway.chats import produced
from caio.gateway.credentials import Credentials
from caio.gateway.enforcement import AnswerRules
from caio.gateway.ports import Call, Operation, Provider, ProviderAnswer, Target, Translator
from caio.gateway.run import Run, Tried, Wanted, estimated_tokens
from caio.gateway.target import target_of
from caio.observability.tracing import current
from caio.routing.model import Offer, Ranked

#: Compiled endpoints and schemas kept, over all contracts.
KEPT = 10_000

#: Services of which a caller is told why they cannot take the payload.
TOLD = 8

#: Why a payload cannot be said, by the protocol and what else the words depend on.
Unsaid = dict[tuple[str, Hashable], tuple[Violation, ...]]


class Endpoint:
    """A contract's endpoint for one capability, compiled: where to call and what to expect."""

    def __init__(self, offer: Offer, capability: str) -> None:
        self.target: Target = target_of(offer.document, capability)
        self.rules = AnswerRules.of(offer.document, capability)


class Attempts:
    """Calls services through the providers of their protocols."""

    def __init__(self, providers: Mapping[str, Provider], credentials: Credentials) -> None:
        self._providers = providers
        self._translators = {name: each for name, each in providers.items() if isinstance(each, Translator)}
        self._credentials = credentials
        self._endpoints: dict[tuple[str, str], Endpoint] = {}

    def endpoint(self, offer: Offer, capability: str) -> Endpoint:
        """Raises UpstreamFailed for a contract that cannot be called: its fault, not the caller's."""
        key = (offer.contract_hash, capability)
        known = self._endpoints.get(key)
        if known is None:
            if len(self._endpoints) >= KEPT:
                self._endpoints.clear()
            try:
                known = self._endpoints[key] = Endpoint(offer, capability)
            except (InvalidInput, Misconfigured) as error:
                raise UpstreamFailed(error.message, UpstreamFault.UPSTREAM) from error
        return known

    def takes(self, wanted: Wanted, offer: Offer, unsaid: Unsaid) -> bool:
        """Whether the service can take the payload: it keeps the service's own input schema, and can be said in
        its protocol. So does a contract that cannot be called at all: the call fails, is recorded, and another
        service takes over. ``unsaid`` keeps what was found out, for the further services that are asked."""
        try:
            endpoint = self.endpoint(offer, wanted.request.capabilities[0])
        except UpstreamFailed:
            return True
        return endpoint.rules.takes(wanted.body) and not self._unsaid(wanted, endpoint.target, unsaid)

    def _misfits(self, wanted: Wanted, offer: Offer, unsaid: Unsaid, *, alone: bool) -> tuple[Violation, ...]:
        """Why the service cannot take the payload; one reason where it is not ``alone``."""
        endpoint = self.endpoint(offer, wanted.request.capabilities[0])
        rules = endpoint.rules
        broken = rules.check_input(wanted.body) if alone else rules.first_misfit(wanted.body)
        return broken or self._unsaid(wanted, endpoint.target, unsaid)

    def _unsaid(self, wanted: Wanted, target: Target, unsaid: Unsaid) -> tuple[Violation, ...]:
        """Why the protocol has no words for the payload. Worked out once for all services that speak alike: a body of
        megabytes takes half a second, and of a chat the words depend on the protocol, not on the model."""
        translator = self._translators.get(target.protocol)
        if translator is None:
            return ()
        spoken = target.model is None if wanted.operation is Operation.CHAT else target.model
        known = unsaid.get((target.protocol, spoken))
        if known is None:
            known = unsaid[target.protocol, spoken] = translator.unsaid(target, wanted.operation, wanted.body)
        return known

    def taken_by_none(self, wanted: Wanted, ranked: Sequence[Ranked], unsaid: Unsaid) -> InvalidInput | None:
        """What the caller is told when no service can take the payload: why not, for the best TOLD. None when one
        can."""
        if any(self.takes(wanted, each.offer, unsaid) for each in ranked):
            return None
        alone = len(ranked) == 1
        found = [
            (each.offer.service_id, self._misfits(wanted, each.offer, unsaid, alone=alone)) for each in ranked[:TOLD]
        ]
        if alone:
            name, violations = found[0]
            return InvalidInput(f"the payload does not fit what {name} accepts", violations, code="invalid_payload")
        first = [Violation(those[0].pointer, f"{name}: {those[0].message}") for name, those in found]
        message = f"the payload fits none of the {len(ranked)} services that satisfy the request"
        return InvalidInput(message, first, code="invalid_payload")

    async def prepare(self, run: Run) -> tuple[Provider, Endpoint, Call]:
        """Everything that calling the run's candidate takes; raises UpstreamFailed."""
        wanted, offer = run.wanted, run.candidate.offer
        provider = self._providers.get(offer.protocol)
        if provider is None:
            raise UpstreamFailed(f"no provider speaks the protocol {offer.protocol!r}", UpstreamFault.INVALID)
        endpoint = self.endpoint(offer, wanted.request.capabilities[0])
        secret = await self._credentials.of(wanted.caller.scope, offer.tenant_id, endpoint.target)
        timeout = min(run.remaining, offer.timeout_ms / 1000)
        if timeout <= 0:
            raise UpstreamFailed("the request's deadline has passed", UpstreamFault.TIMEOUT)
        trace = current()
        traceparent = None if trace is None else trace.calling(offer.service_id, offer.version)
        call = Call(wanted.operation, wanted.body, wanted.request.stream, timeout, secret, traceparent)
        return provider, endpoint, call

    async def call(self, run: Run) -> Tried:
        """Call the run's candidate once and wait for the whole answer."""
        started = monotonic()
        try:
            provider, endpoint, call = await self.prepare(run)
            answer = await provider.call(endpoint.target, call)  # which ends it in time
        except UpstreamFailed as fault:
            return Tried(run.candidate, since(started), fault)
        latency = since(started)
        usage = _usage(run, answer, latency)
        cost, breaches = price(run.candidate, usage)
        breaches += endpoint.rules.check(answer.body, latency)
        return Tried(run.candidate, latency, None, answer.body, usage, cost, breaches)


def _usage(run: Run, answer: ProviderAnswer, latency: int) -> Usage:
    """What the service reported, or an estimate; its time is what it took."""
    reported = answer.usage
    if reported is not None:
        return Usage(reported.input_tokens, reported.output_tokens, latency)
    output = _output_bytes(run.wanted.operation, answer.body)
    return Usage(estimated_tokens(run.wanted.request.input_bytes), estimated_tokens(output), latency)


def _output_bytes(operation: Operation, body: Any) -> int:
    if operation is Operation.EMBEDDINGS:
        return 0
    if operation is Operation.JSON:
        return len(msgspec.json.encode(body))
    choices = body.get("choices") if isinstance(body, Mapping) else None
    messages = [each.get("message") for each in choices or () if isinstance(each, Mapping)]
    return sum(len(produced(message).encode()) for message in messages if isinstance(message, Mapping))


def price(ranked: Ranked, usage: Usage) -> tuple[int, tuple[Breach, ...]]:
    """What ``usage`` costs, at most what was reserved for it, and the breach that a higher price is."""
    cost, reserved = ranked.offer.prices.of(usage), ranked.worst_cost
    if cost <= reserved:
        return cost, ()
    return reserved, (Breach("cost.max", f"<= {decimal_text(reserved)}", decimal_text(cost)),)


def since(started: float) -> int:
    """Milliseconds since ``started`` of the monotonic clock."""
    # Rounded up: 800.1 ms do not keep a bound of 800.
    return ceil((monotonic() - started) * 1000)
