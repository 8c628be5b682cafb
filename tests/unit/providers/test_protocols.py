"""What the gateway routes to and what the providers speak are one set."""

from caio.gateway.ports import PROTOCOLS
from caio.providers import OutboundClient, providers


def test_a_request_is_routed_to_spoken_protocols_only() -> None:
    assert set(providers(OutboundClient())) == PROTOCOLS
