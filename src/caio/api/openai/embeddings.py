"""``POST /v1/embeddings``: from the body to what the gateway is asked for. The body goes on as it came."""

from __future__ import annotations

from caio.api.openai.bodies import EmbeddingsBody, decoded
from caio.api.openai.naming import ModelNames
from caio.api.openai.wishes import Asked, Headers, wished
from caio.gateway.ports import Operation
from caio.gateway.run import Wanted
from caio.tenancy.principals import Caller

_ASKED = Asked(Operation.EMBEDDINGS, "embeddings")


async def from_embeddings(
    names: ModelNames, raw: bytes, headers: Headers, caller: Caller, key: str | None = None, fingerprint: str = ""
) -> Wanted:
    """Raises InvalidInput, and NotFound for a model that is nothing."""
    body = decoded(EmbeddingsBody, raw)
    meant = await names.meant(caller.scope, body["model"])
    wish = wished(body, headers, len(raw), caller, _ASKED, meant)
    return Wanted(caller, wish.request, Operation.EMBEDDINGS, body, raw, wish.policies, key, fingerprint)
