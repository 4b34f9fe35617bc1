"""Arithmetic on parameter labels: what a constraint or a defined parameter says, with exact derivatives.

An expression is a small immutable tree. Derivatives are trees too, so gradients and Hessians carry no step size.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from gsem_spark.errors import ModelError

FUNCTIONS: Final[Mapping[str, Callable[[float], float]]] = {
    "exp": math.exp, "log": math.log, "sqrt": math.sqrt, "abs": abs, "sign": lambda x: math.copysign(1.0, x) if x else 0.0,
}
"""Functions that an expression may call; ``sign`` arises as the derivative of ``abs``."""
_PRECEDENCE: Final = {"+": 1, "-": 1, "*": 2, "/": 2, "^": 4}
_NEGATION: Final = 3


@dataclass(frozen=True)
class Number:
    """A constant."""

    value: float


@dataclass(frozen=True)
class Name:
    """A parameter's label, or the name of a defined parameter."""

    name: str


@dataclass(frozen=True)
class Operation:
    """``left op right`` with op one of ``+ - * / ^``."""

    op: str
    left: Expression
    right: Expression


@dataclass(frozen=True)
class Call:
    """One of ``FUNCTIONS`` applied to an argument."""

    function: str
    argument: Expression


Expression = Number | Name | Operation | Call
ZERO: Final = Number(0.0)
ONE: Final = Number(1.0)


# --- building, with the simplifications that keep derivatives small -------------------------------------------------------
def add(left: Expression, right: Expression) -> Expression:
    """``left + right``."""
    if left == ZERO:
        return right
    return left if right == ZERO else _folded("+", left, right)


def subtract(left: Expression, right: Expression) -> Expression:
    """``left - right``."""
    return left if right == ZERO else _folded("-", left, right)


def multiply(left: Expression, right: Expression) -> Expression:
    """``left * right``."""
    if ZERO in (left, right):
        return ZERO
    if left == ONE:
        return right
    return left if right == ONE else _folded("*", left, right)


def divide(left: Expression, right: Expression) -> Expression:
    """``left / right``."""
    if left == ZERO and right != ZERO:
        return ZERO
    return left if right == ONE else _folded("/", left, right)


def power(base: Expression, exponent: Expression) -> Expression:
    """``base ^ exponent``."""
    return base if exponent == ONE else ONE if exponent == ZERO else _folded("^", base, exponent)


def call(function: str, argument: Expression) -> Expression:
    """``function(argument)``."""
    out = Call(function, argument)
    return Number(evaluate(out, {})) if isinstance(argument, Number) else out


def _folded(op: str, left: Expression, right: Expression) -> Expression:
    out = Operation(op, left, right)
    return Number(evaluate(out, {})) if isinstance(left, Number) and isinstance(right, Number) else out


# --- using ------------------------------------------------------------------------------------------------------------------
def evaluate(expression: Expression, values: Mapping[str, float]) -> float:
    """Value of an expression; NaN where it is not defined (log of a negative number, division by zero).

    Raises
    ------
    ModelError
        When a name has no value.
    """
    try:
        return float(_evaluate(expression, values))
    except (ZeroDivisionError, OverflowError, ValueError, TypeError):
        return math.nan


def _evaluate(expression: Expression, values: Mapping[str, float]) -> float:
    if isinstance(expression, Number):
        return expression.value
    if isinstance(expression, Name):
        if expression.name not in values:
            raise ModelError(f"the name {expression.name!r} has no value here")
        return values[expression.name]
    if isinstance(expression, Call):
        return FUNCTIONS[expression.function](_evaluate(expression.argument, values))
    left, right = _evaluate(expression.left, values), _evaluate(expression.right, values)
    match expression.op:
        case "+":
            return left + right
        case "-":
            return left - right
        case "*":
            return left * right
        case "/":
            return left / right
    result = left**right
    return math.nan if isinstance(result, complex) else result


def derivative(expression: Expression, name: str) -> Expression:
    """Derivative of an expression by one name, as an expression."""
    if isinstance(expression, Number):
        return ZERO
    if isinstance(expression, Name):
        return ONE if expression.name == name else ZERO
    if isinstance(expression, Call):
        return multiply(_outer_derivative(expression), derivative(expression.argument, name))
    a, b = expression.left, expression.right
    da, db = derivative(a, name), derivative(b, name)
    match expression.op:
        case "+":
            return add(da, db)
        case "-":
            return subtract(da, db)
        case "*":
            return add(multiply(da, b), multiply(a, db))
        case "/":
            return divide(da, b) if db == ZERO else divide(subtract(multiply(da, b), multiply(a, db)), power(b, Number(2.0)))
    grown = multiply(multiply(b, power(a, subtract(b, ONE))), da)
    return grown if db == ZERO else add(grown, multiply(multiply(expression, call("log", a)), db))


def _outer_derivative(expression: Call) -> Expression:
    x = expression.argument
    match expression.function:
        case "exp":
            return expression
        case "log":
            return divide(ONE, x)
        case "sqrt":
            return divide(Number(0.5), expression)
        case "abs":
            return call("sign", x)
    return ZERO


def names_in(expression: Expression) -> tuple[str, ...]:
    """Names that an expression uses, in order of appearance."""
    if isinstance(expression, Number):
        return ()
    if isinstance(expression, Name):
        return (expression.name,)
    if isinstance(expression, Call):
        return names_in(expression.argument)
    return tuple(dict.fromkeys((*names_in(expression.left), *names_in(expression.right))))


def substitute(expression: Expression, by: Mapping[str, Expression]) -> Expression:
    """Put expressions in the place of names."""
    if isinstance(expression, Number):
        return expression
    if isinstance(expression, Name):
        return by.get(expression.name, expression)
    if isinstance(expression, Call):
        return call(expression.function, substitute(expression.argument, by))
    build = {"+": add, "-": subtract, "*": multiply, "/": divide, "^": power}[expression.op]
    return build(substitute(expression.left, by), substitute(expression.right, by))


def to_text(expression: Expression) -> str:
    """The expression in model syntax, e.g. ``c+a*b``."""
    return _text(expression)[0]


def number_text(value: float) -> str:
    """The shortest text that reads back as this number: ``0.3``, ``2``, ``1e-05``."""
    return repr(float(value)).removesuffix(".0")


def _text(expression: Expression) -> tuple[str, int]:
    """Text and the precedence of its outermost operator."""
    if isinstance(expression, Number):
        return number_text(expression.value), 5 if expression.value >= 0 else _NEGATION
    if isinstance(expression, Name):
        return expression.name, 5
    if isinstance(expression, Call):
        return f"{expression.function}({_text(expression.argument)[0]})", 5
    own = _PRECEDENCE[expression.op]
    right, right_level = _text(expression.right)
    if expression.op == "-" and expression.left == ZERO:
        return "-" + (right if right_level > _NEGATION else f"({right})"), _NEGATION
    left, left_level = _text(expression.left)
    left_loose = left_level < own or (expression.op == "^" and left_level <= own)
    right_loose = right_level < own or (expression.op in "-/" and right_level == own) or right.startswith("-")
    return f"{_wrapped(left, left_loose)}{expression.op}{_wrapped(right, right_loose)}", own


def _wrapped(text: str, loose: bool) -> str:
    return f"({text})" if loose else text


# --- as plain data ------------------------------------------------------------------------------------------------------------
def to_data(expression: Expression) -> Any:
    """Numbers, strings and lists ``[op, left, right]`` or ``[function, argument]`` that :func:`from_data` reads back."""
    if isinstance(expression, Number):
        return expression.value
    if isinstance(expression, Name):
        return expression.name
    if isinstance(expression, Call):
        return [expression.function, to_data(expression.argument)]
    return [expression.op, to_data(expression.left), to_data(expression.right)]


def from_data(data: Any) -> Expression:
    """Rebuild from :func:`to_data`.

    Raises
    ------
    ModelError
        When the data are no expression.
    """
    match data:
        case bool():
            pass
        case int() | float():
            return Number(float(data))
        case str():
            return Name(data)
        case [str() as function, argument] if function in FUNCTIONS:
            return Call(function, from_data(argument))
        case [str() as op, left, right] if op in _PRECEDENCE:
            return Operation(op, from_data(left), from_data(right))
    raise ModelError(f"this is no expression: {data!r}")
