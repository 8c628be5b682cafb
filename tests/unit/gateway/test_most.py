"""The most that a call can take, whichever of the foreseen services it is handed on to."""

from dataclasses import dataclass

import pytest

from caio.gateway.most import FORESEEN, Most, most_of
from caio.routing.model import Capability, Decision, OnViolation, Ranked
from tests.unit.gateway.test_asks import ranked, wanted


@dataclass(frozen=True)
class Offered:
    cost: int
    answer: int = 10
    timeout_ms: int = 4_000

    @property
    def ranked(self) -> Ranked:
        offer = ranked(timeout_ms=self.timeout_ms, capability=Capability("chat", frozenset(), None, self.answer, None))
        return Ranked(offer.offer, 0, self.cost)


def decided(*offered: Offered) -> Decision:
    return Decision([each.ranked for each in offered], (), b"{}", "", OnViolation.REPORT, b"{}", b"{}")


def request(**changes):
    return wanted(**{"max_tokens": None} | changes).request


def test_a_call_of_the_only_service_takes_what_that_does_until_its_deadline():
    assert most_of(request(), decided(Offered(7, 20)), 0) == Most(7, 120, 9_000)
    assert most_of(request(deadline_ms=3_000, max_tokens=5), decided(Offered(7, 20)), 0) == Most(7, 105, 3_000)
    assert most_of(request(answers=3), decided(Offered(7, 20)), 0) == Most(7, 160, 9_000)
    assert most_of(request(answers=3, max_tokens=5), decided(Offered(7, 20)), 0) == Most(7, 115, 9_000)


def test_a_call_that_may_be_handed_on_takes_the_most_of_all_that_follow():
    several = decided(Offered(99, 99), Offered(7, 20), Offered(50, 3), Offered(1, 40))
    assert most_of(request(), several, 1) == Most(50, 140, 9_000)
    assert most_of(request(), several, 3) == Most(1, 140, 9_000)


def test_any_call_takes_time_until_its_deadline_for_it_may_be_repeated():
    assert most_of(request(), decided(Offered(7)), 0).compute_ms == 9_000


@pytest.mark.parametrize(
    ("further", "covered"), [(Offered(7, 10), True), (Offered(8, 10), False), (Offered(7, 11), False)]
)
def test_a_call_is_handed_on_to_nobody_who_takes_more_than_was_foreseen(further, covered):
    most = most_of(request(), decided(*[Offered(7)] * FORESEEN, further), 0)
    assert most.covers(request(), further.ranked) is covered
