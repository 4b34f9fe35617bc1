"""What a factor rotation makes small: simple-structure criteria of a loading matrix, with their gradients.

Every criterion takes loadings of shape (..., k, m), so that many rotations are tried at once, and is analytic, so that it may
be given complex numbers: :mod:`gsem_spark.methods.sem.rotation` and :mod:`gsem_spark.methods.sem.esem` differentiate the
gradients once more by complex steps.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gsem_spark.errors import ConfigError

Floats = NDArray[np.float64]
Numbers = NDArray[Any]
RotationName = Literal["geomin", "oblimin", "quartimin", "varimax", "target", "bi-geomin"]

GEOMIN_EPSILON: Final = 1e-3
"""Added to squared loadings, lest a single zero in a row end all comparison there."""
_ORTHOGONAL_BY_DEFAULT: Final = ("varimax", "bi-geomin")


@dataclass(frozen=True)
class Criterion:
    """A function of the loadings that a rotation minimises.

    Parameters
    ----------
    name
        Which one.
    evaluate
        Loadings (..., k, m) to the value (...) and the gradient (..., k, m).
    orthogonal
        Whether the factors stay uncorrelated.
    placed
        Number of leading factors with a place of their own (the general factor of a bifactor rotation; all of them for a
        target); only those after them may change places.
    oriented
        Whether the criterion itself decides the signs of the factors (a target does).
    kink
        Size of a loading below which the criterion bends sharply: the root of geomin's epsilon, 0 for the others.
    """

    name: RotationName
    evaluate: Callable[[Numbers], tuple[Numbers, Numbers]]
    orthogonal: bool
    placed: int = 0
    oriented: bool = False
    kink: float = 0.0


def criterion_for(
    name: RotationName, shape: tuple[int, int], *, epsilon: float = GEOMIN_EPSILON, gamma: float = 0.0,
    target: ArrayLike | None = None, orthogonal: bool | None = None,
) -> Criterion:
    """Return the criterion of a name.

    Parameters
    ----------
    name
        ``geomin`` [Yates 1987, Multivariate Exploratory Data Analysis], ``oblimin`` with ``gamma`` [Jennrich & Sampson 1966,
        Psychometrika 31:313], ``quartimin`` (oblimin with gamma 0), ``varimax`` [Kaiser 1958, Psychometrika 23:187],
        ``target`` [Browne 1972, Br J Math Stat Psychol 25:207], ``bi-geomin`` (geomin of all factors but the first, the
        general one [Jennrich & Bentler 2012, Psychometrika 77:442]).
    shape
        (k, m) of the loadings.
    epsilon
        Of the geomin criteria, > 0; larger values smooth away local minima.
    gamma
        Of oblimin, <= 0.8; smaller values make the factors less correlated.
    target
        (k, m) of ``target``: wished-for standardised loadings, NaN where there is no wish.
    orthogonal
        Keep the factors uncorrelated. By default only varimax and bi-geomin do: with correlated factors the general factor
        of a bifactor rotation can vanish into the group factors.

    Raises
    ------
    ConfigError
        For an unknown name or a setting out of its range.
    """
    _check(name, shape, epsilon, gamma, target, orthogonal)
    uncorrelated = name in _ORTHOGONAL_BY_DEFAULT if orthogonal is None else orthogonal
    if name == "geomin":
        return Criterion(name, lambda x: geomin(x, epsilon), uncorrelated, kink=epsilon**0.5)
    if name == "bi-geomin":
        return Criterion(name, lambda x: bi_geomin(x, epsilon), uncorrelated, placed=1, kink=epsilon**0.5)
    if name == "varimax":
        return Criterion(name, varimax, uncorrelated)
    if name == "target":
        wish = np.asarray(target, dtype=np.float64)
        return Criterion(name, lambda x: towards(x, wish), uncorrelated, placed=shape[1], oriented=True)
    slope = gamma if name == "oblimin" else 0.0
    return Criterion(name, lambda x: oblimin(x, slope), uncorrelated)


def _check(
    name: str, shape: tuple[int, int], epsilon: float, gamma: float, target: ArrayLike | None, orthogonal: bool | None
) -> None:
    if name not in get_args(RotationName):
        raise ConfigError(f"rotation {name!r} is not known", remedy=f"use one of {', '.join(get_args(RotationName))}")
    if not (np.isfinite(epsilon) and epsilon > 0):
        raise ConfigError(f"the epsilon of geomin is {epsilon:g}; it must be above 0", remedy="0.001 to 0.01 is usual")
    if not gamma <= 0.8:
        raise ConfigError(f"the gamma of oblimin is {gamma:g}; above 0.8 the rotation has no minimum", remedy="use 0 or less")
    if name == "bi-geomin" and shape[1] < 2:
        raise ConfigError("a bifactor rotation needs a general and at least one group factor", remedy="ask for 3 factors or more")
    if name == "varimax" and orthogonal is False:
        raise ConfigError("varimax has no oblique form", remedy="use quartimin or geomin for correlated factors")
    if (target is None) == (name == "target"):
        raise ConfigError("a target matrix goes with rotation='target' and with no other", remedy="give both or neither")
    if target is not None:
        wish = np.asarray(target, dtype=np.float64)
        if wish.shape != shape:
            raise ConfigError(f"the target is {wish.shape}, the loadings are {shape}", remedy="a row a trait, a column a factor")
        wanted = np.isfinite(wish).sum()
        needed = shape[1] * (shape[1] - 1) // (2 if orthogonal else 1)
        if wanted < needed:
            raise ConfigError(f"the target has {wanted} entries; {shape[1]} factors need at least {needed} to have one rotation")


def geomin(x: Numbers, epsilon: float) -> tuple[Numbers, Numbers]:
    """Sum over rows of the geometric mean of (loading^2 + epsilon)."""
    squares = x * x + epsilon
    means = np.exp(np.log(squares).mean(axis=-1, keepdims=True))
    return means.sum(axis=(-2, -1)), (2.0 / x.shape[-1]) * x / squares * means


def bi_geomin(x: Numbers, epsilon: float) -> tuple[Numbers, Numbers]:
    """Geomin of all columns but the first."""
    value, inner = geomin(x[..., 1:], epsilon)
    return value, np.concatenate([np.zeros_like(x[..., :1]), inner], axis=-1)


def oblimin(x: Numbers, gamma: float) -> tuple[Numbers, Numbers]:
    """Sum over pairs of columns of the covariances of their squares (gamma = 1), or of the products (gamma = 0), by half."""
    squares = x * x
    others = squares.sum(axis=-1, keepdims=True) - squares
    pull = others - gamma * others.mean(axis=-2, keepdims=True)
    return 0.25 * (squares * pull).sum(axis=(-2, -1)), x * pull


def varimax(x: Numbers) -> tuple[Numbers, Numbers]:
    """Minus a quarter of the summed variances of the columns' squares, each row first scaled to length 1 (Kaiser's weights).

    An orthogonal rotation does not change the lengths of the rows, so the gradient is taken with them held.
    """
    length = np.sqrt((x * x).sum(axis=-1, keepdims=True))
    length = np.where(length == 0, 1.0, length)
    y = x / length
    squares = y * y
    centred = squares - squares.mean(axis=-2, keepdims=True)
    return -0.25 * (centred * centred).sum(axis=(-2, -1)), -y * centred / length


def towards(x: Numbers, target: Floats) -> tuple[Numbers, Numbers]:
    """Sum of squared distances from the entries of the target that are not NaN."""
    wished = np.isfinite(target)
    gap = np.where(wished, x - np.where(wished, target, 0.0), 0.0)
    return (gap * gap).sum(axis=(-2, -1)), 2.0 * gap
