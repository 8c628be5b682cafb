"""CAIO's API from Python: ``Client``, ``AsyncClient``, their errors, and what receipts are verified with.

    with caio.Client() as client:
        answer = client.orchestrate("text.sentiment", {"text": "Fine."})

Imports nothing of the server's side but what verifies receipts, and that only when one is verified.
"""

from caio.client.awaiting import AsyncClient
from caio.client.blocking import Client
from caio.client.errors import (
    Answered,
    BudgetExhausted,
    ClientError,
    Conflict,
    DeadlineExceeded,
    Gone,
    Invalid,
    LimitReached,
    Misused,
    NoServiceSatisfies,
    NotAllowed,
    NotCaio,
    NotFound,
    PreconditionFailed,
    StreamBroken,
    TimedOut,
    TooLarge,
    Unauthenticated,
    Unavailable,
    Unreachable,
    UpstreamFailed,
)
from caio.client.trust import keys_in, pinned_keys, verify_receipt

__all__ = [
    "Answered",
    "AsyncClient",
    "BudgetExhausted",
    "Client",
    "ClientError",
    "Conflict",
    "DeadlineExceeded",
    "Gone",
    "Invalid",
    "LimitReached",
    "Misused",
    "NoServiceSatisfies",
    "NotAllowed",
    "NotCaio",
    "NotFound",
    "PreconditionFailed",
    "StreamBroken",
    "TimedOut",
    "TooLarge",
    "Unauthenticated",
    "Unavailable",
    "Unreachable",
    "UpstreamFailed",
    "keys_in",
    "pinned_keys",
    "verify_receipt",
]
