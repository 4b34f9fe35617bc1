"""What a model is made of: its paths, where their parameters stand in the matrices, and the matrices at one theta."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]
Operator = Literal["=~", "~", "~~"]


@dataclass(frozen=True)
class Path:
    """One arrow of the diagram.

    Parameters
    ----------
    lhs, op, rhs
        As lavaan writes them: ``F =~ x`` (factor to indicator), ``y ~ x`` (x to y), ``a ~~ b`` ((residual) covariance).
    fixed
        The value of a fixed parameter; None for a free one.
    label
        Free parameters with the same label are one parameter.
    start
        Where the estimation of a free parameter starts; None leaves it to :mod:`gsem_spark.methods.sem.starts`.
    constant
        Label of a fixed parameter: what constraints and defined parameters call its value.
    """

    lhs: str
    op: Operator
    rhs: str
    fixed: float | None = None
    label: str | None = None
    start: float | None = None
    constant: str | None = None

    @property
    def name(self) -> str:
        """The path as text, e.g. ``F1=~BMI``."""
        return f"{self.lhs}{self.op}{self.rhs}"

    @property
    def syntax(self) -> str:
        """The path as a line of lavaan syntax."""
        modifier = f"{self.fixed:.17g}*" if self.fixed is not None else f"{self.label}*" if self.label else ""
        if self.op == "=~" and not modifier:
            modifier = "NA*"
        term = f"{modifier}{self.rhs}"
        if self.op == "=~" and self.label:
            term = f"NA*{self.rhs} + {term}"
        if self.constant:
            term += f" + {self.constant}*{self.rhs}"
        return f"{self.lhs} {self.op} {term}"


@dataclass(frozen=True)
class Layout:
    """The free paths: place in theta, row and column in their matrix, whether that is A, whether a variance.

    ``distinct`` says that every free path is its own parameter, in theta's order.
    """

    place: Ints
    row: Ints
    column: Ints
    directed: NDArray[np.bool_]
    variance: NDArray[np.bool_]
    distinct: bool

    @cached_property
    def split(self) -> tuple[Ints, Ints]:
        """Places among the free paths of the directed ones, and of the others."""
        return np.flatnonzero(self.directed), np.flatnonzero(~self.directed)


@dataclass(frozen=True)
class State:
    """The matrices at one theta, all (m, m): A, P, B = (I - A)^-1 and D = B P B', the covariances of all variables."""

    a: Floats
    p: Floats
    b: Floats
    d: Floats
