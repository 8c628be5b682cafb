"""The form of an export: its lines and its manifest each have one text."""

from __future__ import annotations

import base64
import json
from dataclasses import replace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from caio.audit.checkpoint import read_checkpoint
from caio.audit.export import (
    EntryLine,
    Shown,
    closing_line,
    entry_line,
    fault_of_payload,
    is_closing,
    read_closing,
    read_line,
    read_manifest,
)
from caio.audit.ports import LeafKind, StoredLeaf
from caio.audit.record import open_leaf
from caio.audit.signing import is_signed_by
from caio.foundation.canonical import NotCanonical, canonical_json, read_canonical
from caio.foundation.errors import InvalidInput
from tests.audit_samples import NOW
from tests.support.audit_exports import KEY, entry_lines, erased, files_of, records, sealer, stored

DIGESTS = st.binary(min_size=32, max_size=32).map(bytes.hex)
COUNTS = st.integers(0, 2**53 - 1)
ABOUT = {"kind": st.sampled_from(LeafKind), "subject": st.text(min_size=1, max_size=40), "recorded_at": COUNTS}
PAYLOADS = st.dictionaries(st.text(max_size=5), st.none() | st.text() | COUNTS, max_size=4).map(canonical_json)
LINES = st.one_of(
    st.builds(EntryLine, seq=COUNTS, commitment=DIGESTS),
    st.builds(EntryLine, seq=COUNTS, commitment=DIGESTS, **ABOUT),
    st.builds(EntryLine, seq=COUNTS, commitment=DIGESTS, **ABOUT, unreadable=st.just(True)),
    st.builds(EntryLine, seq=COUNTS, commitment=DIGESTS, **ABOUT, salt=DIGESTS, payload=PAYLOADS.map(msgspec.Raw)),
)


@given(LINES)
def test_lines_round_trip(line):
    written = line.written()
    assert read_line(written) == line
    assert written == canonical_json(json.loads(written)) + b"\n"


@given(LINES)
def test_a_line_has_one_text(line):
    written = line.written()
    document = json.loads(written)
    others = [
        json.dumps(document, sort_keys=True).encode() + b"\n",
        json.dumps(dict(reversed(document.items())), separators=(",", ":")).encode() + b"\n",
        written.replace(b'"seq":', b'"seq":0,"seq":', 1),
        written[:-1],
        written + b"\n",
        b" " + written,
    ]
    for other in others:
        with pytest.raises(InvalidInput):
            read_line(other)


@pytest.mark.parametrize(
    "missing", [["kind"], ["subject"], ["recorded_at"], ["salt"], ["payload"], ["kind", "subject"]]
)
def test_members_occur_together(missing):
    document = json.loads(entry_lines(1)[0].written())
    for name in missing:
        del document[name]
    with pytest.raises(InvalidInput, match=r"together|saying of what"):
        read_line(canonical_json(document) + b"\n")
    with pytest.raises(InvalidInput, match="unreadable"):
        read_line(canonical_json({**json.loads(entry_lines(1)[0].written()), "unreadable": True}) + b"\n")


def test_a_manifest_has_one_text():
    files = files_of(entry_lines(1))
    manifest = read_manifest(files.manifest)
    assert manifest.written() == files.manifest
    document = json.loads(files.manifest)
    for other in (json.dumps(document).encode(), files.manifest[:-1], files.manifest + b"\n", b"", b"[]\n"):
        with pytest.raises(InvalidInput, match="not the manifest"):
            read_manifest(other)


def test_a_manifest_is_signed_for_its_purpose():
    manifest = read_manifest(files_of(entry_lines(1)).manifest)
    document = json.loads(manifest.written())
    signature = base64.b64decode(document.pop("signature"))
    assert is_signed_by(KEY.public_key, b"caio/audit-export/v1\x00" + canonical_json(document), signature)


def test_the_last_line_round_trips():
    files = files_of(entry_lines(1))
    manifest, note = read_manifest(files.manifest), files.checkpoint.decode()
    line = closing_line(manifest, note)
    assert is_closing(line)
    assert read_closing(line) == (manifest, note)
    assert read_checkpoint(note).checkpoint.size == manifest.size
    for other in (line[:-1], line.replace(b"}\n", b',"x":1}\n'), b'{"checkpoint":1}\n', b"[]\n", b"\n", line * 2):
        with pytest.raises(InvalidInput, match="does not end as one"):
            read_closing(other)
    assert not any(is_closing(each.written()) for each in entry_lines(1))


def test_what_does_not_open_is_said_so():
    using = sealer()
    leaf = stored(records(1), using)[0]
    shown = entry_line(leaf, using, disclosed=True)
    assert json.loads(bytes(shown.payload)) == open_leaf(leaf, using).document
    assert entry_line(leaf, using, disclosed=False).is_withheld
    assert entry_line(leaf, None, disclosed=True) == erased(shown)
    gone = msgspec.structs.replace(shown, salt=None, payload=msgspec.Raw())
    for change in ({"sealed": leaf.leaf.sealed[:-1]}, {"commitment": b"x" * 32}, {"subject_id": "another"}):
        changed = StoredLeaf(leaf.seq, replace(leaf.leaf, **change))
        line = entry_line(changed, using, disclosed=True)
        assert line.unreadable
        assert line.salt is None
        assert not bytes(line.payload)
    assert entry_line(StoredLeaf(0, replace(leaf.leaf, sealed=b"")), using, disclosed=True) == gone


def test_what_is_shown_is_what_was_asked_for():
    using = sealer()
    decision, outcome, act = (each.leaf for each in stored(records(1), using))
    assert [Shown().includes(each) for each in (decision, outcome, act)] == [True] * 3
    assert [Shown(("decision", "key")).includes(each) for each in (decision, outcome, act)] == [True, False, True]
    later = outcome.recorded_at
    assert [Shown(since=later).includes(each) for each in (decision, outcome)] == [False, True]
    assert [Shown(until=later).includes(each) for each in (decision, outcome)] == [True, False]
    assert Shown().document() == {}
    assert Shown(("b", "a"), NOW, 0).document() == {"kind": ["a", "b"], "since": NOW, "until": 0}


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.text(max_size=4), VALUES, max_size=4))
def test_the_short_way_agrees_with_canonical_json(value):
    for raw in (json.dumps(value).encode(), json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()):
        assert (fault_of_payload(raw) is None) == canonical(raw)
    try:
        raw = canonical_json(value)
    except NotCanonical:
        return
    assert fault_of_payload(raw) is None


@pytest.mark.parametrize(
    "text",
    [
        '{"a":9007199254740991}',
        '{"a":9007199254740992}',
        '{"a":-9007199254740992}',
        '{"a":[1,9007199254740993]}',
        '{"a":[9999999999999999]}',
        '{"a":12345678901234567}',
        '{"a":18446744073709551616}',
        '{"a":1790000000000000}',
        '{"a":1.0}',
        '{"a":1.5}',
        '{"a":1e3}',
        '{"a":-0}',
        '{"a":"\\u0041"}',
        '{"a":1,"a":1}',
        '{"b":1,"a":1}',
        "{}",
        "[" * 101 + "]" * 101,
        '{"a":' + "[" * 99 + "]" * 99 + "}",
        '{"a":' + "[" * 100 + "]" * 100 + "}",
        '{"a":"\ud800"}',
        "9007199254740993",
    ],
)
def test_the_short_way_takes_no_short_cut(text):
    raw = text.encode(errors="surrogatepass")
    assert (fault_of_payload(raw) is None) == canonical(raw)


def canonical(raw):
    try:
        read_canonical(raw)
    except NotCanonical:
        return False
    return True
