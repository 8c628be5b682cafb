"""Reading YAML and JSON text into plain values: what is accepted, refused, and where it stood."""

import time
from decimal import Decimal

import pytest
import yaml

from caio.contracts.source import read_source
from caio.contracts.tree import MAX_BYTES, MAX_DEPTH, MAX_NODES, Unreadable, unfold
from caio.contracts.yaml_text import read_yaml


def value(text):
    source = read_source(text)
    assert source.problems == ()
    return source.value


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: no", "no"),
        ("a: yes", "yes"),
        ("a: on", "on"),
        ("a: true", True),
        ("a: False", False),
        ("a: 'true'", "true"),
        ("a: !!str true", "true"),
        ("a: ! 12", "12"),
        ("a: ~", None),
        ("a:", None),
        ("a: ''", ""),
        ("a: 12", 12),
        ("a: 012", 12),
        ("a: 0o17", 15),
        ("a: 0xfF", 255),
        ("a: 1:30", "1:30"),
        ("a: 1_000", "1_000"),
        ("a: 2024-01-31", "2024-01-31"),
        ("a: 2024-01-31T10:00:00Z", "2024-01-31T10:00:00Z"),
        ("a: 0.1", Decimal("0.1")),
        ("a: .5", Decimal("0.5")),
        ("a: 1e3", Decimal("1E+3")),
        ("a: -0.0000000375", Decimal("-0.0000000375")),
        ("a: 1.0.0", "1.0.0"),
        ("a: =", "="),
        ("a: |\n  x\n  y\n", "x\ny\n"),
        ("on: 1", None),
    ],
)
def test_plain_scalars_follow_the_core_schema(text, expected):
    read = value(text)
    assert read == ({"on": 1} if text.startswith("on") else {"a": expected})
    assert type(next(iter(read.values()))) is (int if text.startswith("on") else type(expected))


@pytest.mark.parametrize("text", ["a: .inf", "a: -.Inf", "a: .NaN", f"a: {'9' * 101}", "a: 1e99999999999999999999"])
def test_what_is_no_finite_number_is_a_problem_in_its_place(text):
    (problem,) = read_source("b: 1\n" + text).problems
    assert (problem.pointer, problem.line) == ("/a", 2)


@pytest.mark.parametrize(
    ("text", "pointer", "message", "line"),
    [
        ("a: 1\nb: 2\na: 3", "/a", "is given twice, again in line 3", 1),
        ("x:\n  - {k: 1, k: 2}", "/x/0/k", "is given twice, again in line 2", 2),
        ('{"a": 1,\n "a": 2}', "/a", "is given twice, again in line 2", 1),
        ("a: 1\nb: !!python/name:os.system ''", "/b", "tags are not supported", 2),
        ("a: &x 1\nb: *x\nb: 2", "/b", "is given twice, again in line 3", 2),
        ("b: !!float 1", "/b", "tags are not supported", 1),
        ("b: !!set {x}", "/b", "tags are not supported", 1),
        ("a: &x {k: 1}\nb:\n  <<: *x", "/b", "merge keys (<<, in line 3)", 2),
        ("a:\n  1: x", "/a", "keys must be text, and 1 in line 2 is none", 1),
        ("a:\n  true: x", "/a", "keys must be text, and True in line 2", 1),
        ("a:\n  [x]: y", "/a", "keys must be text, and a collection", 1),
        ('{"a": "\\ud83d"}', "/a", "half of a surrogate pair", 1),
        ('{"a": {"\\ud83d": 1}}', "/a", "a key holds half of a surrogate pair", 1),
        ('a: "\\0"', "/a", "holds a NUL character", 1),
    ],
)
def test_problems_have_a_pointer_and_a_line(text, pointer, message, line):
    (problem,) = read_source(text).problems
    assert problem.pointer == pointer
    assert problem.line == line
    assert message in problem.message


@pytest.mark.parametrize(
    ("text", "message", "line"),
    [
        ("a: 1\n b: 2", "is not valid YAML", 2),
        ("a: [1,\n2\n", "is not valid YAML", 3),
        ("a: 1\nb:\t- 2", "is not valid YAML", 2),
        ("a: 1\n---\nb: 2", "second document", 2),
        ("a: *x", "alias *x names nothing", 1),
        ("a: &x [*x]", "alias *x names nothing", 1),
        ("a: 1\nb: " + "[" * 60, "is nested more than 50 levels deep", 2),
        ("", "is empty", None),
        ("# only a remark", "is empty", None),
        (b"a: 1\nb: \xff", "not valid UTF-8", 2),
        ("a: \ud800", "not valid UTF-8", None),
        (b"a: 1\n\x00", "NUL character", 2),
        ("a: \x07", "is not valid YAML", None),
        ('{"a": 1,\n "b": }', "expected a value (column 7)", 2),
        ('{"a" 1}', "expected ':' after a key (column 6)", 1),
        ('{"a": "x\ny"}{', "invalid control character", 1),
        ('{"a": 01x"}', "expected ',' or '}'", 1),
        ('[{"a": 1} 2', "expected ',' or ']'", 1),
        ("a: " + "x" * MAX_BYTES, f"at most {MAX_BYTES} are allowed", None),
    ],
)
def test_unreadable_text_says_why_and_where(text, message, line):
    with pytest.raises(Unreadable) as caught:
        read_source(text)
    assert message in caught.value.violation.message
    assert caught.value.violation.line == line


def bomb(levels, width=10):
    lines = ["a0: &a0 [x]"] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * width)}]" for n in range(1, levels)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    "text",
    [
        bomb(9),
        bomb(5_000, 2),
        "a: &a " + "x" * 100_000 + "\nb: [*a, *a, *a]",
        "\n".join(["a: &a", *(f" k{n}: 1" for n in range(5_000)), *(f"b{n}: *a" for n in range(9_000))]),
        "a: [" + "1, " * MAX_NODES + "1]",
        '{"a": [' + "1, " * MAX_NODES + "1]}",
        "{a: " * (MAX_DEPTH + 1) + "1" + "}" * (MAX_DEPTH + 1),
        "[" * 100_000,
        '{"a":' * 40_000,
        "- " * 60_000 + "x",
        f"a: &a {'[' * 30}1{']' * 30}\nb: {'[' * 22}*a{']' * 22}",
        "a: " + "? " * 50_000,
    ],
    ids=lambda text: text[:12],
)
def test_bombs_are_refused_quickly(text):
    started = time.process_time()
    with pytest.raises(Unreadable):
        read_source(text)
    assert time.process_time() - started < 3


def test_the_deepest_and_widest_allowed_are_read():
    depth = MAX_DEPTH - 1  # the scalar inside is a level too
    assert value("[" * depth + "1" + "]" * depth) is not None
    assert value('{"a":' * depth + "1" + "}" * depth) is not None
    assert len(value("a: [" + ", ".join(["1"] * (MAX_NODES - 2)) + "]")["a"]) == MAX_NODES - 2
    with pytest.raises(Unreadable):
        value("a: [" + ", ".join(["1"] * (MAX_NODES - 1)) + "]")


def test_aliases_stand_for_their_values_each_with_its_own_line():
    source = read_source("a: &x {k: 1}\nb: *x\nc:\n  - *x")
    assert source.value == {"a": {"k": 1}, "b": {"k": 1}, "c": [{"k": 1}]}
    assert source.value["a"] is not source.value["b"]
    assert [source.line(pointer) for pointer in ("/a", "/b", "/c", "/b/k")] == [1, 2, 3, 1]


def test_lines_are_those_of_the_keys():
    text = "a:\n  b: 1\n  c:\n    - x\n    - y: 2\nd~/e: |\n  text\n"
    source = read_source(text)
    pointers = ["/a", "/a/b", "/a/c", "/a/c/0", "/a/c/1/y", "/d~0~1e", "/a/c/1/missing/deeper", ""]
    assert [source.line(pointer) for pointer in pointers] == [1, 2, 3, 4, 5, 6, 5, 1]
    assert [read_source('{"a":\n {"b":\n\n [1,\n2]}}').line(at) for at in ("/a", "/a/b", "/a/b/0", "/a/b/1")] == [
        1,
        2,
        4,
        5,
    ]


def test_json_may_use_what_yaml_readers_stumble_over():
    assert value('{"a":\t"\\ud83d\\ude00\\/",\r\n"b":[1e2,-0.5,true,null]}') == {
        "a": "\N{GRINNING FACE}/",
        "b": [Decimal(100), Decimal("-0.5"), True, None],
    }


def test_yaml_in_braces_is_yaml_and_a_byte_order_mark_is_nothing():
    assert value("{a: no, 'b': [x]}") == {"a": "no", "b": ["x"]}
    assert value("\ufeffa: 1") == {"a": 1}
    assert value(b'\xef\xbb\xbf{"a": "\\ud83d\\ude00"}') == {"a": "\N{GRINNING FACE}"}


def test_decoded_values_pass_the_same_checks():
    assert value({"a": (0.1, Decimal("0.2"), 1e3)}) == {"a": [Decimal("0.1"), Decimal("0.2"), Decimal(1000)]}
    problems = read_source({"a": float("inf"), "b": b"x", "c": {1: 2}, "d": "\x00", "e": 10**5000}).problems
    assert {problem.pointer: problem.message for problem in problems} == {
        "/a": "must be a finite number",
        "/b": "a bytes has no place in JSON",
        "/c": "keys must be text",
        "/d": "holds a NUL character",
        "/e": "the number is too large",
    }
    cycle: dict[str, object] = {}
    cycle["a"] = cycle
    shared: list[object] = []
    for _ in range(30):
        shared = [shared, shared]
    for endless in (cycle, {"a": shared}, {"a": "x" * (MAX_BYTES + 1)}):
        with pytest.raises(Unreadable):
            read_source(endless)


@pytest.mark.parametrize(
    "text", ["a: &x {k: 'v'}\nb: *x\nc: |\n  1\n  2\nd: \"\\t\"\n", "- 1\n- [a, {b: ~}]", "x: a\n  b\n"]
)
def test_both_yaml_scanners_see_the_same(text):
    fast, slow = (unfold(read_yaml(text, loader)) for loader in (yaml.CSafeLoader, yaml.SafeLoader))
    assert (fast.value, {at: mark.line for at, mark in fast.marks.items()}) == (
        slow.value,
        {at: mark.line for at, mark in slow.marks.items()},
    )


@pytest.mark.parametrize("text", ["a: 1\n b: 2", 'a: "\\UFFFFFFFF"', "a: \x07", "a: [1"])
def test_both_yaml_scanners_refuse_the_same(text):
    for loader in (yaml.CSafeLoader, yaml.SafeLoader):
        with pytest.raises(Unreadable, match="not valid YAML"):
            read_yaml(text, loader)
