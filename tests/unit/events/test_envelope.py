"""Envelopes: what CloudEvents 1.0 asks of them."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caio.events.envelope import PATTERN, Event, event_id_of, event_type_of, matches, rfc_3339
from caio.foundation.canonical import canonical_json

EVENT = Event("acme", "evt_1", 7, "caio.tenant.suspended", "acme", 1_763_719_200_000_001, "tenant.suspended", "key_1")


def test_an_envelope_is_a_cloud_event() -> None:
    assert EVENT.document() == {
        "specversion": "1.0",
        "id": "evt_1",
        "source": "/tenants/acme",
        "type": "caio.tenant.suspended",
        "subject": "acme",
        "time": "2025-11-21T10:00:00.000001Z",
        "datacontenttype": "application/json",
        "data": {"action": "tenant.suspended", "principal": "key_1", "subject": "acme", "seq": 7},
    }
    assert EVENT.body() == canonical_json(EVENT.document())
    nothing = Event("acme", "evt_1", 7, "caio.tenant.suspended", "", 0, "tenant.suspended", "key_1")
    assert "subject" not in nothing.document(), "CloudEvents knows no empty subject"


@given(
    st.text("0123456789abcdefghjkmnpqrstvwxyz", min_size=26, max_size=26),
    st.text("0123456789abc", min_size=26, max_size=26),
)
def test_one_act_one_id(first: str, second: str) -> None:
    assert event_id_of(f"act_{first}") == f"evt_{first}"
    assert (event_id_of(f"act_{first}") == event_id_of(f"act_{second}")) == (first == second)


@pytest.mark.parametrize(
    ("pattern", "event_type", "met"),
    [
        ("caio.", "caio.tenant.created", True),
        ("caio.tenant.", "caio.tenant.created", True),
        ("caio.tenant.", "caio.tenants.created", False),
        ("caio.tenant.created", "caio.tenant.created", True),
        ("caio.tenant.create", "caio.tenant.created", False),
        ("caio.tenant.created", "caio.tenant.created_again", False),
    ],
)
def test_a_pattern_matches_its_type_or_what_it_begins(pattern: str, event_type: str, met: bool) -> None:
    assert matches((pattern,), event_type) is met
    assert matches(("caio.nothing.", pattern), event_type) is met
    assert not matches((), event_type)


@pytest.mark.parametrize("text", ["caio.", "caio.tenant.", "caio.budget.threshold", event_type_of("key.created")])
def test_what_a_pattern_is(text: str) -> None:
    assert PATTERN.fullmatch(text)


@pytest.mark.parametrize(
    "text", ["", "caio", "caio.tenant", "*", "caio.*", "tenant.", "caio.Tenant.", "caio.a.b.c", "caio.a.b\n"]
)
def test_what_no_pattern_is(text: str) -> None:
    assert not PATTERN.fullmatch(text)


@given(st.integers(0, 4 * 10**15))
def test_times_are_rfc_3339_in_utc(moment: int) -> None:
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", rfc_3339(moment))
