"""Tokens to a syntax tree, by recursive descent; operators by precedence climbing.

Laws (each has a test of the same name)
---------------------------------------
- limits_hold: source, nesting and nodes stay within ``errors``' limits, so that no walk over a tree
  that parsed can exhaust the stack.
- what_parses_is_cel: every accepted source is also accepted by CEL, with the same meaning.
"""

from __future__ import annotations

from caio.routing.expressions.errors import INT_MAX, MAX_DEPTH, MAX_NODES, ExpressionError, did_you_mean, fault_at
from caio.routing.expressions.lexer import Kind, Token, tokenize
from caio.routing.expressions.syntax import (
    And,
    Binary,
    Call,
    Comprehension,
    Conditional,
    Expression,
    Function,
    Has,
    Identifier,
    Index,
    ListLiteral,
    Literal,
    Macro,
    Negate,
    Node,
    Not,
    Operator,
    Or,
    Select,
    children,
)

_LITERALS = {"true": True, "false": False, "null": None}
_RESERVED = frozenset(
    {"as", "break", "const", "continue", "else", "for", "function", "if", "import", "let", "loop", "package"}
    | {"namespace", "return", "var", "void", "while"}
)

#: Binary operators from the loosest to the tightest; all associate to the left.
_LEVELS: tuple[frozenset[str], ...] = (
    frozenset({"<", "<=", ">", ">=", "==", "!=", "in"}),
    frozenset({"+", "-"}),
    frozenset({"*", "/", "%"}),
)

_GLOBAL = {f.value: f for f in (Function.SIZE, Function.INT, Function.DOUBLE, Function.STRING)}
_MEMBER = {
    Function.SIZE.value: 0,
    Function.STARTS_WITH.value: 1,
    Function.ENDS_WITH.value: 1,
    Function.CONTAINS.value: 1,
}
_MACROS = {macro.value for macro in Macro}

_LEFT_OUT = {
    "matches": "regular expressions can take unbounded time; use startsWith, endsWith, contains or 'in'",
    **dict.fromkeys(("bool", "bytes", "uint", "dyn", "type"), "only int, double and string convert"),
    **dict.fromkeys(("timestamp", "duration"), "a decision does not depend on the time"),
}


def parse(source: str) -> Expression:
    """The tree of ``source``. Raises ExpressionError at the first fault.

    Names and types are not checked: that is ``check``, which knows the schema.
    """
    parser = _Parser(source)
    root = parser.expression()
    parser.expect_end()
    _refuse_large(source, root)
    return Expression(source, root)


def _refuse_large(source: str, root: Node) -> None:
    """The walk is iterative: a chain of operators nests the tree without nesting the source."""
    nodes, pending = 0, [(root, 1)]
    while pending:
        node, depth = pending.pop()
        nodes += 1
        if depth > MAX_DEPTH:
            raise fault_at(source, node.offset, f"the expression nests deeper than {MAX_DEPTH} levels")
        if nodes > MAX_NODES:
            raise fault_at(source, 0, f"the expression has more than {MAX_NODES} parts; split the policy")
        pending += [(child, depth + 1) for child in children(node)]


class _Parser:
    def __init__(self, source: str) -> None:
        self._source = source
        self._tokens = tokenize(source)
        self._position = 0
        self._depth = 0

    # expressions, from the loosest to the tightest ------------------------------------------------

    def expression(self) -> Node:
        """``a || b ? c : d``"""
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise self._fault(self._next, f"the expression nests deeper than {MAX_DEPTH} levels")
        node = self._disjunction()
        if (question := self._take("?")) is not None:
            then = self._disjunction()
            self._expect(":")
            node = Conditional(question.offset, node, then, self.expression())
        self._depth -= 1
        return node

    def _disjunction(self) -> Node:
        first = self._conjunction()
        if self._next.text != "||":
            return first
        offset, operands = self._next.offset, [first]
        while self._take("||"):
            operands.append(self._conjunction())
        return Or(offset, tuple(operands))

    def _conjunction(self) -> Node:
        first = self._binary(0)
        if self._next.text != "&&":
            return first
        offset, operands = self._next.offset, [first]
        while self._take("&&"):
            operands.append(self._binary(0))
        return And(offset, tuple(operands))

    def _binary(self, level: int) -> Node:
        """Operands of operators that bind at least as tightly as ``level``."""
        left = self._unary()
        while True:
            operator = self._next
            binding = next((i for i, symbols in enumerate(_LEVELS) if operator.text in symbols), -1)
            if binding < level:
                return left
            self._advance()
            left = Binary(operator.offset, Operator(operator.text), left, self._binary(binding + 1))

    def _unary(self) -> Node:
        signs: list[Token] = []
        while self._next.text in {"!", "-"}:
            signs.append(self._advance())
            if signs[-1].text != signs[0].text:
                raise self._fault(signs[-1], "'!' and '-' do not mix; the one takes a bool, the other a number")
        if len(signs) == 1 and signs[0].text == "-" and self._next.kind in {Kind.INT, Kind.DOUBLE}:
            return self._postfix(self._number(signs[0]))
        node = self._postfix(self._primary())
        for sign in reversed(signs):
            node = Not(sign.offset, node) if sign.text == "!" else Negate(sign.offset, node)
        return node

    def _postfix(self, node: Node) -> Node:
        while True:
            if self._take("."):
                name = self._name("a field or function")
                node = self._member(node, name) if self._next.text == "(" else Select(name.offset, node, name.text)
            elif (bracket := self._take("[")) is not None:
                node = Index(bracket.offset, node, self.expression())
                self._expect("]")
            else:
                return node

    def _primary(self) -> Node:
        token = self._next
        match token.kind:
            case Kind.INT | Kind.DOUBLE:
                return self._number(None)
            case Kind.STRING:
                return Literal(self._advance().offset, token.string)
            case Kind.NAME:
                return self._named()
        if self._take("("):
            node = self.expression()
            self._expect(")")
            return node
        if self._take("["):
            return ListLiteral(token.offset, self._list_items())
        raise self._fault(token, f"expected a value, found {_shown(token)}")

    # the parts of those ---------------------------------------------------------------------------

    def _number(self, minus: Token | None) -> Literal:
        """A number and its sign; only with its sign does the smallest integer fit."""
        token = self._advance()
        if minus is not None:
            return Literal(minus.offset, -token.number)
        if token.kind is Kind.INT and token.number > INT_MAX:
            raise self._fault(token, "the integer does not fit 64 bits")
        return Literal(token.offset, token.number)

    def _list_items(self) -> tuple[Node, ...]:
        items: list[Node] = []
        while self._next.text != "]":
            items.append(self.expression())
            if not self._take(","):
                break
        self._expect("]")
        return tuple(items)

    def _named(self) -> Node:
        token = self._advance()
        if token.text in _LITERALS:
            return Literal(token.offset, _LITERALS[token.text])
        if token.text in _RESERVED or token.text == "in":
            raise self._fault(token, f"'{token.text}' is a reserved word")
        if self._next.text != "(":
            return Identifier(token.offset, token.text)
        if token.text == "has":
            return self._has(token)
        if token.text not in _GLOBAL:
            raise self._unknown_function(token)
        return Call(token.offset, _GLOBAL[token.text], self._arguments(token, 1))

    def _has(self, name: Token) -> Has:
        argument = self._arguments(name, 1)[0]
        if not isinstance(argument, Select):
            raise self._fault(name, "has() takes a field selection, as in has(a.b)")
        return Has(argument.offset, argument.operand, argument.field)

    def _member(self, receiver: Node, name: Token) -> Node:
        if name.text in _MEMBER:
            arguments = self._arguments(name, _MEMBER[name.text])
            return Call(name.offset, Function(name.text), (receiver, *arguments))
        if name.text not in _MACROS:
            raise self._unknown_function(name)
        variable, body = self._arguments(name, 2)
        if not isinstance(variable, Identifier):
            raise self._fault(name, f"{name.text}() takes a variable's name first, as in l.{name.text}(x, x > 0)")
        return Comprehension(name.offset, Macro(name.text), receiver, variable.name, body)

    def _arguments(self, name: Token, count: int) -> tuple[Node, ...]:
        self._expect("(")
        arguments: list[Node] = []
        while self._next.text != ")":
            arguments.append(self.expression())
            if not self._take(","):
                break
            if self._next.text == ")":
                raise self._fault(self._next, "expected a value, found ')'")
        self._expect(")")
        if len(arguments) != count:
            noun = "argument" if count == 1 else "arguments"
            raise self._fault(name, f"{name.text}() takes {count} {noun} here, not {len(arguments)}")
        return tuple(arguments)

    def _unknown_function(self, name: Token) -> ExpressionError:
        if name.text in _LEFT_OUT:
            return self._fault(name, f"{name.text}() is left out of this language: {_LEFT_OUT[name.text]}")
        known = {*_GLOBAL, *_MEMBER, *_MACROS, "has"}
        if name.text in known:
            return self._fault(name, f"{name.text}() is called {_usage(name.text)}")
        return self._fault(name, f"there is no function '{name.text}'{did_you_mean(name.text, known)}")

    # tokens ---------------------------------------------------------------------------------------

    @property
    def _next(self) -> Token:
        return self._tokens[self._position]

    def _advance(self) -> Token:
        token = self._tokens[self._position]
        self._position += 1
        return token

    def _take(self, symbol: str) -> Token | None:
        token = self._next
        return self._advance() if token.kind is Kind.SYMBOL and token.text == symbol else None

    def _expect(self, symbol: str) -> None:
        if self._take(symbol) is None:
            raise self._fault(self._next, f"expected '{symbol}', found {_shown(self._next)}")

    def expect_end(self) -> None:
        if self._next.kind is not Kind.END:
            raise self._fault(self._next, f"expected an operator or the end, found {_shown(self._next)}")

    def _name(self, what: str) -> Token:
        token = self._next
        if token.kind is not Kind.NAME or token.text in _LITERALS or token.text == "in":
            raise self._fault(token, f"expected {what} after '.', found {_shown(token)}")
        return self._advance()

    def _fault(self, token: Token, message: str) -> ExpressionError:
        return fault_at(self._source, token.offset, message)


def _shown(token: Token) -> str:
    return str(token.kind) if token.kind is Kind.END else f"'{token.text[:40]}'"


def _usage(function: str) -> str:
    if function in _GLOBAL or function == "has":
        return f"on its own, as in {function}(x)"
    return f"on a value, as in x.{function}({'v, v > 0' if function in _MACROS else 'y'})"
