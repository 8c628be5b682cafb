"""An expression as nested Python closures: the engine's evaluator.

Each node becomes a function of the variables and the steps that are left. Types are compared exactly
(``type(x) is int``), because Python's own rules differ from CEL's: ``True == 1``, ``nan in [nan]``,
floored division. A fault is an EvaluationError; ``&&``, ``||``, ``all`` and ``exists`` catch it.

Law: compiled_is_interpreted: this and ``interpreter`` agree on every expression and every value.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from caio.routing.expressions.errors import MAX_STEPS, EvaluationError
from caio.routing.expressions.operations import (
    ARITHMETIC,
    FUNCTIONS,
    KINDS,
    ORDER,
    ORDERED,
    Exhausted,
    Steps,
    element,
    equal,
    holds,
    name_of,
    negative,
    no_overload,
)
from caio.routing.expressions.syntax import (
    And,
    Binary,
    Call,
    Comprehension,
    Conditional,
    Expression,
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

Variables = Mapping[str, object]
Evaluate = Callable[[Variables, Steps], object]


def compile_expression(expression: Expression) -> Callable[[Variables], bool]:
    """The expression as a function of its variables: plain bool, int, float, str, None, list, dict.

    The function raises EvaluationError, and nothing else, where the expression has no value or one
    that is not a bool. It is pure, and safe to call from several threads. Not checked: that ints in the
    variables fit 64 bits (results of arithmetic are), and the length of strings that are compared.
    """
    evaluate = compile_node(expression.root)

    def condition(variables: Variables) -> bool:
        try:
            value = evaluate(variables, Steps())
        except Exhausted:
            raise EvaluationError(f"the evaluation takes more than {MAX_STEPS} steps") from None
        if value is True or value is False:
            return value
        raise EvaluationError(f"the result is of type {name_of(value)}, not bool")

    return condition


def compile_node(node: Node) -> Evaluate:  # noqa: PLR0912 - one case a node, all of one line
    """One node as a closure that spends the caller's steps; raises EvaluationError and Exhausted."""
    match node:
        case Literal(value=value):
            return lambda variables, steps: value
        case ListLiteral(items=items):
            return _list([compile_node(item) for item in items])
        case Identifier(name=name):
            return _identifier(name)
        case Select():
            return _select(node)
        case Has(operand=operand, field=field):
            return _has(compile_node(operand), field)
        case Index(operand=operand, key=key):
            return _index(compile_node(operand), compile_node(key))
        case Not(operand=operand):
            return _not(compile_node(operand))
        case Negate(operand=operand):
            return _negate(compile_node(operand))
        case And(operands=operands):
            return _junction([compile_node(operand) for operand in operands], absorbing=False)
        case Or(operands=operands):
            return _junction([compile_node(operand) for operand in operands], absorbing=True)
        case Binary(operator=operation, left=left, right=right):
            return _binary(operation, compile_node(left), compile_node(right))
        case Conditional(condition=condition, then=then, otherwise=otherwise):
            return _conditional(compile_node(condition), compile_node(then), compile_node(otherwise))
        case Call(function=function, arguments=arguments):
            return _call(FUNCTIONS[function], [compile_node(argument) for argument in arguments])
        case Comprehension(macro=macro, domain=domain, variable=variable, body=body):
            return _comprehension(_FOLDS[macro], compile_node(domain), variable, compile_node(body))


# names, fields, elements ----------------------------------------------------------------------------


def _identifier(name: str) -> Evaluate:
    def identifier(variables: Variables, steps: Steps) -> object:
        try:
            return variables[name]
        except KeyError:
            raise EvaluationError(f"there is no variable '{name}'") from None

    return identifier


def _select(node: Select) -> Evaluate:
    """``operand.a.b`` as one closure: selections are most of what policies do."""
    operand: Node = node
    reversed_fields: list[str] = []
    while isinstance(operand, Select):
        reversed_fields.append(operand.field)
        operand = operand.operand
    fields, start = tuple(reversed(reversed_fields)), compile_node(operand)

    def select(variables: Variables, steps: Steps) -> object:
        value = start(variables, steps)
        for field in fields:
            if type(value) is not dict:
                raise EvaluationError(f"a {name_of(value)} has no fields, so no '{field}'")
            if field not in value:
                raise EvaluationError(f"the field '{field}' is absent")
            value = value[field]
        return value

    return select


def _has(operand: Evaluate, field: str) -> Evaluate:
    def has(variables: Variables, steps: Steps) -> object:
        owner = operand(variables, steps)
        if type(owner) is not dict:
            raise EvaluationError(f"a {name_of(owner)} has no fields, so no '{field}'")
        return field in owner

    return has


def _index(operand: Evaluate, key: Evaluate) -> Evaluate:
    return lambda variables, steps: element(operand(variables, steps), key(variables, steps))


def _list(items: Sequence[Evaluate]) -> Evaluate:
    return lambda variables, steps: [item(variables, steps) for item in items]


# operators and functions ----------------------------------------------------------------------------


def _binary(operation: Operator, left: Evaluate, right: Evaluate) -> Evaluate:
    if operation is Operator.EQUAL:
        return lambda variables, steps: equal(left(variables, steps), right(variables, steps), steps)
    if operation is Operator.NOT_EQUAL:
        return lambda variables, steps: not equal(left(variables, steps), right(variables, steps), steps)
    if operation is Operator.IN:
        return lambda variables, steps: holds(left(variables, steps), right(variables, steps), steps)
    if operation in ORDER:
        return _ordered(operation, ORDER[operation], left, right)
    apply = ARITHMETIC[operation]
    return lambda variables, steps: apply(left(variables, steps), right(variables, steps), steps)


def _ordered(operation: Operator, precedes: Callable[..., bool], left: Evaluate, right: Evaluate) -> Evaluate:
    def ordered(variables: Variables, steps: Steps) -> object:
        one, other = left(variables, steps), right(variables, steps)
        kind = KINDS.get(type(one))
        if kind not in ORDERED or kind is not KINDS.get(type(other)):
            raise no_overload(operation, one, other)
        return precedes(one, other)

    return ordered


def _negate(operand: Evaluate) -> Evaluate:
    return lambda variables, steps: negative(operand(variables, steps))


def _call(function: Callable[..., object], arguments: Sequence[Evaluate]) -> Evaluate:
    if len(arguments) == 1:
        (only,) = arguments
        return lambda variables, steps: function(only(variables, steps), steps)
    receiver, argument = arguments
    return lambda variables, steps: function(receiver(variables, steps), argument(variables, steps), steps)


# logic ----------------------------------------------------------------------------------------------


def _not(operand: Evaluate) -> Evaluate:
    def negation(variables: Variables, steps: Steps) -> object:
        value = operand(variables, steps)
        if value is True or value is False:
            return not value
        raise no_overload("!", value)

    return negation


def _junction(operands: Sequence[Evaluate], *, absorbing: bool) -> Evaluate:
    """``||`` if true absorbs, ``&&`` if false does: whatever the other operands are, also errors."""
    neutral = not absorbing

    def junction(variables: Variables, steps: Steps) -> object:
        fault = ""
        for operand in operands:
            try:
                value = operand(variables, steps)
            except EvaluationError as error:
                fault = fault or error.message
                continue
            if value is absorbing:
                return absorbing
            if value is not neutral:
                fault = fault or f"no such overload: && or || of {name_of(value)}"
        if fault:
            raise EvaluationError(fault)
        return neutral

    return junction


def _conditional(condition: Evaluate, then: Evaluate, otherwise: Evaluate) -> Evaluate:
    def conditional(variables: Variables, steps: Steps) -> object:
        value = condition(variables, steps)
        if value is True:
            return then(variables, steps)
        if value is False:
            return otherwise(variables, steps)
        raise no_overload("?:", value)

    return conditional


# macros ---------------------------------------------------------------------------------------------

#: The outcome of a macro from its elements and its body applied to one of them.
Fold = Callable[[Sequence[object], Callable[[object], object]], object]


def _comprehension(fold: Fold, domain: Evaluate, variable: str, body: Evaluate) -> Evaluate:
    def comprehension(variables: Variables, steps: Steps) -> object:
        elements = domain(variables, steps)
        if type(elements) is not list and type(elements) is not tuple:
            raise EvaluationError(f"a macro walks over a list, not over {name_of(elements)}")
        scope = dict(variables)

        def applied(to: object) -> object:
            steps.spend(1)
            scope[variable] = to
            return body(scope, steps)

        return fold(elements, applied)

    return comprehension


def _decided(value: object) -> bool:
    if value is True or value is False:
        return value
    raise EvaluationError(f"the condition of a macro is of type {name_of(value)}, not bool")


def _quantified(elements: Sequence[object], applied: Callable[[object], object], absorbing: bool) -> bool:
    """Like ``||`` (absorbing true) or ``&&`` (false) over the elements, errors included."""
    fault = ""
    for one in elements:
        try:
            if _decided(applied(one)) is absorbing:
                return absorbing
        except EvaluationError as error:
            fault = fault or error.message
    if fault:
        raise EvaluationError(fault)
    return not absorbing


_FOLDS: Mapping[Macro, Fold] = {
    Macro.ALL: lambda elements, applied: _quantified(elements, applied, False),
    Macro.EXISTS: lambda elements, applied: _quantified(elements, applied, True),
    Macro.EXISTS_ONE: lambda elements, applied: sum(_decided(applied(one)) for one in elements) == 1,
    Macro.FILTER: lambda elements, applied: [one for one in elements if _decided(applied(one))],
    Macro.MAP: lambda elements, applied: [applied(one) for one in elements],
}
