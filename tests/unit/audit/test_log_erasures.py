"""What an export shows as erased must have been erased by an act in the log."""

from __future__ import annotations

import msgspec

from caio.audit.acts import Act, ActRecord
from caio.audit.export import EntryLine, entry_line
from tests.audit_samples import NOW, TENANT, decision_record
from tests.support.audit_exports import entry_lines, erased, files_of, records, sealer, stored

LOG = entry_lines(3)


def erasing(*seqs):
    return ActRecord(TENANT, "act_9", NOW, Act("content.erased", "a", "decisions", {"seqs": [*seqs]}))


def erased_log(*seqs, by):
    using = sealer()
    log = [entry_line(leaf, using, disclosed=True) for leaf in stored([*records(3), by], using)]
    return [erased(line) if line.seq in seqs else line for line in log]


def test_what_no_act_erased_is_not_erased():
    assert files_of(erased_log(2, 3, by=erasing(2, 3))).refuted() == set()
    for named in ([2], [3, 4], [], [2, 7], [-1, 2], [2, 8], [2, 10**6]):
        files = files_of(erased_log(2, 3, by=erasing(*named)))
        assert files.refuted() == {"erasures"}
        assert f"entry {2 if 2 not in named else 3} " in files.detail("erasures")
    whole = files_of([erased(line) for line in erased_log(by=erasing())])
    assert whole.refuted() == set()
    assert "may be among those not shown" in whole.detail("erasures")
    itself = files_of(erased_log(0, by=erasing(0)), 2)
    assert itself.refuted() == set()
    for lying in ({"seqs": "all"}, {"seqs": [0.5]}, {}):
        act = ActRecord(TENANT, "act_9", NOW, Act("content.erased", "a", "decisions", lying))
        assert files_of(erased_log(2, by=act)).refuted() == {"erasures"}


def test_an_erased_erasure_explains_all_or_nothing():
    hidden = [*LOG[:6], msgspec.structs.replace(erased(LOG[6]), kind="erasure")]
    assert files_of(hidden).refuted() == {"erasures"}
    assert files_of([erased(line) for line in hidden]).refuted() == set()
    assert files_of([EntryLine(0, hidden[0].commitment), *hidden[1:]]).refuted() == set()


def test_erased_decisions_do_not_wait_for_outcomes():
    using = sealer()
    refused = decision_record(admitted=False, service_id="", version="")
    log = [entry_line(leaf, using, disclosed=True) for leaf in stored([refused, erasing(0)], using)]
    assert "no outcome yet" not in files_of([erased(log[0]), log[1]]).detail("records")
