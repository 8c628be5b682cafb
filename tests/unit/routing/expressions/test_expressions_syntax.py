"""What is written: the tree of every form, the place of every fault, the limits, the fields read."""

import inspect
import sys
from contextlib import suppress

import pytest

from caio.routing.expressions import (
    EvaluationError,
    ExpressionError,
    check,
    compile_expression,
    fields_of,
    interpret,
    parse,
)
from caio.routing.expressions.errors import MAX_DEPTH, MAX_NODES, MAX_SOURCE_BYTES
from caio.routing.expressions.syntax import (
    And,
    Binary,
    Call,
    Comprehension,
    Conditional,
    Has,
    Identifier,
    Index,
    ListLiteral,
    Literal,
    Negate,
    Not,
    Or,
    Select,
)


def shape(node):
    """The tree in prefix form, with the literals as Python writes them."""
    match node:
        case Literal(value=value):
            return repr(value)
        case Identifier(name=name):
            return name
        case ListLiteral(items=items):
            return f"[{' '.join(map(shape, items))}]"
        case Select(operand=operand, field=field):
            return f"{shape(operand)}.{field}"
        case Has(operand=operand, field=field):
            return f"(has {shape(operand)}.{field})"
        case Index(operand=operand, key=key):
            return f"(at {shape(operand)} {shape(key)})"
        case Not(operand=operand):
            return f"(! {shape(operand)})"
        case Negate(operand=operand):
            return f"(neg {shape(operand)})"
        case And(operands=operands):
            return f"(&& {' '.join(map(shape, operands))})"
        case Or(operands=operands):
            return f"(|| {' '.join(map(shape, operands))})"
        case Binary(operator=operator, left=left, right=right):
            return f"({operator} {shape(left)} {shape(right)})"
        case Conditional(condition=condition, then=then, otherwise=otherwise):
            return f"(? {shape(condition)} {shape(then)} {shape(otherwise)})"
        case Call(function=function, arguments=arguments):
            return f"({function} {' '.join(map(shape, arguments))})"
        case Comprehension(macro=macro, domain=domain, variable=variable, body=body):
            return f"({macro} {variable} {shape(domain)} {shape(body)})"


@pytest.mark.parametrize(
    ("source", "tree"),
    [
        ("true", "True"),
        ("null", "None"),
        ("0", "0"),
        ("007", "7"),
        ("0x1F", "31"),
        ("-5", "-5"),
        ("- 5", "-5"),
        ("--5", "(neg (neg 5))"),
        ("9223372036854775807", "9223372036854775807"),
        ("-9223372036854775808", "-9223372036854775808"),
        ("-0x8000000000000000", "-9223372036854775808"),
        ("1.5", "1.5"),
        (".5", "0.5"),
        ("1e3", "1000.0"),
        ("1.5E-3", "0.0015"),
        ("-1.5", "-1.5"),
        ("''", "''"),
        ('"it\'s"', '"it\'s"'),
        (r'"\a\b\f\n\r\t\v"', r"'\x07\x08\x0c\n\r\t\x0b'"),
        (r'"\\\?\"\'\`"', repr("\\?\"'`")),
        (r'"\x41\X42\u00e9\U0001F600\101\1011"', repr("ABé😀AA1")),
        (r'"\ud7ff\ue000\U0010ffff"', repr("\ud7ff\ue000\U0010ffff")),
        ('"héllo 😀"', "'héllo 😀'"),
        ('"// no comment"', "'// no comment'"),
        ("[]", "[]"),
        ("[1, 'a', [true]]", "[1 'a' [True]]"),
        ("[1,]", "[1]"),
        ("a", "a"),
        ("_a1", "_a1"),
        ("a.b.c", "a.b.c"),
        ("a . b", "a.b"),
        ("a.if.package", "a.if.package"),
        ("(a).b", "a.b"),
        ("a[0].b['k']", "(at (at a 0).b 'k')"),
        ("-a.b", "(neg a.b)"),
        ("!!a", "(! (! a))"),
        ("!a == b", "(== (! a) b)"),
        ("a + b * c - d", "(- (+ a (* b c)) d)"),
        ("a - b - c", "(- (- a b) c)"),
        ("a / b % c * d", "(* (% (/ a b) c) d)"),
        ("1--1", "(- 1 -1)"),
        ("a + b < c * d", "(< (+ a b) (* c d))"),
        ("a < b == c", "(== (< a b) c)"),
        ("a in b in c", "(in (in a b) c)"),
        ("a<=b&&c>=d||!e", "(|| (&& (<= a b) (>= c d)) (! e))"),
        ("a || b || c", "(|| a b c)"),
        ("a || (b || c)", "(|| a (|| b c))"),
        ("a && b || c && d", "(|| (&& a b) (&& c d))"),
        ("a ? b : c ? d : e", "(? a b (? c d e))"),
        ("a || b ? c || d : e", "(? (|| a b) (|| c d) e)"),
        ("(a ? b : c) ? d : e", "(? (? a b c) d e)"),
        ("has(a.b)", "(has a.b)"),
        ("has((a.b).c)", "(has a.b.c)"),
        ("size(a)", "(size a)"),
        ("a.size()", "(size a)"),
        ("a.b.startsWith('x')", "(startsWith a.b 'x')"),
        ("a.endsWith(b).c", "(endsWith a b).c"),
        ("'ab'.contains('a')", "(contains 'ab' 'a')"),
        ("int('1') + int(1.5)", "(+ (int '1') (int 1.5))"),
        ("double(1) < 2.0", "(< (double 1) 2.0)"),
        ("string(1)", "(string 1)"),
        ("a.all(x, x > 0)", "(all x a (> x 0))"),
        ("a.exists(x, b.exists_one(y, x == y))", "(exists x a (exists_one y b (== x y)))"),
        ("a.filter(x, true).map(y, y.z)", "(map y (filter x a True) y.z)"),
        ("size == 1", "(== size 1)"),
        ("a // the rest is a comment\n\t== b", "(== a b)"),
        ("\ta\r\n==\fb ", "(== a b)"),
    ],
)
def test_a_source_has_this_tree(source, tree):
    expression = parse(source)
    assert shape(expression.root) == tree
    assert expression.source == source


MATCHES_IS_LEFT_OUT = (
    "matches() is left out of this language: regular expressions can take unbounded time; "
    "use startsWith, endsWith, contains or 'in'"
)


@pytest.mark.parametrize(
    ("source", "line", "column", "message"),
    [
        ("", 1, 1, "expected a value, found the end of the expression"),
        ("  // nothing", 1, 13, "expected a value, found the end of the expression"),
        ("a ==", 1, 5, "expected a value, found the end of the expression"),
        ("a &&\n  && b", 2, 3, "expected a value, found '&&'"),
        ("(a", 1, 3, "expected ')', found the end of the expression"),
        ("a[1", 1, 4, "expected ']', found the end of the expression"),
        ("[1, 2", 1, 6, "expected ']', found the end of the expression"),
        ("[,]", 1, 2, "expected a value, found ','"),
        ("[1,,]", 1, 4, "expected a value, found ','"),
        ("a b", 1, 3, "expected an operator or the end, found 'b'"),
        ("a ? b", 1, 6, "expected ':', found the end of the expression"),
        ("a ? b ? c : d : e", 1, 7, "expected ':', found '?'"),
        ("a.", 1, 3, "expected a field or function after '.', found the end of the expression"),
        ("a.in", 1, 3, "expected a field or function after '.', found 'in'"),
        ("a.true", 1, 3, "expected a field or function after '.', found 'true'"),
        ("a.'b'", 1, 3, "expected a field or function after '.', found ''b''"),
        ("1. == 1", 1, 4, "expected a field or function after '.', found '=='"),
        (".a", 1, 1, "expected a value, found '.'"),
        ("in a", 1, 1, "'in' is a reserved word"),
        ("a == while", 1, 6, "'while' is a reserved word"),
        ("-!a", 1, 2, "'!' and '-' do not mix; the one takes a bool, the other a number"),
        ("!-1", 1, 2, "'!' and '-' do not mix; the one takes a bool, the other a number"),
        ("9223372036854775808", 1, 1, "the integer does not fit 64 bits"),
        ("--9223372036854775808", 1, 3, "the integer does not fit 64 bits"),
        ("a < 99999999999999999999999999", 1, 5, "the integer does not fit 64 bits"),
        ("0x10000000000000000", 1, 1, "the integer does not fit 64 bits"),
        ("1e400", 1, 1, "the number is too large for a double"),
        ("1u", 1, 1, "unsigned integers are left out of this language"),
        ("a = b", 1, 3, "a single '=' is no operator; equality is '=='"),
        ("a & b", 1, 3, "a single '&' is no operator; conjunction is '&&'"),
        ("a | b", 1, 3, "a single '|' is no operator; disjunction is '||'"),
        ("{'a': 1}", 1, 1, "map and message literals are left out of this language"),
        ("a.`b`", 1, 3, "quoted field names are left out of this language; use an index, as in a['name']"),
        ("a; b", 1, 2, "unexpected character ';'"),
        ("a == é", 1, 6, "unexpected character 'é'"),
        ("a == 'x", 1, 6, "the string is not closed on its line"),
        ("a == 'x\n'", 1, 6, "the string is not closed on its line"),
        ("'ab\\q'", 1, 4, "unknown escape '\\q'"),
        ("'\\x4'", 1, 2, "unknown escape '\\x'"),
        ("'\\400'", 1, 2, "unknown escape '\\4'"),
        ("'é\\ud83d'", 1, 3, "'\\ud83d' is no Unicode character"),
        ("'\\uD800'", 1, 2, "'\\uD800' is no Unicode character"),
        ("'\\udfff'", 1, 2, "'\\udfff' is no Unicode character"),
        ("'\\U00110000'", 1, 2, "'\\U00110000' is no Unicode character"),
        ("'\ud83d'", 1, 2, "the text holds half of a surrogate pair, which is no character"),
        ("r'a'", 1, 1, "raw strings and bytes are left out of this language"),
        ("b'a'", 1, 1, "raw strings and bytes are left out of this language"),
        ("'''a'''", 1, 1, "triple-quoted strings are left out of this language"),
        ("has(a)", 1, 1, "has() takes a field selection, as in has(a.b)"),
        ("has(a['b'])", 1, 1, "has() takes a field selection, as in has(a.b)"),
        ("has()", 1, 1, "has() takes 1 argument here, not 0"),
        ("size(a, b)", 1, 1, "size() takes 1 argument here, not 2"),
        ("a.size(b)", 1, 3, "size() takes 0 arguments here, not 1"),
        ("a.contains()", 1, 3, "contains() takes 1 argument here, not 0"),
        ("size(a,)", 1, 8, "expected a value, found ')'"),
        ("a.all(x)", 1, 3, "all() takes 2 arguments here, not 1"),
        ("a.map(x, p, t)", 1, 3, "map() takes 2 arguments here, not 3"),
        ("a.all(x.y, true)", 1, 3, "all() takes a variable's name first, as in l.all(x, x > 0)"),
        ("startsWith(a, b)", 1, 1, "startsWith() is called on a value, as in x.startsWith(y)"),
        ("all(a, true)", 1, 1, "all() is called on a value, as in x.all(v, v > 0)"),
        ("a.int()", 1, 3, "int() is called on its own, as in int(x)"),
        ("a.has(b)", 1, 3, "has() is called on its own, as in has(x)"),
        ("a.startswith('b')", 1, 3, "there is no function 'startswith'; did you mean 'startsWith'?"),
        ("sizes(a)", 1, 1, "there is no function 'sizes'; did you mean 'size'?"),
        ("a.frobnicate()", 1, 3, "there is no function 'frobnicate'"),
        (
            "true &&\n  a.matches('.*')",
            2,
            5,
            MATCHES_IS_LEFT_OUT,
        ),
        ("timestamp(a)", 1, 1, "timestamp() is left out of this language: a decision does not depend on the time"),
    ],
)
def test_every_fault_has_its_place(source, line, column, message):
    with pytest.raises(ExpressionError) as caught:
        parse(source)
    assert (caught.value.line, caught.value.column, caught.value.message) == (line, column, message)


def test_an_expression_error_is_an_input_error_with_one_violation():
    with pytest.raises(ExpressionError) as caught:
        parse("a\n == ")
    error = caught.value
    assert error.code == "invalid_expression"
    assert [(violation.line, violation.message) for violation in error.violations] == [(2, error.message)]
    assert str(error) == f"line 2, column 5: {error.message}"


def nested(form, levels):
    """A source of exactly this many levels, ``form`` around an innermost literal."""
    before, inner, after = form
    return before * (levels - 1) + inner + after * (levels - 1)


NESTINGS = {
    "parentheses": ("(", "true", ")"),
    "lists": ("[", "true", "]"),
    "indexes": ("a[", "0", "]"),
    "negations": ("!", "true", ""),
    "signs": ("-", "a", ""),
    "conditionals": ("true ? false : ", "true", ""),
    "conditionals in brackets": ("(true ? (", "true", ") : false)"),
    "calls": ("size(", "'a'", ")"),
    "member calls": ("a.contains(", "'a'", ")"),
    "macros": ("[1].all(x, ", "true", ")"),
    "domains": ("", "[true]", ".map(x, x)"),
    "selections": ("", "a", ".b"),
    "sums": ("1 + ", "1", ""),
    "junctions": ("true && (false || ", "true", ")"),
}


@pytest.mark.parametrize("form", NESTINGS.values(), ids=NESTINGS)
def test_limits_hold(form):
    """Nesting stops near MAX_DEPTH whatever nests, and the deepest tree is walked in a small stack."""
    accepted, refused = 0, None
    for levels in range(1, MAX_DEPTH + 3):
        try:
            expression, accepted = parse(nested(form, levels)), levels
        except ExpressionError as error:
            refused = error
            break
    assert refused is not None
    assert "nests deeper than 50 levels" in refused.message
    assert MAX_DEPTH // 2 - 2 <= accepted <= MAX_DEPTH
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack(0)) + 500)
    try:
        parse(expression.source)
        fields_of(expression)
        with suppress(ExpressionError):
            check(expression, {})
        with suppress(EvaluationError):
            compile_expression(expression)({})
        with suppress(EvaluationError):
            interpret(expression, {})
    finally:
        sys.setrecursionlimit(limit)


@pytest.mark.parametrize("form", NESTINGS.values(), ids=NESTINGS)
def test_a_source_that_nests_without_end_is_refused_not_crashed(form):
    deepest = MAX_SOURCE_BYTES // (len(form[0]) + len(form[2])) - 5
    with pytest.raises(ExpressionError, match="nests deeper than 50 levels"):
        parse(nested(form, deepest))


def test_a_source_may_have_4096_bytes():
    exactly = "'" + "é" * 2046 + "' "  # a space makes room for one byte more
    parse(exactly[:-1] + " " + " ")
    with pytest.raises(ExpressionError, match="the expression has 4097 bytes; the limit is 4096") as caught:
        parse(exactly + "  ")
    assert (caught.value.line, caught.value.column) == (1, 1)


def test_a_tree_may_have_500_nodes():
    items = MAX_NODES - 1
    parse(f"[{','.join(['a'] * items)}]")
    with pytest.raises(ExpressionError, match="more than 500 parts"):
        parse(f"[{','.join(['a'] * (items + 1))}]")


def test_a_long_row_of_conditions_is_one_level():
    assert compile_expression(parse(" || ".join(["false"] * 300 + ["true"])))({}) is True
    assert compile_expression(parse(" && ".join(["true"] * 300 + ["false"])))({}) is False


@pytest.mark.parametrize(
    ("source", "fields"),
    [
        ("true", set()),
        ("a", {"a"}),
        ("a.b.c > 1 && has(a.d)", {"a.b.c", "a.d"}),
        ("a.b == a.b.c", {"a.b", "a.b.c"}),
        ("a.b['k'].c", {"a.b"}),
        ("a[b.c]", {"a", "b.c"}),
        ("a.tags.exists(t, t == b.t)", {"a.tags", "b.t"}),
        ("a.all(a, a.b)", {"a"}),
        ("a.all(x, x.b) || x.c", {"a", "x.c"}),
        ("[p, -q].size() == int(r) ? s : !t", {"p", "q", "r", "s", "t"}),
        ("a.b.startsWith(c)", {"a.b", "c"}),
    ],
)
def test_fields_of_are_the_paths_read(source, fields):
    assert fields_of(parse(source)) == fields
