"""The model language: lavaan's formulas, as Genomic SEM users write them, read into statements with their places in the text.

``=~ ~ ~~ :=`` and ``== < > <= >=``; right-hand sides joined by ``+``; ``value*``, ``NA*``, ``label*``, ``start(value)*``;
comments after ``#`` or ``!``; several formulas a line with ``;``. A line without an operator goes on with the line before.
What the statements mean (automatic parameters, shared labels) is in :mod:`gsem_spark.methods.sem.partable`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Final

import lark
from lark import Lark, Token, Tree

from gsem_spark.errors import ModelError
from gsem_spark.methods.sem import expressions as ex
from gsem_spark.methods.sem.constraints import Constraint, Defined
from gsem_spark.methods.sem.model_checks import nearest

GRAMMAR: Final = r"""
start: [statement (_NEWLINE statement)*]
statement: expr (PATH_OP | RELATION | DEFINE) expr
?expr: product | expr PLUS product | expr MINUS product
?product: unary | product STAR unary | product SLASH unary
?unary: power | MINUS unary -> negative
?power: atom | atom CARET unary
?atom: NAME | NUMBER | TEXT | NAME "(" [expr ("," expr)*] ")" -> call | "(" expr ")"

PATH_OP: /=~|~~|~/
RELATION: /==|<=|>=|<|>/
DEFINE: ":="
PLUS: "+"
MINUS: "-"
STAR: "*"
SLASH: "/"
CARET: "^"
NUMBER: /(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?/
NAME: /`[^`\n]+`|(?:[^\W\d]|\.(?!\d))[\w.]*/
TEXT: /"[^"\n]*"|'[^'\n]*'/
_NEWLINE: /\r?\n|;/
%ignore /[ \t\f\u00a0]+/
%ignore /[#!][^\n]*/
"""
_OPERATORS: Final = ("PATH_OP", "RELATION", "DEFINE")
_MISSING: Final = "NA"
_RESERVED: Final = ("start", "label", "c", "equal", "prior", "efa", "rv")


@dataclass(frozen=True)
class Modifier:
    """What stands before a variable: ``fixed`` a value, ``free`` (NA), a ``label``, a ``start``; the rest None or False."""

    fixed: float | None = None
    free: bool = False
    label: str | None = None
    start: float | None = None

    def given(self) -> set[str]:
        """Kinds of modifier that are present; a value and NA are one kind."""
        kinds = {"value": self.fixed is not None or self.free, "label": self.label is not None, "start": self.start is not None}
        return {kind for kind, there in kinds.items() if there}

    def merged(self, other: Modifier) -> Modifier:
        """Join with another modifier of the same variable."""
        return Modifier(
            other.fixed if self.fixed is None else self.fixed, self.free or other.free, self.label or other.label,
            other.start if self.start is None else self.start,
        )


@dataclass(frozen=True)
class Term:
    """One path of a formula, and where its right-hand variable stands in the text."""

    lhs: str
    op: str
    rhs: str
    modifier: Modifier
    place: Token
    lhs_place: Token


@dataclass(frozen=True)
class Statements:
    """All that a model text says.

    Parameters
    ----------
    source
        The text.
    terms
        Paths in the order of the text, each once.
    latent
        Left-hand sides of ``=~``, in the order of the text.
    constraints, defined
        The other statements.
    """

    source: str
    terms: tuple[Term, ...]
    latent: tuple[str, ...]
    constraints: tuple[Constraint, ...]
    defined: tuple[Defined, ...]


def read(text: str) -> Statements:
    """Read a model text.

    Raises
    ------
    ModelError
        With line, column, the line itself with a caret below it, and what was expected there.
    """
    if not text.strip():
        raise ModelError("the model is empty", remedy="write at least one formula, e.g. F1 =~ trait1 + trait2 + trait3")
    try:
        tree = _parser().parse(text)
    except lark.UnexpectedCharacters as error:
        hint = "; did you mean == or =~?" if error.char == "=" else "; did you mean := or ;?" if error.char == ":" else ""
        raise _error(text, error.line, error.column, f"the character {error.char!r} has no meaning here{hint}") from None
    except lark.UnexpectedToken as error:
        raise _unexpected(text, error) from None
    reader = _Reader(text)
    for statement in tree.children:
        if isinstance(statement, Tree):
            reader.take(statement)
    return reader.finish()


@cache
def _parser() -> Lark:
    return Lark(GRAMMAR, parser="lalr", lexer="basic", postlex=_Lines(), maybe_placeholders=False)


class _Lines:
    """Joins a line that has no operator to the line before, and drops empty lines."""

    always_accept = ()

    def process(self, stream: Iterator[Token]) -> Iterator[Token]:
        """Turn physical lines into logical ones."""
        group: list[Token] = []
        complete = False
        pending: Token | None = None
        for token in stream:
            if token.type != "_NEWLINE":
                group.append(token)
                continue
            if group:
                has = any(t.type in _OPERATORS for t in group)
                if pending is not None and complete and has:
                    yield pending
                yield from group
                complete, pending, group = complete or has, token, []
        if group:
            if pending is not None and complete and any(t.type in _OPERATORS for t in group):
                yield pending
            yield from group


# --- errors -------------------------------------------------------------------------------------------------------------------
def place_error(text: str, place: Token, what: str, remedy: str = "") -> ModelError:
    """A ModelError that points at a token of the model text."""
    return _error(text, place.line or 1, place.column or 1, what, remedy)


def _error(text: str, line: int, column: int, what: str, remedy: str = "") -> ModelError:
    lines = text.splitlines() or [""]
    shown = lines[min(line, len(lines)) - 1]
    pointer = "".join("\t" if c == "\t" else " " for c in shown[: column - 1]) + "^"
    return ModelError(f"{what}\n    {shown}\n    {pointer}", where=f"model line {line}, column {column}", remedy=remedy)


def _unexpected(text: str, error: lark.UnexpectedToken) -> ModelError:
    token, expected = error.token, set(error.accepts or error.expected)
    if "NAME" in expected:
        wanted = "a variable, a number or an opening parenthesis"
    elif "PATH_OP" in expected:
        wanted = "an operator: =~, ~, ~~, :=, ==, <, >, <= or >="
    elif "RPAR" in expected:
        wanted = "a closing parenthesis"
    else:
        wanted = "+ and another variable, or a new line"
    if token.type in ("$END", "_NEWLINE"):
        at_end = token.type == "$END"  # the end borrows the place of the last token
        line, column = (token.end_line, token.end_column) if at_end else (token.line, token.column)
        line, column = line or 1, column or 1
        return _error(text, line, column, f"the formula ends where {wanted} was expected")
    remedy = "composites (<~) are not part of this language" if token == "~" and "NAME" in expected else ""
    return _error(text, token.line or 1, token.column or 1, f"expected {wanted}, not {str(token)!r}", remedy)


# --- from trees to statements -----------------------------------------------------------------------------------------------
class _Reader:
    def __init__(self, text: str) -> None:
        self.text = text
        self.terms: dict[tuple[str, str, str], Term] = {}
        self.latent: dict[str, None] = {}
        self.constraints: list[Constraint] = []
        self.defined: list[Defined] = []

    def finish(self) -> Statements:
        """All statements read so far."""
        return Statements(self.text, tuple(self.terms.values()), tuple(self.latent), tuple(self.constraints), tuple(self.defined))

    def take(self, statement: Tree[Token]) -> None:
        """Read one statement."""
        left, operator, right = statement.children
        assert isinstance(operator, Token)
        if operator.type == "RELATION":
            self.constraints.append(Constraint(self.arithmetic(left), str(operator), self.arithmetic(right)))  # type: ignore[arg-type]
        elif operator.type == "DEFINE":
            if not (isinstance(left, Token) and left.type == "NAME"):
                raise self.error(left, "the left side of := must be one name")
            self.defined.append(Defined(_name(left), self.arithmetic(right)))
        else:
            self.formula(left, str(operator), right)

    def formula(self, left: Any, op: str, right: Any) -> None:
        """Read ``a + b op c + d``."""
        targets = [self.variable(node, f"the left side of {op}") for node in self.summands(left)]
        parts = self.summands(right)
        if op == "=~":
            self.latent.update(dict.fromkeys(_name(t) for t in targets))
            if [str(p) for p in parts] == ["0"]:
                return  # a phantom variable: a factor without indicators
        for target in targets:
            own: set[str] = set()
            for part in parts:
                self.term(target, op, part, own)

    def term(self, target: Token, op: str, part: Any, own: set[str]) -> None:
        """Read one term for one left-hand side; ``own`` collects the variables of this formula."""
        *before, last = self.factors(part)
        if isinstance(last, Token) and last.type == "NUMBER" and op == "~" and not before:
            raise self.error(last, "an intercept (~ 1) has no place in a model of covariances", "leave it out")
        place = self.variable(last, "a term")
        lhs, rhs = _name(target), _name(place)
        modifier = Modifier()
        for node in before:
            modifier = self.joined(modifier, self.modifier(node), node)
        modifier = self.scaled(before, modifier)
        key = (lhs, op, rhs)
        there = self.terms.get(key)
        if there is None and op == "~~":
            key, there = (rhs, op, lhs), self.terms.get((rhs, op, lhs))
            key = key if there is not None else (lhs, op, rhs)
        if there is not None:
            if rhs not in own or not modifier.given() or modifier.given() & there.modifier.given():
                raise self.error(place, f"the path {lhs} {op} {rhs} is given twice", "keep one of them")
            self.terms[key] = replace(there, modifier=there.modifier.merged(modifier))
            return
        own.add(rhs)
        self.terms[key] = Term(lhs, op, rhs, modifier, place, target)

    # --- modifiers --------------------------------------------------------------------------------------------------------
    def modifier(self, node: Any) -> Modifier:
        """What one factor before a variable says."""
        if isinstance(node, Token) and node.type == "NAME":
            return Modifier(free=True) if node == _MISSING else Modifier(label=_name(node))
        if isinstance(node, Token) and node.type == "TEXT":
            return Modifier(label=str(node)[1:-1])
        if isinstance(node, Tree) and node.data == "call" and str(node.children[0]) in _RESERVED:
            return self.special(node)
        return Modifier(fixed=self.constant(node))

    def special(self, node: Tree[Any]) -> Modifier:
        """``start(value)`` or ``label("name")``."""
        function, arguments = str(node.children[0]), [c for c in node.children[1:] if c is not None]
        if function == "start" and len(arguments) == 1:
            return Modifier() if str(arguments[0]) == _MISSING else Modifier(start=self.constant(arguments[0]))
        if function == "label" and len(arguments) == 1 and isinstance(arguments[0], Token):
            return Modifier(label=str(arguments[0]).strip("\"'`"))
        if function == "c":
            raise self.error(node, "c(…) gives values to groups of persons, of which a covariance structure has none",
                             "write one modifier")
        raise self.error(node, f"the modifier {function}(…) is not known", "use value*, NA*, label* or start(value)*")

    def joined(self, one: Modifier, two: Modifier, node: Any) -> Modifier:
        """Two factors before the same variable; several numbers are multiplied later."""
        both = one.given() & two.given()
        if both - {"value"} or (both and (one.free or two.free)):
            raise self.error(node, f"two modifiers of the same kind ({', '.join(sorted(both))}) before one variable")
        return one.merged(two)

    def scaled(self, before: Sequence[Any], modifier: Modifier) -> Modifier:
        """Multiply the numbers before a variable, as in ``2*3*x``."""
        values = [m.fixed for m in map(self.modifier, before) if m.fixed is not None]
        if len(values) < 2:
            return modifier
        product = 1.0
        for value in values:
            product *= value
        return replace(modifier, fixed=product)

    def constant(self, node: Any) -> float:
        """A number, or arithmetic of numbers."""
        expression = self.arithmetic(node)
        if ex.names_in(expression):
            raise self.error(node, "a modifier must be a number, NA, a label or start(…)")
        value = ex.evaluate(expression, {})
        if value != value:
            raise self.error(node, "this is no number")
        return value

    # --- trees --------------------------------------------------------------------------------------------------------------
    def summands(self, node: Any) -> list[Any]:
        """Terms joined by +."""
        if isinstance(node, Tree) and node.data == "expr":
            left, sign, right = node.children
            if sign == "-":
                raise self.error(sign, "terms are joined by +, not -", "write -1*x for a path fixed at -1")
            return [*self.summands(left), *self.summands(right)]
        return [node]

    def factors(self, node: Any) -> list[Any]:
        """Factors joined by *; a quotient counts as one."""
        if isinstance(node, Tree) and node.data == "product" and node.children[1] == "*":
            return [*self.factors(node.children[0]), node.children[2]]
        return [node]

    def variable(self, node: Any, what: str) -> Token:
        """A node that must be a variable's name."""
        if isinstance(node, Token) and node.type == "NAME" and node != _MISSING:
            return node
        raise self.error(node, f"{what} must end in a variable" if what == "a term" else f"{what} must be variables joined by +")

    def arithmetic(self, node: Any) -> ex.Expression:
        """A node as an expression of labels."""
        if isinstance(node, Token):
            if node.type == "NUMBER":
                return ex.Number(float(node))
            if node.type == "NAME" and node != _MISSING:
                return ex.Name(_name(node))
            raise self.error(node, f"{str(node)!r} has no place in arithmetic")
        if node.data == "negative":
            inner = self.arithmetic(node.children[1])
            return ex.Number(-inner.value) if isinstance(inner, ex.Number) else ex.Operation("-", ex.ZERO, inner)
        if node.data == "call":
            return self.called(node)
        left, operator, right = node.children
        return ex.Operation(str(operator), self.arithmetic(left), self.arithmetic(right))

    def called(self, node: Tree[Any]) -> ex.Expression:
        """A function of one argument."""
        function, arguments = node.children[0], [c for c in node.children[1:] if c is not None]
        if str(function) not in ex.FUNCTIONS:
            raise self.error(function, f"the function {str(function)!r} is not known", nearest(str(function), [*ex.FUNCTIONS]))
        if len(arguments) != 1:
            raise self.error(function, f"{function} takes one argument, not {len(arguments)}")
        return ex.Call(str(function), self.arithmetic(arguments[0]))

    def error(self, node: Any, what: str, remedy: str = "") -> ModelError:
        """An error at the first token of a node."""
        while isinstance(node, Tree):
            node = node.children[0]
        return place_error(self.text, node, what, remedy)


def _name(token: Token) -> str:
    return str(token).strip("`")
