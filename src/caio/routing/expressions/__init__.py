"""The policy expression language: a documented subset of CEL (README.md)."""

from caio.routing.expressions.columns import ServiceColumns
from caio.routing.expressions.compiler import compile_expression
from caio.routing.expressions.conditions import Conditions
from caio.routing.expressions.errors import EvaluationError, ExpressionError
from caio.routing.expressions.interpreter import interpret
from caio.routing.expressions.masks import Mask, compile_mask
from caio.routing.expressions.parser import parse
from caio.routing.expressions.syntax import Expression, fields_of
from caio.routing.expressions.type_check import check
from caio.routing.expressions.types import Bool, Double, Dyn, Int, List, Map, Null, Record, Schema, String, Type

__all__ = [
    "Bool",
    "Conditions",
    "Double",
    "Dyn",
    "EvaluationError",
    "Expression",
    "ExpressionError",
    "Int",
    "List",
    "Map",
    "Mask",
    "Null",
    "Record",
    "Schema",
    "ServiceColumns",
    "String",
    "Type",
    "check",
    "compile_expression",
    "compile_mask",
    "fields_of",
    "interpret",
    "parse",
]
