"""The most that a call can take: what is reserved for it, and what its decision says of it.

An admitted call may be handed on to other services, which its decision, once written, cannot tell. So the decision
says what the call takes at most with any of the next ones in rank, and a call is handed on to no service that
takes more. Whoever knows the durable records alone then never reserves less for a running call than it holds.
"""

from __future__ import annotations

from typing import NamedTuple

from caio.routing.model import Decision, Offer, Ranked, Request

#: Tokens taken for an answer that neither the request nor the contract bounds.
UNBOUNDED_ANSWER = 4_096

#: The services that a call is foreseen to be handed on to, with the one that it is admitted for.
FORESEEN = 5


class Most(NamedTuple):
    """What an admitted call may take at most, whichever of the foreseen services it is handed on to."""

    cost: int = 0
    tokens: int = 0
    compute_ms: int = 0

    def covers(self, request: Request, ranked: Ranked) -> bool:
        """Whether the call may be handed on to ``ranked``."""
        return ranked.worst_cost <= self.cost and worst_tokens(request, ranked.offer) <= self.tokens


def most_of(request: Request, decision: Decision, position: int) -> Most:
    """The most that a call can take that is admitted for the service at ``position``. Of time it may take all there
    is until its deadline: any call may be repeated, with the same service too."""
    foreseen = decision.ranked[position : position + FORESEEN]
    longest = request.max_tokens
    if longest is None:
        longest = max([_longest_of(request, each.offer) for each in foreseen])
    tokens = request.input_bytes + longest * request.answers
    return Most(max([each.worst_cost for each in foreseen]), tokens, request.deadline_ms)


def worst_tokens(request: Request, offer: Offer) -> int:
    """The most tokens that a call can take, input and output together."""
    longest = _longest_of(request, offer) if request.max_tokens is None else request.max_tokens
    return request.input_bytes + longest * request.answers


def _longest_of(request: Request, offer: Offer) -> int:
    """The most tokens of one answer, where the request does not bound it."""
    longest: int | None = None
    for name in request.capabilities:
        if (offered := offer.capabilities.get(name)) is not None:
            bound = offered.context_length if offered.max_tokens is None else offered.max_tokens
            if bound is not None and (longest is None or bound > longest):
                longest = bound
    return UNBOUNDED_ANSWER if longest is None else longest
