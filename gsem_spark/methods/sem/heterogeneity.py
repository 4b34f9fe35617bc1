"""Whether a factor carries its indicators' relations to other factors (Q_factor) and to outside traits (Q_trait)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gsem_spark.errors import ConfigError, ModelError
from gsem_spark.methods import pvalues
from gsem_spark.methods.ldsc.covstruct import CovStruct
from gsem_spark.methods.sem.estimate import Estimation
from gsem_spark.methods.sem.fit import Fit
from gsem_spark.methods.sem.fitting import fit_model
from gsem_spark.methods.sem.inference import quadratic_form
from gsem_spark.methods.sem.model import Model, Path, factor_model
from gsem_spark.methods.vech import correlations, vech, vech_indices

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

ALPHA: Final = 0.05
"""Family-wise level, divided by the number of outside traits."""
LARGE_RESIDUAL: Final = 0.10
LARGE_RESIDUAL_SHARE: Final = 0.25
"""A residual correlation, or their root mean square, is large above both: .10, and this share of the root mean square
correlation of the outside trait with the indicators (defaults of GenomicSEM's QTrait)."""
NO_CORRELATION: Final = 1e-12


def q_factor(fit: Fit) -> pd.DataFrame:
    """Test for each pair of factors whether their correlation accounts for all covariances between their indicators.

    Parameters
    ----------
    fit
        A converged fit with its sources, of a model in which factors covary.

    Returns
    -------
    DataFrame
        One row a pair of factors that are correlated in the solution: ``factor_1 factor_2 chisq df p neglog10p``. Pairs with
        fewer than two covariances between their indicators have NaN.

    Raises
    ------
    DataError
        When the fit was read back without its V.
    ModelError
        When it did not converge.

    Notes
    -----
    chisq = r' V_r^-1 r over the residual covariances r of one factor's indicators with the other's and their part of V; df is
    their number minus 1, for the one correlation that they share (GenomicSEM's ``Q_Factor``). A covariance that belongs to a
    pair twice, through cross-loadings, counts once; variances do not count.
    """
    if not fit.converged:
        raise ModelError("a fit that did not converge has no residuals to test", remedy="see fit.messages")
    moments = fit.sources().moments
    model = fit.model
    latent = model.covariance(fit.theta)[model.k :, model.k :]
    residual = vech(moments.S - fit.implied.to_numpy())
    rows = []
    for a, first in enumerate(model.latent):
        for b in range(a + 1, len(model.latent)):
            if abs(latent[a, b]) <= NO_CORRELATION * np.sqrt(abs(latent[a, a] * latent[b, b])):
                continue
            second = model.latent[b]
            at = _between(model, _indicators(model, first), _indicators(model, second))
            chisq = quadratic_form(residual[at], moments.V[np.ix_(at, at)]) if at.size > 1 else np.nan
            p, neglog10p = pvalues.from_chisq(chisq, at.size - 1)
            rows.append((first, second, chisq, at.size - 1, float(p), float(neglog10p)))
    return pd.DataFrame(rows, columns=["factor_1", "factor_2", "chisq", "df", "p", "neglog10p"])


def _indicators(model: Model, factor: str) -> list[str]:
    return [p.rhs for p in model.paths if p.op == "=~" and p.lhs == factor and p.rhs in model.observed and p.fixed != 0]


def _between(model: Model, left: Sequence[str], right: Sequence[str]) -> Ints:
    """Places in vech of the covariances of one set of traits with another."""
    rows, columns = vech_indices(model.k)
    names = np.array(model.observed)
    in_left, in_right = np.isin(names, left), np.isin(names, right)
    crossing = (in_left[rows] & in_right[columns]) | (in_right[rows] & in_left[columns])
    return np.flatnonzero(crossing & (rows != columns))


# --- one outside trait and a factor --------------------------------------------------------------------------------------
@dataclass(frozen=True)
class _Pathway:
    """One model of an outside trait and the factor, the loadings held."""

    fit: Fit
    rg: float
    se: float
    residual: Floats

    @property
    def lsrmr(self) -> float:
        return float(np.sqrt(np.mean(self.residual**2)))


def q_trait(
    cov: CovStruct,
    indicators: Sequence[str],
    traits: Sequence[str],
    estimation: Estimation = "DWLS",
    *,
    follow_up: bool = True,
    residual: float = LARGE_RESIDUAL,
    share: float = LARGE_RESIDUAL_SHARE,
    alpha: float = ALPHA,
) -> pd.DataFrame:
    """Test whether outside traits relate to the indicators of a factor through the factor alone.

    Parameters
    ----------
    cov
        Structure with all the traits.
    indicators
        At least 3 traits that the factor stands behind.
    traits
        Outside traits, each tested by itself.
    estimation
        ``DWLS`` or ``ML``.
    follow_up
        Where a trait is heterogeneous, free its direct paths to the worst indicators, one after the other, until it is not.
    residual, share
        See ``LARGE_RESIDUAL``.
    alpha
        Level of the tests before division by the number of outside traits.

    Returns
    -------
    DataFrame
        One row a trait: ``trait rg se z p neglog10p`` (correlation with the factor), ``q q_df q_p q_neglog10p`` (common against
        independent pathways), ``lsrmr`` (root mean square of the residual correlations with the indicators), ``heterogeneous``,
        and of the follow-up ``freed`` (indicators with their own path, joined by commas; empty for none) with
        ``rg_freed se_freed q_freed q_freed_df q_freed_p lsrmr_freed``.

    Raises
    ------
    ConfigError
        When a trait is both inside and outside, or there are fewer than 3 indicators.
    ModelError
        As :func:`gsem_spark.methods.sem.fit_model`.

    Notes
    -----
    Loadings are held at those of the indicators' own common factor model; residual variances stay free. Q is the difference
    of the chi-squares of two models: the trait predicts the factor, or each indicator by itself, df k - 1 [GenomicSEM's
    ``QTrait``, de la Fuente et al.]. Heterogeneous: rg and Q significant and lsrmr large. The SE of rg is that of the
    correlation, by the delta method; the reference prints that of the unstandardised path.
    """
    overlap = sorted(set(indicators) & set(traits))
    if overlap or len(indicators) < 3:
        raise ConfigError(
            f"{', '.join(overlap)} cannot be both indicator and outside trait" if overlap
            else f"a factor needs at least 3 indicators, there are {len(indicators)}"
        )
    measured = fit_model(cov, factor_model({_name(cov): tuple(indicators)}, observed=tuple(indicators)), estimation)
    loadings = {x: measured.value(_name(cov), "=~", x) for x in indicators}
    level = alpha / max(len(traits), 1)
    records = [_tested(cov, loadings, t, estimation, level, residual, share, follow_up) for t in traits]
    return pd.DataFrame(records)


def _name(cov: CovStruct) -> str:
    name = "F1"
    while name in cov.traits:
        name += "_"
    return name


def _tested(
    cov: CovStruct, loadings: Mapping[str, float], trait: str, estimation: Estimation, level: float, residual: float,
    share: float, follow_up: bool,
) -> dict[str, Any]:
    common = _pathway(cov, loadings, trait, (), estimation)
    own = fit_model(cov, _independent_model(loadings, trait, _name(cov)), estimation)
    limit = max(residual, share * float(np.sqrt(np.mean(_observed(common, trait, loadings) ** 2))))
    found, heterogeneous = _verdict(common, own, level, limit)
    record: dict[str, Any] = {"trait": trait, **found, "heterogeneous": heterogeneous, "freed": ""}
    last = {f"{name}_freed": np.nan for name in ("rg", "se", "q", "q_df", "q_p", "lsrmr")}
    freed: list[str] = []
    now, still = common, heterogeneous
    names = list(loadings)
    while follow_up and still and len(freed) < len(names) - 1 and np.max(np.abs(now.residual)) > limit:
        open_ = [i for i, x in enumerate(names) if x not in freed]
        freed.append(names[max(open_, key=lambda i: abs(now.residual[i]))])
        now = _pathway(cov, loadings, trait, freed, estimation)
        new, still = _verdict(now, own, level, limit)
        last = {f"{name}_freed": new[name] for name in ("rg", "se", "q", "q_df", "q_p", "lsrmr")}
    last["q_freed_df"], last["q_freed_p"] = last.pop("q_df_freed"), last.pop("q_p_freed")
    return {**record, "freed": ",".join(freed), **last}


def _verdict(path: _Pathway, own: Fit, level: float, limit: float) -> tuple[dict[str, Any], bool]:
    q = max(path.fit.indices["chisq"] - own.indices["chisq"], 0.0)
    df = int(path.fit.indices["df"] - own.indices["df"])
    with np.errstate(divide="ignore", invalid="ignore"):
        z = float(np.divide(path.rg, path.se))
    p, neglog10p = pvalues.from_z(z)
    q_p, q_neglog10p = pvalues.from_chisq(q, df)
    found = {
        "rg": path.rg, "se": path.se, "z": z, "p": float(p), "neglog10p": float(neglog10p), "q": q, "q_df": df,
        "q_p": float(q_p), "q_neglog10p": float(q_neglog10p), "lsrmr": path.lsrmr,
    }
    return found, bool(p < level and q_p < level and path.lsrmr > limit)


def _pathway(
    cov: CovStruct, loadings: Mapping[str, float], trait: str, freed: Sequence[str], estimation: Estimation
) -> _Pathway:
    """Fit: the trait predicts the factor, and the freed indicators directly."""
    factor = _name(cov)
    direct = [Path(x, "~", trait) for x in freed]
    paths = (*_held(loadings, factor), Path(trait, "~~", trait), Path(factor, "~", trait), *direct)
    model = Model((*loadings, trait), (factor,), paths)
    fit = fit_model(cov, model, estimation)
    names = list(model.free_names)
    at = [names.index(n) for n in (f"{factor}~{trait}", f"{trait}~~{trait}", f"{factor}~~{factor}")]
    slope, variance, rest = fit.theta[at]
    total = slope**2 * variance + rest
    rg = slope * np.sqrt(variance / total) if total > 0 and variance > 0 else np.nan
    with np.errstate(invalid="ignore", divide="ignore"):
        # rg = slope sqrt(variance / total): derivatives by slope, variance and the factor's own variance
        gradient = np.array([rest / total * np.sqrt(variance / total), slope * rest / (2 * np.sqrt(variance) * total**1.5),
                             -slope * np.sqrt(variance) / (2 * total**1.5)])
        se = float(np.sqrt(gradient @ fit.theta_cov[np.ix_(at, at)] @ gradient))
    gap = correlations((fit.implied + fit.residual).to_numpy()) - correlations(fit.implied.to_numpy())
    return _Pathway(fit, float(rg), se, gap[-1, :-1])


def _observed(path: _Pathway, trait: str, loadings: Mapping[str, float]) -> Floats:
    """Observed genetic correlations of the trait with the indicators."""
    at = list(path.fit.model.observed).index(trait)
    return np.asarray(correlations((path.fit.implied + path.fit.residual).to_numpy())[at, : len(loadings)])


def _independent_model(loadings: Mapping[str, float], trait: str, factor: str) -> Model:
    direct = [Path(x, "~", trait) for x in loadings]
    return Model((*loadings, trait), (factor,), (*_held(loadings, factor), Path(trait, "~~", trait), *direct))


def _held(loadings: Mapping[str, float], factor: str) -> list[Path]:
    return [
        *(Path(factor, "=~", x, fixed=value) for x, value in loadings.items()), *(Path(x, "~~", x) for x in loadings),
        Path(factor, "~~", factor),
    ]
