"""A whole log is proved by its export, and every way to change it is refuted by a claim of its own."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from caio.audit.acts import Act, ActRecord
from caio.audit.checkpoint import Checkpoint, read_checkpoint, sign_checkpoint
from caio.audit.export import entry_line
from caio.audit.log_verify import Elsewhere, Export, verify_log
from caio.audit.ports import Mode
from tests.audit_samples import CERTIFICATE, NOW, TENANT, decision_record, outcome_record
from tests.support.audit_exports import (
    KEY,
    ORIGIN,
    OTHER_KEY,
    TRUSTED,
    Files,
    checkpoint_of,
    entry_lines,
    erased,
    files_of,
    records,
    sealer,
    stored,
)

LOG = entry_lines(3)
FILES = files_of(LOG)
CLAIMS = [
    "form",
    "manifest signature",
    "checkpoint",
    "entries hash",
    "commitments",
    "records",
    "erasures",
    "tree",
    "tiles",
    "anchors",
    "earlier",
]


def tiles_of(files: Files) -> dict[str, bytes]:
    assert files.tiles is not None
    return files.tiles


def with_records(*written):
    """The export of a log that holds these records, each properly committed to."""
    using = sealer()
    return files_of([entry_line(leaf, using, disclosed=True) for leaf in stored(written, using)])


def rewritten(seq):
    """The log in which another record took the place of an entry, everything signed again."""
    changed = [*records(3)]
    last = seq == len(changed) - 1
    changed[seq] = replace(changed[seq], **({"act_id": "act_2"} if last else {"reserved": 1}))
    using = sealer()
    return [entry_line(leaf, using, disclosed=True) for leaf in stored(changed, using)]


def test_an_honest_export_verifies():
    found = FILES.verified(anchors=[checkpoint_of(LOG, 2), checkpoint_of(LOG)], earlier=checkpoint_of(LOG, 3))
    assert [(claim.name, claim.proved) for claim in found.claims] == [(name, True) for name in CLAIMS]
    alone = FILES.verified()
    assert alone.ok
    assert FILES.detail("form") == f"entries 0 to 6 of {ORIGIN}: 7 disclosed"
    assert FILES.detail("erasures") == "nothing is shown as erased"
    assert FILES.detail("records") == "7 records agree with their places"
    assert [claim.proved for claim in alone.claims] == [True] * 9 + [None] * 2


@pytest.mark.parametrize("size", [0, 1, 2, 255, 256, 257, 600])
def test_known_roots_are_compared_at_their_size(size):
    log = entry_lines(300, disclosed=lambda seq: False)
    files = files_of(log)
    sizes = sorted({0, min(size, len(log)), len(log)})
    assert files.refuted(anchors=[checkpoint_of(log, each) for each in sizes]) == set()
    wrong = sign_checkpoint(Checkpoint(ORIGIN, size, b"x" * 32), KEY)
    assert files.refuted(anchors=[wrong]) == {"anchors"}
    assert f"at {size} entries" in files.detail("anchors", anchors=[wrong])


@pytest.mark.parametrize("start", [1, 2, 5, 7])
def test_a_range_verifies_from_its_frontier(start):
    files = files_of(LOG, start)
    kept = [checkpoint_of(LOG, each) for each in range(1, 8)]
    found = {claim.name: claim for claim in files.verified(anchors=kept).claims}
    assert files.refuted(anchors=kept) == set()
    assert found["tree"].proved
    assert found["tiles"].proved is None
    assert f"{8 - start} anchored" in found["anchors"].detail
    other = rewritten(start - 1)
    frontier = msgspec.json.decode(files_of(other, start).manifest)["frontier"]
    assert files.resigned(frontier=frontier).refuted() == {"tree"}
    assert files.resigned(frontier=frontier[1:]).refuted() == {"form"}


def test_a_range_may_be_empty():
    files = files_of(LOG, len(LOG))
    assert files.refuted(anchors=[checkpoint_of(LOG)]) == set()
    assert "no entries from 7 on" in files.detail("form")


def test_withheld_and_erased_entries_verify():
    log = entry_lines(3, disclosed=lambda seq: seq not in (0, 5))
    log[2], log[3] = erased(log[2]), erased(log[3])
    files = files_of(log)
    assert files.refuted() == set()
    assert "2 erased" in files.detail("form")
    assert "2 withheld" in files.detail("form")
    assert "1 outcomes belong to decisions that are not shown" in files.detail("records")


def test_a_rewritten_log_is_caught_by_what_is_anchored():
    forged = files_of(rewritten(2))
    assert forged.verified().ok
    anchors = [checkpoint_of(LOG, size) for size in (2, 3, 7)]
    assert forged.refuted(anchors=anchors) == {"anchors"}
    assert "at 3 entries" in forged.detail("anchors", anchors=anchors)
    assert forged.refuted(earlier=checkpoint_of(LOG, 5)) == {"earlier"}


def test_a_log_set_back_is_caught_by_what_is_anchored():
    short = files_of(LOG[:4])
    assert short.verified().ok
    assert short.refuted(anchors=[checkpoint_of(LOG)]) == {"anchors"}
    assert short.refuted(anchors=[checkpoint_of(LOG, 3), checkpoint_of(LOG)], newest=False) == set()
    assert short.refuted(earlier=checkpoint_of(LOG)) == {"earlier"}


def test_only_this_logs_trusted_anchors_count():
    strangers = [
        checkpoint_of(rewritten(0), 3, OTHER_KEY),
        "no note",
        sign_checkpoint(Checkpoint("elsewhere/acme", 3, b"x" * 32), KEY),
    ]
    found = FILES.verified(anchors=strangers)
    assert found.ok
    assert "2 are not signed by a trusted key" in FILES.detail("anchors", anchors=strangers)
    for kept in (*strangers, checkpoint_of(LOG, 3, OTHER_KEY)):
        assert FILES.refuted(earlier=kept) == {"earlier"}


OUTCOME, DECISION = outcome_record(), decision_record()
ALONE = {
    "form": lambda: replace(FILES, entries=b"".join(line.written() for line in reversed(LOG))).resigned(),
    "manifest signature": lambda: FILES.resigned(OTHER_KEY),
    "checkpoint": lambda: replace(FILES, checkpoint=checkpoint_of(LOG, key=OTHER_KEY).encode()).resigned(),
    "entries hash": lambda: FILES.resigned(entries_sha256="0" * 64),
    "commitments": lambda: replace(
        FILES, entries=FILES.entries.replace(b'"reserved":"0.00125"', b'"reserved":"1"', 1)
    ).resigned(),
    "records": lambda: with_records(OUTCOME, DECISION),
    "erasures": lambda: files_of([erased(LOG[0]), *LOG[1:]]),
    "tree": lambda: replace(
        FILES, checkpoint=sign_checkpoint(Checkpoint(ORIGIN, len(LOG), b"x" * 32), KEY).encode()
    ).resigned(),
    "tiles": lambda: replace(FILES, tiles={**tiles_of(FILES), "tile/0/000.p/7": b"x"}),
}


@pytest.mark.parametrize("name", ALONE)
def test_each_claim_can_fail(name):
    assert ALONE[name]().refuted() == {name}


RECORDS: dict[str, list[Any]] = {
    "an outcome, but no decision": [OUTCOME, DECISION],
    "no decision before it waits": [DECISION, OUTCOME, replace(OUTCOME, decision_id="another")],
    "of the same kind and subject": [DECISION, OUTCOME, replace(DECISION)],
    "is not that of its certificate": [replace(DECISION, decision_hash="0" * 64)],
    "kind, tenant, subject or time": [replace(DECISION, tenant_id="other")],
    "the certificate is another tenant's": [
        decision_record(certificate=CERTIFICATE | {"tenant": "other"}),
    ],
    "an outcome, but": [replace(DECISION, mode=Mode.ROUTE), OUTCOME],
    "outcome, but no": [replace(DECISION, admitted=False), OUTCOME],
}


@pytest.mark.parametrize("fault", RECORDS)
def test_records_agree_with_each_other(fault):
    files = with_records(*RECORDS[fault])
    assert files.refuted() == {"records"}
    assert fault in files.detail("records")


def test_records_belong_to_their_lines():
    line = LOG[6]
    for change in ({"kind": "secret"}, {"subject": "act_2"}, {"recorded_at": NOW + 1}):
        files = files_of([*LOG[:6], msgspec.structs.replace(line, **change)])
        assert files.refuted() == {"records"}
        assert files.detail("records").startswith("entry 6:")


def test_nothing_is_withheld_without_a_filter():
    files = files_of(entry_lines(3, disclosed=lambda seq: seq != 6))
    assert files.refuted() == set()
    assert files.resigned(filter={}).refuted() == {"form"}
    assert "no filter" in files.resigned(filter={}).detail("form")


def test_an_act_of_a_kind_not_known_yet_is_an_act():
    class Later(ActRecord):
        kind = "weather"  # type: ignore[assignment]

    assert with_records(Later(TENANT, "act_1", NOW, Act("key.created", "a", "b"))).refuted() == set()


def test_what_does_not_open_is_said_so():
    log = [*LOG]
    log[4] = msgspec.structs.replace(erased(log[4]), unreadable=True)
    files = files_of(log)
    assert files.refuted() == {"commitments"}
    assert "entry 4" in files.detail("commitments")


def test_every_tile_is_compared():
    log = entry_lines(300, disclosed=lambda seq: False)
    files = files_of(log)
    assert sorted(tiles_of(files)) == [
        "tile/0/000",
        "tile/0/001",
        "tile/0/002.p/89",
        "tile/1/000.p/2",
        "tile/entries/000",
        "tile/entries/001",
        "tile/entries/002.p/89",
    ]
    assert files.refuted() == set()
    for name, content in tiles_of(files).items():
        rest = {other: held for other, held in tiles_of(files).items() if other != name}
        for forged in (rest, rest | {name: content[:-1]}, rest | {name: content + b"\0"}, rest | {f"{name}x": content}):
            broken = replace(files, tiles=forged)
            assert broken.refuted() == {"tiles"}
            assert name in broken.detail("tiles")
    for stray in ("tile/0/000.p/255", "tile/2/000", "tile/0/0", "tile/README", "tile/0/003"):
        assert stray in replace(files, tiles={**tiles_of(files), stray: b""}).detail("tiles")


REGIONS = [
    ("commitment", rb'"commitment":"([0-9a-f]+)"', {"commitments", "tree", "tiles"}),
    ("kind", rb'"kind":"(decision)","payload"', {"records"}),
    ("payload", rb'"payload":(\{.*\}),"recorded_at"', {"commitments", "records"}),
    ("recorded_at", rb'"recorded_at":([0-9]+),"salt"', {"records"}),
    ("salt", rb'"salt":"([0-9a-f]+)","seq"', {"commitments"}),
    ("seq", rb',"seq":([0-9]+),"subject"', set()),
    ("subject", rb',"subject":"([^"]+)"\}\n', {"records"}),
]


@pytest.mark.parametrize(("region", "pattern", "claims"), REGIONS, ids=[each[0] for each in REGIONS])
def test_what_catches_which_region_of_a_line(region, pattern, claims):
    """Also when the manifest was made for it and signed again: the form, or the claim about the region."""
    found = re.search(pattern, FILES.entries)
    assert found is not None
    start, end = found.span(1)
    for at in range(start, end, max(1, (end - start) // 40)):
        changed = bytearray(FILES.entries)
        changed[at] ^= 1
        mutated = replace(FILES, entries=bytes(changed))
        assert "entries hash" in mutated.refuted()
        caught = mutated.resigned().refuted()
        assert caught
        assert caught == {"form"} or caught <= claims


def flipped(content, step):
    for at in range(0, len(content), step):
        yield content[:at] + bytes([content[at] ^ 1 << at % 8]) + content[at + 1 :]


@pytest.mark.parametrize("step", [29, pytest.param(1, marks=pytest.mark.long)])
def test_any_flipped_byte_is_refuted(step):
    files = files_of(entry_lines(1))
    for changed in flipped(files.entries, step):
        assert "entries hash" in replace(files, entries=changed).refuted()
    for changed in flipped(files.manifest, min(step, 3)):
        assert replace(files, manifest=changed).refuted() & {"form", "manifest signature"}
    for changed in flipped(files.checkpoint, 1):
        assert "checkpoint" in replace(files, checkpoint=changed).refuted()
        assert replace(files, checkpoint=changed).resigned().refuted() & {"checkpoint"}
    for name, content in tiles_of(files).items():
        for changed in flipped(content, 1):
            assert replace(files, tiles={**tiles_of(files), name: changed}).refuted() == {"tiles"}


SPELLINGS = {
    "a space": lambda line: line.replace(b":", b": ", 1),
    "another order": lambda line: re.sub(rb'("seq":\d+),("subject":"[^"]+")', rb"\2,\1", line),
    "a member twice": lambda line: line.replace(b'"seq"', b'"seq":0,"seq"', 1),
    "a member of the record twice": lambda line: line.replace(b'"v":1', b'"v":1,"v":1', 1),
    "upper case": lambda line: re.sub(rb'"[0-9a-f]{64}"', lambda found: found[0].upper(), line, count=1),
    "a carriage return": lambda line: line.replace(b"\n", b"\r\n"),
    "a mark of byte order": lambda line: b"\xef\xbb\xbf" + line,
    "no line end": lambda line: line.removesuffix(b"\n"),
    "a null": lambda line: line.replace(b'"subject"', b'"unreadable":null,"subject"'),
    "an unknown member": lambda line: line.replace(b"}\n", b',"x":1}\n'),
    "an escape": lambda line: line.replace(b'"subject":"d', b'"subject":"\\u0064'),
    "an empty line": lambda line: line + b"\n",
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_non_canonical_lines_are_refused(spelling):
    first, rest = FILES.entries.split(b"\n", 1)
    changed = SPELLINGS[spelling](first + b"\n")
    assert changed != first + b"\n"
    tail = b"" if spelling == "no line end" else rest
    refuted = replace(FILES, entries=changed + tail).resigned().refuted()
    assert refuted & ({"form", "commitments"} if "record" in spelling else {"form"})


def test_a_record_that_was_committed_to_out_of_form_is_refused():
    class Spaced(ActRecord):
        def canonical(self):
            return super().canonical().replace(b":", b": ", 1)

    files = with_records(Spaced(TENANT, "act_1", NOW, Act("key.created", "a", "b")))
    assert files.refuted() == {"records"}
    assert "not canonical" in files.detail("records")


MANIFESTS = {
    "spaces": lambda raw: raw.replace(b":", b": ", 1),
    "no line end": lambda raw: raw.removesuffix(b"\n"),
    "two line ends": lambda raw: raw + b"\n",
    "a member twice": lambda raw: raw.replace(b'"v":1', b'"v":1,"v":1'),
    "an unknown member": lambda raw: raw.replace(b'"v":1', b'"v":1,"w":1'),
    "another version": lambda raw: raw.replace(b'"v":1', b'"v":2'),
    "empty": lambda raw: b"",
}


@pytest.mark.parametrize("spelling", MANIFESTS)
def test_a_manifest_has_one_text(spelling):
    assert replace(FILES, manifest=MANIFESTS[spelling](FILES.manifest)).refuted() == {"form"}


def test_a_checkpoint_is_the_one_of_the_manifest():
    cosigned = FILES.checkpoint + "— witness.example/w AAAAAAAAAAAA\n".encode()
    assert replace(FILES, checkpoint=cosigned).refuted() == {"checkpoint"}
    assert replace(FILES, checkpoint=cosigned).resigned().refuted() == set()
    root = read_checkpoint(FILES.checkpoint).checkpoint.root
    for size in (6, 8):
        other = sign_checkpoint(Checkpoint(ORIGIN, size, root), KEY).encode()
        assert replace(FILES, checkpoint=other).resigned().refuted() == {"tree"}


def test_a_call_without_an_outcome_is_told():
    assert "1 calls have no outcome yet" in with_records(DECISION).detail("records")


def test_a_manifest_counts_its_lines():
    changes: tuple[dict[str, Any], ...] = (
        {"count": 6},
        {"erased": 1},
        {"withheld": 1},
        {"unreadable": 1},
        {"size": 8},
        {"size": 6},
    )
    for change in changes:
        assert "form" in FILES.resigned(**change).refuted()
    assert FILES.resigned(tenant="other").refuted() == {"checkpoint", "records"}
    assert FILES.resigned(origin="caio.localhost/x").refuted() == {"checkpoint"}


@given(st.binary(max_size=80), st.binary(max_size=80), st.lists(st.binary(max_size=200), max_size=3))
def test_verify_never_raises(manifest, checkpoint, lines):
    for first in (manifest, FILES.manifest):
        export = Export(first, checkpoint, [*lines, *FILES.entries.splitlines(keepends=True)], None)
        assert not verify_log(export, Elsewhere(TRUSTED, anchors=[checkpoint], earlier=checkpoint)).ok
