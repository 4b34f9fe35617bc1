"""Fitted null models as rows of ``lmm_models``."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pandas as pd

from gsem_spark.methods.lmm.multitrait import MultitraitFit
from gsem_spark.methods.lmm.null import LmmFit, hsq_max, log_likelihood
from gsem_spark.steps.lmm.kinship import FittedComponents

PROFILE_POINTS: Final = 101
"""Heritabilities at which the profile likelihood is kept for its plot."""
_NONE: Final[dict[str, Any]] = {
    "hsq": None, "hsq_se": None, "hsq_p": None, "sigmasq_g": None, "sigmasq_e": None, "loglik": None, "at_boundary": False,
    "components": [], "theta": [], "theta_se": [], "theta_stat": [], "theta_p": [], "profile_hsq": [], "profile_loglik": [],
    "Cg": [], "Cn": [], "Cg_cov": [], "Cn_cov": [],
}  # fmt: skip


def model_row(fit: LmmFit, names: tuple[str, ...], components: FittedComponents | None, independent: bool) -> dict[str, Any]:
    """A model of one trait; profile and heritability only where there is a kinship."""
    row = {**_NONE, "likelihood": "reml" if fit.reml else "ml", "n": fit.rotated.n, "covariates": list(names),
           "beta": fit.beta.tolist(), "beta_se": fit.se.tolist(), "sigmasq_e": fit.sigmasq_e, "loglik": fit.loglik_full,
           **_component_cells(components)}
    if independent:
        return row
    grid = np.linspace(0.0, hsq_max(fit.rotated), PROFILE_POINTS)
    return row | {
        "hsq": fit.hsq, "hsq_se": fit.hsq_se, "hsq_p": float(fit.test_hsq()["p"][0]), "sigmasq_g": fit.sigmasq_g,
        "at_boundary": fit.at_boundary, "profile_hsq": grid.tolist(),
        "profile_loglik": log_likelihood(fit.rotated, grid, fit.reml, constants=True).tolist(),
    }


def components_row(made: FittedComponents) -> dict[str, Any]:
    """A model of several variance components alone."""
    fit = made.fit
    return {**_NONE, "likelihood": "reml" if fit.reml else "ml", "n": fit.n, "covariates": list(fit.names),
            "beta": fit.beta.tolist(), "beta_se": np.sqrt(np.diag(fit.beta_cov)).tolist(), "sigmasq_e": float(fit.theta[-1]),
            "loglik": fit.loglik, "at_boundary": bool(fit.at_zero.any()), **_component_cells(made)}


def component_table(models: pd.DataFrame) -> pd.DataFrame:
    """Variance components of rows of ``lmm_models``: ``trait chr name variance se share stat p``, the p against its mixture."""
    rows = []
    for row in models.to_dict("records"):
        total = float(np.sum(row["theta"]))
        stats, ps = (row[name] if len(row[name]) else [None] * len(row["theta"]) for name in ("theta_stat", "theta_p"))
        for name, theta, se, stat, p in zip(row["components"], row["theta"], row["theta_se"], stats, ps, strict=True):
            rows.append((row["trait"], row["chr"], name, theta, se, theta / total if total > 0 else None, stat, p))
    return pd.DataFrame(rows, columns=["trait", "chr", "name", "variance", "se", "share", "stat", "p"]).astype(
        {"variance": float, "se": float, "share": float, "stat": float, "p": float})


def _component_cells(made: FittedComponents | None) -> dict[str, Any]:
    if made is None:
        return {}
    with np.errstate(invalid="ignore"):
        cells = {"components": list(made.fit.components), "theta": made.fit.theta.tolist(),
                 "theta_se": np.sqrt(np.diag(made.fit.theta_cov)).tolist()}
    if made.tests is None:
        return cells
    return cells | {"theta_stat": [*made.tests["stat"], float("nan")], "theta_p": [*made.tests["p"], float("nan")]}


def phenotype_row(fits: pd.Series, n: int, names: tuple[str, ...], likelihood: str) -> dict[str, Any]:
    """One of many models that were fitted at once."""
    return {**_NONE, "likelihood": likelihood, "n": n, "covariates": list(names),
            "beta": [float(fits[f"beta_{name}"]) for name in names], "beta_se": [float(fits[f"se_{name}"]) for name in names],
            "hsq": float(fits["hsq"]), "hsq_se": float(fits["hsq_se"]), "sigmasq_g": float(fits["sigmasq_g"]),
            "sigmasq_e": float(fits["sigmasq_e"]), "at_boundary": bool(np.isnan(fits["hsq_se"]))}


def multitrait_row(fit: MultitraitFit) -> dict[str, Any]:
    """A model of several traits."""
    return {**_NONE, "likelihood": "reml" if fit.reml else "ml", "n": fit.data.n, "covariates": list(fit.names),
            "beta": fit.B.ravel().tolist(), "beta_se": np.sqrt(np.diag(fit.B_cov)).tolist(), "loglik": fit.loglik,
            "at_boundary": fit.at_boundary, "Cg": fit.Cg.ravel().tolist(), "Cn": fit.Cn.ravel().tolist(),
            "Cg_cov": fit.Cg_cov.ravel().tolist(), "Cn_cov": fit.Cn_cov.ravel().tolist()}
