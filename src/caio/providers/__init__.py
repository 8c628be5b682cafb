"""Adapters that call AI services, one per protocol, over one guarded client."""

from collections.abc import Mapping

from caio.gateway.ports import Provider
from caio.providers.anthropic import Anthropic
from caio.providers.bedrock import Bedrock
from caio.providers.http_json import HttpJson
from caio.providers.openai_compatible import OpenAICompatible
from caio.providers.outbound import OutboundClient, OutboundLimits

__all__ = ["Anthropic", "Bedrock", "HttpJson", "OpenAICompatible", "OutboundClient", "OutboundLimits", "providers"]


def providers(outbound: OutboundClient) -> Mapping[str, Provider]:
    """Every provider, by the protocol that a contract names."""
    return {
        "openai": OpenAICompatible(outbound),
        "anthropic": Anthropic(outbound),
        "bedrock": Bedrock(outbound),
        "http-json": HttpJson(outbound),
    }
