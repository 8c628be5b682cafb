"""A record's bytes are the canonical JSON of its document, whatever its members hold."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caio.audit.ports import Mode, Status
from caio.audit.record import AttemptRecord, Breach, Commitment, DecisionRecord, OutcomeRecord
from caio.foundation.canonical import MAX_INTEGER, NotCanonical, canonical_json
from caio.foundation.errors import UpstreamFault
from caio.foundation.money import Usage
from tests.audit_samples import decision_record, outcome_record
from tests.support.record_documents import document_of

texts = st.text(st.characters(codec="utf-8"), max_size=8) | st.sampled_from(['"', "\\", "é", "😀\x00", "\u2028"])
naturals = st.integers(0, MAX_INTEGER)
documents = st.dictionaries(texts, texts | naturals | st.none(), max_size=3).map(canonical_json)
commitments = st.builds(Commitment, st.binary(min_size=32, max_size=32), st.binary(min_size=32, max_size=32))
decisions = st.builds(
    DecisionRecord,
    *(texts, texts, naturals, st.sampled_from(Mode), texts, texts, documents, documents, documents, texts),
    *(st.booleans(), texts, texts, naturals, naturals, commitments, st.none() | texts),
    most_cost=st.integers(0, 9) | naturals,
    most_tokens=st.integers(0, 1) | naturals,
    most_compute_ms=st.integers(0, 1) | naturals,
)
attempts = st.builds(
    AttemptRecord,
    *(texts, texts, naturals, st.none() | st.sampled_from(UpstreamFault), st.none() | st.integers(100, 599)),
    st.lists(st.builds(Breach, texts, texts, texts), max_size=2).map(tuple),
    st.booleans(),
)
outcomes = st.builds(
    OutcomeRecord,
    *(texts, texts, naturals, st.sampled_from(Status), texts, naturals, st.lists(attempts, max_size=3).map(tuple)),
    *(st.builds(Usage, naturals, naturals, naturals), naturals, naturals, st.none() | commitments),
    st.none() | texts,
)


@given(decisions | outcomes)
def test_records_are_canonical(record):
    assert record.canonical() == canonical_json(document_of(record))


BEYOND = MAX_INTEGER + 1


@pytest.mark.parametrize(
    "record",
    [
        *(decision_record(**{name: BEYOND}) for name in ("decided_at", "most_tokens", "most_compute_ms")),
        *(outcome_record(**{name: BEYOND}) for name in ("finished_at", "latency_ms")),
        *(outcome_record(usage=usage) for usage in (Usage(BEYOND), Usage(0, BEYOND), Usage(0, 0, BEYOND))),
        outcome_record(attempts=(AttemptRecord("swift", "1.0.0", BEYOND),)),
        outcome_record(service_id="\ud800"),
    ],
)
def test_what_has_no_canonical_form_is_no_record(record):
    with pytest.raises(NotCanonical):
        record.canonical()
