"""Compiler and interpreter against Google's CEL, on tables and on generated expressions.

The generator writes source text over a record whose fields are often absent. *Wild* sources misuse
types now and then; *tame* ones fit ``SCHEMA``. Both stay away from the README's differences: doubles
beside ints that are rounded to them, macros over maps, and the texts and types that only CEL converts.
"""

import math
from random import Random

from cel_expr_python import cel
from hypothesis import given, settings
from hypothesis import strategies as st

from caio.routing.expressions import (
    Bool,
    Double,
    EvaluationError,
    ExpressionError,
    Int,
    List,
    Map,
    Record,
    String,
    check,
    compile_expression,
    interpret,
    parse,
)

ORACLE = cel.NewEnv(variables={"r": cel.Type.DYN})
SCHEMA = {
    "r": Record(
        {
            "bool": Bool,
            "int": Int,
            "double": Double,
            "string": String,
            "ints": List(Int),
            "doubles": List(Double),
            "strings": List(String),
            "bools": List(Bool),
            "map": Map(Int),
            "deep": Record({"int": Int, "string": String}),
        }
    )
}
INTS = (0, 0, 1, 1, 2, 3, -1, -2, 7, -7, 10, 2**31, 2**53 + 1, 2**63 - 1, 2**63 - 2, -(2**63), 1 - 2**63)
DOUBLES = (0.0, -0.0, 1.0, 1.5, -2.5, 0.1, 2.0, 3.0, 1e300, -1e300, 5e-324)
NO_LITERAL = (math.inf, -math.inf, math.nan)
STRINGS = (
    *("", "a", "ab", "b", "aba", "é", "e\u0301", "😀", "ﬀ", "'", '"', "\\", "\n", "\0", "a\tb", "\u2028"),
    *("\U0010ffff",),
)
TEXTS = tuple(text for text in STRINGS if "\0" not in text)  # the binding cuts variables at a NUL
NUMBER_TEXTS = ("0", "12", "-7", "+3", "007", "-0", "", "-", "1x", "9223372036854775807", "9223372036854775808")
DOUBLE_TEXTS = ("1.5", ".5", "5.", "-2", "+1e3", "1E-2", "", ".", "1.5.2", "e3", "abc")


def cel_says(source, variables):
    """True, False or "error"; whatever is not a bool is an error here."""
    value = ORACLE.compile(source, disable_check=True).eval(data=variables)
    return value.plain_value() if value.type() == cel.Type.BOOL else "error"


def outcomes(source, variables):
    expression = parse(source)
    for evaluate in (compile_expression(expression), lambda values: interpret(expression, values)):
        try:
            yield evaluate(variables)
        except EvaluationError:
            yield "error"


def agree(source, variables):
    """Assert that all three evaluators agree, and return what they say."""
    compiled, interpreted = outcomes(source, variables)
    expected = cel_says(source, variables)
    assert (compiled, interpreted) == (expected, expected), f"{source}\n{variables}"
    return expected


def record(rng, wild):
    fields = {
        "bool": rng.choice((True, False)),
        "int": rng.choice(INTS),
        "double": rng.choice(DOUBLES + NO_LITERAL),
        "string": rng.choice(TEXTS),
        "ints": [rng.choice(INTS) for _ in range(rng.randint(0, 3))],
        "doubles": [rng.choice(DOUBLES + NO_LITERAL) for _ in range(rng.randint(0, 3))],
        "strings": [rng.choice(TEXTS) for _ in range(rng.randint(0, 3))],
        "bools": [rng.choice((True, False)) for _ in range(rng.randint(0, 3))],
        "map": {key: rng.choice(INTS) for key in ("a", "b", "é") if rng.random() < 0.5},
        "deep": {"int": rng.choice(INTS), "string": rng.choice(TEXTS)},
    }
    if wild:
        fields["any"] = rng.choice(
            (None, True, 1, 1.0, "a", [], [1, "a", None, [1.0]], {}, {"a": {"b": [1]}}, math.nan)
        )
    return {"r": {name: value for name, value in fields.items() if rng.random() > 0.15}}


class Writer:
    """Writes expressions of a wanted kind, at most ``depth`` levels deep, over ``record``."""

    KINDS = ("bool", "int", "double", "string", "ints", "doubles", "strings", "bools")
    ELEMENTS = {"ints": "int", "doubles": "double", "strings": "string", "bools": "bool"}  # noqa: RUF012 - never changed
    LISTS = {element: of for of, element in ELEMENTS.items()}  # noqa: RUF012 - never changed

    def __init__(self, rng, wild):
        self.rng, self.wild, self.scope = rng, wild, []

    def write(self, kind, depth):
        if self.wild and self.rng.random() < 0.06:
            kind = self.rng.choice((*self.KINDS, "any"))
        if kind == "any":
            return self.rng.choice(("r.any", "r.any", "null", "r", "r.map", "r.any.a", "r.any[0]", "[1, 'a', 1.0]"))
        named = [name for name, of in self.scope if of == kind]
        if named and self.rng.random() < 0.35:
            return self.rng.choice(named)
        if depth <= 0 or self.rng.random() < 0.2:
            return self.leaf(kind)
        if self.rng.random() < 0.1:
            return f"({self.write('bool', depth - 1)} ? {self.write(kind, depth - 1)} : {self.write(kind, depth - 1)})"
        return self.listing(kind, depth - 1) if kind in self.ELEMENTS else getattr(self, "a_" + kind)(depth - 1)

    def leaf(self, kind):
        if self.rng.random() < 0.5:
            return f"r.{kind}"
        match kind:
            case "bool":
                return self.rng.choice(("true", "false"))
            case "int":
                number = self.rng.choice(INTS)
                return hex(number) if self.rng.random() < 0.1 else str(number)
            case "double":
                return repr(self.rng.choice(DOUBLES))
            case "string":
                return self.quoted(self.rng.choice(STRINGS))
        return "[" + ", ".join(self.leaf(self.ELEMENTS[kind]) for _ in range(self.rng.randint(1, 3))) + "]"

    def quoted(self, text):
        """In either quote, with escapes of every form."""
        quote = self.rng.choice("'\"")
        forms = ["\\U{:08x}"]
        if max(map(ord, text), default=0) < 0x10000:
            forms.append("\\u{:04X}")
        if max(map(ord, text), default=0) < 0x100:
            forms += ["\\x{:02x}", "\\{:03o}"]
        form, odds = self.rng.choice(forms), self.rng.choice((0, 0.5))
        must = {quote, "\\", "\n"}
        return (
            quote + "".join(form.format(ord(c)) if c in must or self.rng.random() < odds else c for c in text) + quote
        )

    def a_bool(self, depth):
        rng, one = self.rng, lambda kind: self.write(kind, depth)
        match rng.choice(
            ("order", "order", "equal", "equal", "in", "and", "or", "and", "or", "not", "has", "text", "macro")
        ):
            case "order":
                left, right = rng.choice(
                    (("int", "int"), ("int", "double"), ("double", "double"), ("string", "string"))
                )
                return f"({one(left)} {rng.choice(('<', '<=', '>', '>='))} {one(right)})"
            case "equal":
                kind = rng.choice(self.KINDS)
                other = {"int": "double", "doubles": "ints"}.get(kind, kind) if rng.random() < 0.3 else kind
                return f"({one(kind)} {rng.choice(('==', '!='))} {one(other)})"
            case "in":
                element = rng.choice(tuple(self.LISTS))
                return (
                    f"({one(element)} in {one(self.LISTS[element])})"
                    if rng.random() < 0.7
                    else f"({one('string')} in r.map)"
                )
            case "and" | "or" as which:
                junction = " && " if which == "and" else " || "
                return "(" + junction.join(one("bool") for _ in range(rng.randint(2, 3))) + ")"
            case "not":
                return f"!({one('bool')})"
            case "has":
                return f"has(r.{rng.choice((*self.KINDS, 'map', 'map.a', 'deep.int'))})"
            case "text":
                return f"{one('string')}.{rng.choice(('startsWith', 'endsWith', 'contains'))}({one('string')})"
        element = rng.choice(tuple(self.LISTS))
        domain, name = self.domain(element, depth), rng.choice(("x", "y"))
        body = self.under(name, element, "bool", depth)
        return f"{domain}.{rng.choice(('all', 'exists', 'exists_one'))}({name}, {body})"

    def domain(self, element, depth):
        """What a macro walks over: a list or, in a wild source, another value, but no map."""
        if self.wild and self.rng.random() < 0.06:
            return f"({self.leaf(self.rng.choice(('bool', 'int', 'double', 'string')))})"
        wild, self.wild = self.wild, False
        try:
            return self.write(self.LISTS[element], depth)
        finally:
            self.wild = wild

    def under(self, name, element, kind, depth):
        """An expression of the kind in which ``name`` is an element."""
        hidden = self.scope
        self.scope = [entry for entry in hidden if entry[0] != name] + [(name, element)]
        try:
            return self.write(kind, depth)
        finally:
            self.scope = hidden

    def a_int(self, depth):
        rng, one = self.rng, lambda kind: self.write(kind, depth)
        match rng.choice(("sum", "sum", "product", "negative", "size", "element", "map", "text", "double", "deep")):
            case "sum" | "product" as which:
                return f"({one('int')} {rng.choice('+-' if which == 'sum' else '*/%')} {one('int')})"
            case "negative":
                return f"-({one('int')})"
            case "size":
                kind = rng.choice(("string", "ints", "strings"))
                return f"size({one(kind)})" if rng.random() < 0.5 else f"{one(kind)}.size()"
            case "element":
                return f"{one('ints')}[{one('int')}]"
            case "map":
                return rng.choice(("r.map.a", "r.map['b']", f"r.map[{one('string')}]"))
            case "text":
                return f"int({self.quoted(rng.choice(NUMBER_TEXTS))})"
            case "double":
                return f"int({self.leaf('double')})"
        return "r.deep.int"

    def a_double(self, depth):
        rng = self.rng
        match rng.choice(("sum", "product", "negative", "text", "int", "element")):
            case "sum" | "product" as which:
                signs = "+-" if which == "sum" else "*/"
                return f"({self.write('double', depth)} {rng.choice(signs)} {self.write('double', depth)})"
            case "negative":
                return f"-({self.write('double', depth)})"
            case "text":
                return f"double({self.quoted(rng.choice(DOUBLE_TEXTS))})"
            case "int":
                return f"double({rng.choice(('0', '1', '-7', 'size(r.ints)'))})"
        return f"{self.write('doubles', depth)}[{self.write('int', depth)}]"

    def a_string(self, depth):
        match self.rng.choice(("sum", "int", "bool", "element", "deep")):
            case "sum":
                return f"({self.write('string', depth)} + {self.write('string', depth)})"
            case "int":
                return f"string({self.leaf('int')})"
            case "bool":
                return f"string({self.leaf('bool')})"
            case "element":
                return f"{self.write('strings', depth)}[{self.write('int', depth)}]"
        return "r.deep.string"

    def listing(self, kind, depth):
        rng, element = self.rng, self.ELEMENTS[kind]
        match rng.choice(("items", "sum", "filter", "map")):
            case "items":
                return "[" + ", ".join(self.write(element, depth) for _ in range(rng.randint(1, 3))) + "]"
            case "sum":
                return f"({self.write(kind, depth)} + {self.write(kind, depth)})"
            case "filter":
                return f"{self.domain(element, depth)}.filter(x, {self.under('x', element, 'bool', depth)})"
        over = rng.choice(tuple(self.LISTS))
        return f"{self.domain(over, depth)}.map(x, {self.under('x', over, element, depth)})"


def refusal_of(source):
    """None if the source parses, else that it is too large: nothing else is wrong with what is written here."""
    try:
        parse(source)
    except ExpressionError as error:
        if "deeper than" in error.message or "more than" in error.message or "bytes" in error.message:
            return error
        raise
    return None


def fault_of(expression, variables):
    """The message of the EvaluationError, or nothing."""
    try:
        compile_expression(expression)(variables)
    except EvaluationError as error:
        return error.message
    return ""


def written(seed, wild, count=30):
    """Expressions that parse, each with variables for it."""
    rng = Random(seed)
    for _ in range(count):
        source = Writer(rng, wild).write("bool", rng.randint(1, 4))
        if refusal_of(source) is None:
            yield source, record(rng, wild)


@settings(max_examples=60)
@given(st.integers(0, 2**32))
def test_compiled_is_interpreted_is_cel(seed):
    for source, variables in written(seed, wild=True):
        agree(source, variables)


def test_generated_expressions_reach_every_outcome():
    """The generator is worth its time only if errors and both values are common."""
    said = [agree(source, variables) for seed in range(10) for source, variables in written(seed, wild=True)]
    assert min(said.count(outcome) for outcome in (True, False, "error")) > len(said) // 8


VALUE_FAULTS = (
    *("absent", "no such key", "outside a list", "overflows", "division by zero", "is no int", "is no double"),
    *("does not fit an int", "steps"),
)


@settings(max_examples=30)
@given(st.integers(0, 2**32))
def test_checked_never_misfits(seed):
    for source, variables in written(seed, wild=False):
        expression = parse(source)
        check(expression, SCHEMA)
        agree(source, variables)
        fault = fault_of(expression, variables)
        assert not fault or any(known in fault for known in VALUE_FAULTS), f"{source}: {fault}"


PIECES = (
    *(
        "r.int",
        "r.map",
        "r",
        "x",
        "1",
        "-9223372036854775808",
        ".5",
        "1.5",
        "'a'",
        '"\\x41"',
        "true",
        "null",
        "r.if",
        "has",
    ),
    *(
        "(",
        ")",
        "[",
        "]",
        ",",
        ".",
        "!",
        "-",
        "?",
        ":",
        "==",
        "<",
        "in",
        "&&",
        "||",
        "+",
        "%",
        "size(",
        ".size()",
        "has(r.a)",
    ),
    *(".all(x, ", ".map(", "// c\n", "\n", " ", "int(", "r.", ".contains(", "{", "1u", "r'a'", "'''", "\\"),
)


@settings(max_examples=40)
@given(st.integers(0, 2**32))
def test_what_parses_is_cel(seed):
    """Pieces in any order: mostly nonsense, refused; what is accepted, CEL accepts and agrees on."""
    rng = Random(seed)
    for _ in range(100):
        source = rng.choice(("", " ")).join(rng.choices(PIECES, k=rng.randint(1, 6)))
        try:
            parse(source)
        except ExpressionError:
            continue
        agree(source, {"r": {"int": 1, "map": {"a": 1}, "if": True}})
