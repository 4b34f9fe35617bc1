"""A model with its measurement fixed, reduced to the SNP's own paths (the ``analytic`` and ``reduced`` routes).

With all one-headed arrows and covariances of the measurement part known, the traits' covariances given the SNP are linear in
the free variances p: sigma = sigma_0 + L p, and the SNP adds phi gamma gamma' to them and phi gamma to its own row, with phi its
variance, gamma = gamma_0 + Gamma f the total effects and f the free paths. DWLS is least squares, so p leaves the problem by
projection, once for all SNPs: what is left over of the LDSC part is a quadratic form in the few products z = phi f_a f_b. Where
the free variances take up all of these products (one factor, say), nothing is left, phi meets the SNP's variance, and phi f
solves a linear problem: the estimate has a closed form [the normal equations of weighted least squares]. Else Newton steps on
(f, phi) remain.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from gsem_spark.methods.gwas.moments import spd_inverse
from gsem_spark.methods.gwas.smallmatrix import PIVOT_TOLERANCE
from gsem_spark.methods.ldsc.covstruct import vech_indices
from gsem_spark.methods.sem.model import Model

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

ABSORBED: Final = 1e-10
"""Share of a product's weighted length that may be left after projection for it to count as taken up by the free variances."""


class Layout(NamedTuple):
    """What the model alone decides; k traits, r free paths of the SNP, p free variances, z products."""

    gamma_0: Floats  # (k,) total effects that fixed paths give
    gamma: Floats  # (k, r) total effects of each free path
    sigma_0: Floats  # (k*,) covariances at p = 0 without the SNP
    loading: Floats  # (k*, p) L
    product: Floats  # (k*, z) what each product adds to the covariances
    first: Ints  # (z,) first path of each product; -1 stands for the constant 1 beside gamma_0
    second: Ints  # (z,)
    variance_variable: Ints  # (p,) variable of each free variance, the SNP counting as 0


class Reduced(NamedTuple):
    """Everything that one compiled fit reads; u of the z products are not absorbed."""

    gamma_0: Floats  # (k,)
    gamma: Floats  # (k, r)
    exact: bool  # whether the closed form holds
    first: Ints  # (u,)
    second: Ints
    to_slope: Floats  # (u, k*) T'M: times d gives the products' pull
    curve: Floats  # (u, u) T'M T
    meat: Floats  # (u, u) T'M V M T
    to_variance: Floats  # (p, k*) C: times d gives the free variances at z = 0
    sigma_0: Floats  # (k*,)
    variance_first: Ints  # (z,)
    variance_second: Ints
    variance_product: Floats  # (p, z) C T, all products
    variance_variable: Ints  # (p,)
    left_over: Floats  # (k*, k*) Pi' V^-1 Pi
    chi_product: Floats  # (u, k*) T' Pi' V^-1 Pi
    chi_curve: Floats  # (u, u)
    snp_correlation: Floats  # (k, k) R
    snp_precision: Floats  # (k, k)
    snp_error: float
    snp_bounds: Floats  # (2,)
    toler: float  # share of its diagonal element that a pivot of the normal equations has to exceed


class Shared(NamedTuple):
    """What depends on S, and so on the SNP only where S_full is smoothed."""

    slope: Floats  # (u,) T'M d
    variance: Floats  # (p,) C d
    chi: Floats  # (1,) d' Pi' V^-1 Pi d
    chi_slope: Floats  # (u,)


def layout_of(model: Model) -> Layout | str:
    """Reduce a model, or say in words why that is not possible.

    Parameters
    ----------
    model
        First observed variable the SNP.
    """
    rows, columns, directed = model.cells
    index, k = model.path_index, model.k - 1
    free = index >= 0
    from_snp = directed & (columns == 0)
    if model.constraints:
        return "the model has constraints on free parameters"
    if np.any(free & directed & ~from_snp):
        return "loadings or regressions are free"
    if np.any(~directed & (rows != columns) & (free | ((rows == 0) | (columns == 0)))):
        return "covariances are free, or the SNP covaries with a variable"
    variance, effect = free & ~directed & (rows > 0), free & from_snp
    own = index[free & ~directed & (rows == 0)][0]
    if set(index[variance].tolist()) & set(index[effect].tolist()) or np.sum(index == own) > 1:
        return "a variance shares its parameter with another kind of path"
    at = model.state(np.zeros(model.n_free))
    B = at.b[1 : k + 1]
    i, j = vech_indices(k)
    effects = {p: n for n, p in enumerate(dict.fromkeys(index[effect].tolist()))}
    gamma, gamma_0 = np.zeros((k, len(effects))), np.zeros(k)
    for path in np.flatnonzero(from_snp):
        if free[path]:
            gamma[:, effects[int(index[path])]] += B[:, rows[path]]
        else:
            gamma_0 += B[:, rows[path]] * model.fixed_values[path]
    variances = {p: n for n, p in enumerate(dict.fromkeys(index[variance].tolist()))}
    loading, named = np.zeros((i.size, len(variances))), np.zeros(len(variances), dtype=np.int64)
    for path in np.flatnonzero(variance):
        column = variances[int(index[path])]
        loading[:, column] += B[i, rows[path]] * B[j, rows[path]]
        named[column] = rows[path]
    product, first, second = _products(gamma_0, gamma)
    sigma_0 = at.d[1 : k + 1, 1 : k + 1][i, j]  # phi is 0 here, so the SNP adds nothing
    return Layout(gamma_0, gamma, sigma_0, loading, product, first, second, named)


def _products(gamma_0: Floats, gamma: Floats) -> tuple[Floats, Ints, Ints]:
    k, r = gamma.shape
    i, j = vech_indices(k)
    arms = {n: gamma[:, n] for n in range(r)}
    if np.any(gamma_0 != 0):
        arms = {-1: gamma_0, **arms}
    pairs = [(a, b) for a in arms for b in arms if a <= b]
    columns = [(arms[a][i] * arms[b][j] + arms[b][i] * arms[a][j]) * (0.5 if a == b else 1.0) for a, b in pairs]
    product = np.array(columns).T.reshape(i.size, len(pairs))
    return product, np.array([a for a, _ in pairs], dtype=np.int64), np.array([b for _, b in pairs], dtype=np.int64)


def reduce(
    layout: Layout, V: Floats, R: Floats, snp_error: float, snp_bounds: Floats | None = None, toler: float = PIVOT_TOLERANCE
) -> Reduced | None:
    """Build :class:`Reduced`; None when R or V has no Cholesky factor, or the free variances are not identified.

    Parameters
    ----------
    V, R, snp_error, snp_bounds, toler
        As in ``moments.arrange``.
    """
    try:
        precision, snp_precision = spd_inverse(V), spd_inverse(R)
    except linalg.LinAlgError:
        return None
    root = 1.0 / np.sqrt(np.diagonal(V))
    q, upper = np.linalg.qr(root[:, None] * layout.loading)
    diagonal = np.abs(np.diagonal(upper))
    if diagonal.size and diagonal.min() <= ABSORBED * diagonal.max():
        return None
    # C d: coefficients of the weighted regression of d on L; Pi d: its residual
    to_variance = linalg.solve_triangular(upper, q.T) * root if diagonal.size else np.zeros((0, root.size))
    residual = np.eye(root.size) - layout.loading @ to_variance
    T = layout.product
    left = residual @ T
    length = np.linalg.norm(root[:, None] * T, axis=0)
    stays = np.linalg.norm(root[:, None] * left, axis=0) > ABSORBED * length
    U = left[:, stays]
    weighted = (root * root)[:, None] * U
    left_over = residual.T @ precision @ residual
    exact = not stays.any() and not np.any(layout.gamma_0 != 0)
    c = np.ascontiguousarray
    return Reduced(
        layout.gamma_0, c(layout.gamma), exact, c(layout.first[stays]), c(layout.second[stays]), c(weighted.T), c(U.T @ weighted),
        c(weighted.T @ V @ weighted), c(to_variance), layout.sigma_0, layout.first, layout.second, c(to_variance @ T),
        layout.variance_variable, c((left_over + left_over.T) / 2.0), c(U.T @ precision @ residual), c(U.T @ precision @ U),
        np.array(R, order="C"), snp_precision, float(snp_error), np.array([0.0, np.inf]) if snp_bounds is None else snp_bounds,
        float(toler),
    )


def share(m: Reduced, S: Floats) -> Shared:
    """The part that depends on S (k, k)."""
    d = S[vech_indices(S.shape[0])] - m.sigma_0
    return Shared(m.to_slope @ d, m.to_variance @ d, np.array([d @ m.left_over @ d]), m.chi_product @ d)
