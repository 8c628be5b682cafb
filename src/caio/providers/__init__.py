"""Adapters that call AI services, one per protocol, over one guarded client."""

from collections.abc import Mapping

from caio.gateway.ports import Provider
from caio.providers.anthropic import Anthropic
from caio.providers.bedrock import Bedrock
from caio.providers.http_json import HttpJson
from caio.providers.openai_compatible import OpenAICompatible
from caio.providers.outbound import OutboundClient, OutboundLimits
from caio.providers.process import Processes, ProcessLimits

__all__ = [
    "Anthropic",
    "Bedrock",
    "HttpJson",
    "OpenAICompatible",
    "OutboundClient",
    "OutboundLimits",
    "ProcessLimits",
    "Processes",
    "providers",
]


def providers(outbound: OutboundClient, processes: Processes | None = None) -> Mapping[str, Provider]:
    """Every provider, by the protocol that a contract names. Without ``processes`` no command is run."""
    return {
        "openai": OpenAICompatible(outbound),
        "anthropic": Anthropic(outbound),
        "bedrock": Bedrock(outbound),
        "http-json": HttpJson(outbound),
        "process": processes or Processes({}),
    }
