"""The check of an expression against a schema, before it is saved.

Laws (each has a test of the same name)
---------------------------------------
- checked_never_misfits: an expression that checks against a schema without ``Dyn`` fails, on variables
  of that schema, only for a value: an absent field, a missing key or index, an overflow, a division
  by zero, a text that is no number, or too many steps. Never for a type.
- every_fault_has_its_place: line and column of what is wrong, and the nearest known name.

The checker is stricter than the evaluators: comparing a string with an int has a value in CEL (false),
yet in a policy it can only be a mistake.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

from caio.routing.expressions.errors import ExpressionError, did_you_mean, fault_at
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
)
from caio.routing.expressions.types import (
    NUMBERS,
    Bool,
    Double,
    Dyn,
    Int,
    List,
    Map,
    Null,
    Record,
    Scalar,
    Schema,
    String,
    Type,
    comparable,
    joined,
    ordered,
)

_LITERAL_TYPES: dict[type, Scalar] = {bool: Bool, int: Int, float: Double, str: String, type(None): Null}
_ORDER = {Operator.LESS, Operator.LESS_OR_EQUAL, Operator.GREATER, Operator.GREATER_OR_EQUAL}
_EQUALITY = {Operator.EQUAL, Operator.NOT_EQUAL}
_CONVERSIONS = {
    Function.INT: (Int, (Int, Double, String, Dyn)),
    Function.DOUBLE: (Double, (Int, Double, String, Dyn)),
    Function.STRING: (String, (Int, Bool, String, Dyn)),
}


def check(expression: Expression, schema: Schema, expected: Type = Bool) -> None:
    """Refuse an expression that misuses the schema, or whose result is not of the expected type.

    A ``Dyn`` result passes, and is checked when evaluated. Raises ExpressionError at the first fault.
    """
    result = _Checker(expression.source).type_of(expression.root, schema)
    if result not in (expected, Dyn):
        message = f"the expression's result is of type {result}, not {expected}"
        raise fault_at(expression.source, expression.root.offset, message)


class _Checker:
    def __init__(self, source: str) -> None:
        self._source = source

    def type_of(self, node: Node, scope: Schema) -> Type:  # noqa: PLR0912 - one case a node
        match node:
            case Literal(value=value):
                return _LITERAL_TYPES[type(value)]
            case ListLiteral(items=items):
                types = [self.type_of(item, scope) for item in items]
                return List(reduce(lambda left, right: joined(left, right) or Dyn, types) if types else Dyn)
            case Identifier(offset=offset, name=name):
                if name not in scope:
                    raise self._fault(offset, f"there is no variable '{name}'{did_you_mean(name, scope)}")
                return scope[name]
            case Select() | Has():
                field = self._field(node, scope)
                return Bool if isinstance(node, Has) else field
            case Index():
                return self._index(node, scope)
            case Not(offset=offset, operand=operand):
                self._expect(offset, "!", self.type_of(operand, scope), (Bool, Dyn))
                return Bool
            case Negate(offset=offset, operand=operand):
                operand_type = self.type_of(operand, scope)
                self._expect(offset, "-", operand_type, (*NUMBERS, Dyn))
                return operand_type
            case And(operands=operands) | Or(operands=operands):
                self._junction(node, operands, scope)
                return Bool
            case Binary():
                return self._binary(node, self.type_of(node.left, scope), self.type_of(node.right, scope))
            case Conditional():
                return self._conditional(node, scope)
            case Call():
                return self._call(node, [self.type_of(argument, scope) for argument in node.arguments])
            case Comprehension():
                return self._comprehension(node, scope)

    def _field(self, node: Select | Has, scope: Schema) -> Type:
        owner = self.type_of(node.operand, scope)
        match owner:
            case Record(fields=fields):
                if node.field not in fields:
                    hint = did_you_mean(node.field, fields)
                    raise self._fault(node.offset, f"there is no field '{node.field}' here{hint}")
                return fields[node.field]
            case Map(value=value):
                return value
            case _ if owner == Dyn:
                return Dyn
        raise self._fault(node.offset, f"a value of type {owner} has no fields, so no '{node.field}'")

    def _index(self, node: Index, scope: Schema) -> Type:
        owner, key = self.type_of(node.operand, scope), self.type_of(node.key, scope)
        match owner:
            case List(element=element):
                self._expect(node.offset, "a list's index", key, (Int, Dyn))
                return element
            case Map(value=value):
                self._expect(node.offset, "a map's key", key, (String, Dyn))
                return value
            case Record():
                raise self._fault(node.offset, "a record has named fields; write a.b instead of a['b']")
            case _ if owner == Dyn:
                self._expect(node.offset, "a key or index", key, (Int, Double, String, Dyn))
                return Dyn
        raise self._fault(node.offset, f"a value of type {owner} cannot be indexed")

    def _junction(self, node: And | Or, operands: Sequence[Node], scope: Schema) -> None:
        symbol = "&&" if isinstance(node, And) else "||"
        for operand in operands:
            self._expect(operand.offset, symbol, self.type_of(operand, scope), (Bool, Dyn))

    def _binary(self, node: Binary, left: Type, right: Type) -> Type:
        result: Type | None
        if node.operator in _EQUALITY:
            result = Bool if comparable(left, right) else None
        elif node.operator in _ORDER:
            result = Bool if ordered(left, right) else None
        elif node.operator is Operator.IN:
            result = Bool if _may_hold(right, left) else None
        else:
            result = _arithmetic(node.operator, left, right)
        if result is None:
            raise self._fault(node.offset, f"no such overload: {left} {node.operator} {right}{_advice(left, right)}")
        return result

    def _conditional(self, node: Conditional, scope: Schema) -> Type:
        self._expect(node.offset, "?:", self.type_of(node.condition, scope), (Bool, Dyn))
        then, otherwise = self.type_of(node.then, scope), self.type_of(node.otherwise, scope)
        result = joined(then, otherwise)
        if result is None:
            raise self._fault(node.offset, f"the branches of ?: differ in type: {then} and {otherwise}")
        return result

    def _call(self, node: Call, types: list[Type]) -> Type:
        if node.function is Function.SIZE:
            if not (isinstance(types[0], List | Map) or types[0] in (String, Dyn)):
                raise self._fault(node.offset, f"size() takes a string, list or map, not {types[0]}")
            return Int
        result, accepted = _CONVERSIONS.get(node.function, (Bool, (String, Dyn)))
        for given in types:
            self._expect(node.offset, f"{node.function}()", given, accepted)
        return result

    def _comprehension(self, node: Comprehension, scope: Schema) -> Type:
        domain = self.type_of(node.domain, scope)
        if not (isinstance(domain, List) or domain == Dyn):
            raise self._fault(node.offset, f"{node.macro}() walks over a list, not over {domain}")
        element = domain.element if isinstance(domain, List) else Dyn
        body = self.type_of(node.body, {**scope, node.variable: element})
        if node.macro is Macro.MAP:
            return List(body)
        self._expect(node.body.offset, f"{node.macro}()", body, (Bool, Dyn))
        return List(element) if node.macro is Macro.FILTER else Bool

    def _expect(self, offset: int, what: str, given: Type, accepted: tuple[Scalar, ...]) -> None:
        if given not in accepted:
            names = " or ".join(str(one) for one in accepted if one != Dyn)
            raise self._fault(offset, f"{what} takes {names}, not {given}")

    def _fault(self, offset: int, message: str) -> ExpressionError:
        return fault_at(self._source, offset, message)


def _may_hold(container: Type, element: Type) -> bool:
    if isinstance(container, List):
        return comparable(element, container.element)
    return container == Dyn or (isinstance(container, Map) and element in (String, Dyn))


def _arithmetic(operator: Operator, left: Type, right: Type) -> Type | None:
    if operator is Operator.ADD and List in (type(left), type(right)):
        lists = [side for side in (left, right) if isinstance(side, List)]
        if len(lists) == 2:
            return List(joined(lists[0].element, lists[1].element) or Dyn)
        return List(Dyn) if Dyn in (left, right) else None
    accepted = {Operator.REMAINDER: (Int, Dyn), Operator.ADD: (Int, Double, String, Dyn)}.get(operator, (*NUMBERS, Dyn))
    if left not in accepted or right not in accepted:
        return None
    if left == Dyn:
        return right
    return left if right in (left, Dyn) else None


def _advice(left: Type, right: Type) -> str:
    if Null in (left, right):
        return "; has(a.b) tests whether a field is present"
    if left != right and left in NUMBERS and right in NUMBERS:
        return "; convert one side with int() or double()"
    return ""
