"""Which tools a caller has: one for each service and capability that a call of it could reach, and one for them all.

Theory of operation
-------------------
A tool stands for one service and one of its capabilities. Which of them a caller is shown is decided as its calls
are: for each capability the kernel decides on a plain request of this caller, with the tenant's policies and the
caller's own, and the services it ranks are shown. A call is decided again, with its payload.

A tool's name is its service's id, so that models and people know it again; where a service does several things, the
capability follows. Some clients take no more than 64 letters, digits, ``_`` and ``-``, so what is longer, and what
would name two tools, ends in a digest. Arguments are objects in MCP: a service that takes something else takes it as
``payload``.

Laws (each has a test of the same name)
---------------------------------------
- names_are_distinct_and_fit_every_client.
- names_do_not_depend_on_the_order_of_services: nor on who asks.
- a_tool_that_is_shown_could_be_called: by this caller, as things stand.
"""

from __future__ import annotations

import hashlib
import re
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from caio.gateway.chats import as_payload
from caio.gateway.intake import NO_CONSTRAINTS, NO_REQUIREMENTS, Constraints, RequestBody, Wishes, kernel_request
from caio.gateway.pipeline import Gateway
from caio.gateway.ports import PROTOCOLS_OF, Operation
from caio.gateway.run import Wanted
from caio.gateway.target import endpoint_of
from caio.routing.model import Offer
from caio.tenancy.principals import Caller

#: The tool that takes any capability.
ANY = "caio_orchestrate"
LONGEST_NAME = 64
#: Tenants whose tools are kept.
TENANTS_KEPT = 1_000

_CHAT_PROTOCOLS = frozenset({"openai", "anthropic", "bedrock"})
_NO_LETTER = re.compile(r"[^A-Za-z0-9_-]")
_CHAT_INPUT: dict[str, Any] = {
    "type": "object",
    "properties": {
        "messages": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "properties": {
                    "role": {"type": "string", "enum": ["system", "user", "assistant"]},
                    "content": {"type": "string"},
                },
                "required": ["role", "content"],
            },
        },
        "max_tokens": {"type": "integer", "minimum": 1},
        "temperature": {"type": "number"},
    },
    "required": ["messages"],
}
_EMBEDDINGS_INPUT: dict[str, Any] = {
    "type": "object",
    "properties": {"input": {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}},
    "required": ["input"],
}


@dataclass(frozen=True, slots=True)
class Tool:
    """One service's capability as a tool. ``wrapped`` is whether the service's input stands under ``payload``;
    ``method`` is the endpoint's."""

    name: str
    title: str
    description: str
    service_id: str
    capability: str
    input_schema: Mapping[str, Any]
    output_schema: Mapping[str, Any] | None
    wrapped: bool
    method: str
    needs_internet: bool

    def payload(self, arguments: Mapping[str, Any]) -> Any:
        return arguments.get("payload") if self.wrapped else arguments


class Tools:
    """The tools of every tenant, made from the services that its decisions choose from."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._kept: OrderedDict[str, tuple[Sequence[Offer], Mapping[str, Tool]]] = OrderedDict()

    async def named(self, caller: Caller, name: str) -> Tool | None:
        """The tool of this name in the caller's tenant, whether or not the caller may call it."""
        return (await self._all(caller)).get(name)

    async def shown(self, caller: Caller) -> list[Tool]:
        """The tools that the caller could call now, by name."""
        every = await self._all(caller)
        reachable: set[tuple[str, str]] = set()
        for capability in sorted({tool.capability for tool in every.values()}):
            wanted = wanted_of(caller, _plain(capability), b"{}")
            decision = (await self._gateway.decide(wanted, recorded=False)).decision
            reachable.update((each.offer.service_id, capability) for each in decision.ranked)
        return [tool for _, tool in sorted(every.items()) if (tool.service_id, tool.capability) in reachable]

    async def _all(self, caller: Caller) -> Mapping[str, Tool]:
        offers, tenant_id = await self._gateway.offers(caller.scope), caller.scope.tenant_id
        kept = self._kept.get(tenant_id)
        if kept is None or kept[0] is not offers:
            kept = self._kept[tenant_id] = offers, tools_of(offers)
            if len(self._kept) > TENANTS_KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(tenant_id)
        return kept[1]


def wanted_of(caller: Caller, wishes: RequestBody, payload: bytes) -> Wanted:
    """A JSON call as the gateway takes it; raises InvalidInput."""
    request = kernel_request(
        wishes,
        tenant_id=caller.scope.tenant_id,
        currency=caller.tenant.currency,
        input_bytes=len(payload),
        labels={},
        protocols=PROTOCOLS_OF[Operation.JSON],
    )
    sent, request = as_payload(wishes.payload, request, "/payload")
    return Wanted(caller, request, Operation.JSON, sent, payload, wishes.policies)


def wishes_for(tool: Tool, arguments: Mapping[str, Any]) -> RequestBody:
    """What a call of the tool asks for: this service and no other."""
    return RequestBody(
        capability=tool.capability,
        requirements=NO_REQUIREMENTS,
        constraints=Constraints(services=[tool.service_id]),
        payload=tool.payload(arguments),
    )


def _plain(capability: str) -> RequestBody:
    return RequestBody(capability=capability, requirements=NO_REQUIREMENTS, constraints=NO_CONSTRAINTS)


def tools_of(offers: Sequence[Offer]) -> dict[str, Tool]:
    """The tools of these services, by name."""
    found: dict[str, Tool] = {}
    for offer in sorted(offers, key=lambda each: each.key):
        if offer.protocol not in PROTOCOLS_OF[Operation.JSON]:
            continue
        for capability in sorted(offer.capabilities):
            name = _name(offer.service_id, capability, alone=len(offer.capabilities) == 1)
            if name in found or name == ANY:
                name = _shortened(name, offer.service_id, capability)
            found[name] = _tool(name, offer, capability)
    return found


def any_tool_schema(capabilities: Sequence[str]) -> dict[str, Any]:
    """The input of the tool that takes any capability: what ``/api/v1/orchestrate`` takes as its request."""
    wishes = Wishes.model_json_schema()["properties"]
    kept = ("data_classification", "sensitive", "deadline_ms")
    return {
        "type": "object",
        "properties": {
            "capability": {"type": "string", "enum": list(capabilities)} if capabilities else {"type": "string"},
            "payload": {"description": "What the service is to work on, as its own input schema wants it."},
            "requirements": {
                "type": "object",
                "description": 'Bounds such as {"max_cost": "0.01", "accuracy": {"min": "0.95"}}.',
            },
            "constraints": {
                "type": "object",
                "description": 'What is forbidden or insisted on, such as {"services": ["an-id"]}.',
            },
            **{name: wishes[name] for name in kept},
        },
        "required": ["capability"],
        "additionalProperties": False,
    }


def _name(service_id: str, capability: str, *, alone: bool) -> str:
    name = service_id if alone else f"{service_id}__{_NO_LETTER.sub('-', capability)}"
    return name if len(name) <= LONGEST_NAME else _shortened(name, service_id, capability)


def _shortened(name: str, service_id: str, capability: str) -> str:
    digest = hashlib.sha256(f"{service_id}\0{capability}".encode()).hexdigest()[:10]
    return f"{name[: LONGEST_NAME - 11]}-{digest}"


def _tool(name: str, offer: Offer, capability: str) -> Tool:
    document = offer.document
    endpoint = endpoint_of(document, capability) or {}
    input_schema, wrapped = _input(offer.protocol, capability, endpoint.get("input_schema"))
    output_schema = endpoint.get("output_schema")
    about = document.get("description") or document.get("name") or offer.service_id
    return Tool(
        name,
        str(document.get("name") or offer.service_id),
        f"{about}\n\nCapability {capability} of service {offer.service_id}@{offer.version}.",
        offer.service_id,
        capability,
        input_schema,
        output_schema if _is_object(output_schema) else None,
        wrapped,
        str(endpoint.get("method", "POST")),
        offer.needs_internet,
    )


def _input(protocol: str, capability: str, stated: Any) -> tuple[Mapping[str, Any], bool]:
    """The schema of a tool's arguments, and whether the service's own input is their ``payload``."""
    if stated is None:
        if protocol in _CHAT_PROTOCOLS:
            return (_EMBEDDINGS_INPUT if capability == "embeddings" else _CHAT_INPUT), False
        return {"type": "object"}, False
    if _is_object(stated):
        return stated, False
    # References point into the whole schema, which it is no longer when it stands within another.
    inner = {"description": "As the service takes it."} if _has_references(stated) else stated
    return {"type": "object", "properties": {"payload": inner}, "required": ["payload"]}, True


def _is_object(schema: Any) -> bool:
    return isinstance(schema, Mapping) and schema.get("type") == "object"


def _has_references(schema: Any) -> bool:
    if isinstance(schema, Mapping):
        return any(key in ("$ref", "$dynamicRef") or _has_references(value) for key, value in schema.items())
    return isinstance(schema, list) and any(_has_references(each) for each in schema)
