"""The result of an exploratory model: rotated loadings and factor correlations with their errors, and how well they fit."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gsem_spark.methods import pvalues
from gsem_spark.methods.sem.fit import Fit
from gsem_spark.methods.sem.rotation_criteria import RotationName

Floats = NDArray[np.float64]

SALIENT: Final = 0.3
"""Absolute standardised loading from which a summary marks a trait as belonging to a factor."""


@dataclass(frozen=True, eq=False)
class EsemFit:
    """A rotated exploratory solution.

    Parameters
    ----------
    fit
        The same as a :class:`Fit`: parameter table, indices, implied and residual covariances. Its model shows all k m
        loadings; its indices count k m + k - m (m - 1) / 2 free parameters, for a rotation takes the rest.
    loadings, loadings_se
        (k, m) frames: completely standardised pattern loadings; their errors let the heritabilities vary too.
    correlations, correlations_se
        (m, m) frames of the factor correlations; the errors on the diagonal, and of an orthogonal rotation, are 0.
    eigenvalues, factor_eigenvalues
        (k,) eigenvalues of the genetic correlation matrix, and of the same with communalities on its diagonal.
    rotation, criterion_value
        Name of the criterion and its value.
    starts, agreeing
        Random starts of the rotation, and how many of them reached this minimum.
    """

    fit: Fit
    loadings: pd.DataFrame
    loadings_se: pd.DataFrame
    correlations: pd.DataFrame
    correlations_se: pd.DataFrame
    eigenvalues: Floats
    factor_eigenvalues: Floats
    rotation: RotationName
    criterion_value: float
    starts: int
    agreeing: int

    @property
    def parameters(self) -> pd.DataFrame:
        """The parameter table of ``fit``."""
        return self.fit.parameters

    @property
    def indices(self) -> dict[str, float]:
        """Fit indices; see :mod:`gsem_spark.methods.sem.indices`."""
        return dict(self.fit.indices)

    @property
    def status(self) -> str:
        """The status of ``fit``."""
        return self.fit.status

    @property
    def structure(self) -> pd.DataFrame:
        """(k, m) correlations of traits with factors."""
        return self.loadings @ self.correlations

    @property
    def communalities(self) -> pd.Series:
        """(k,) share of each trait's genetic variance that the factors explain."""
        return (self.loadings * self.structure).sum(axis=1).rename("communality")

    @property
    def explained(self) -> pd.Series:
        """(m,) variance of all traits, in traits, that each factor explains."""
        return (self.loadings * self.structure).sum(axis=0).rename("explained")

    def table(self) -> pd.DataFrame:
        """One row a loading: ``trait factor loading se z p neglog10p``."""
        long = self.loadings.rename_axis("trait").reset_index().melt("trait", var_name="factor", value_name="loading")
        long["se"] = self.loadings_se.to_numpy().T.ravel()
        with np.errstate(divide="ignore", invalid="ignore"):
            long["z"] = long["loading"] / long["se"]
        long["p"], long["neglog10p"] = pvalues.from_z(long["z"].to_numpy())
        return long

    def to_dict(self) -> dict[str, Any]:
        """Plain lists, mappings and numbers; NaN becomes None."""
        frames = {
            name: frame.astype(object).where(frame.notna(), None).to_dict(orient="index")
            for name, frame in (("loadings", self.loadings), ("loadings_se", self.loadings_se),
                                ("correlations", self.correlations), ("correlations_se", self.correlations_se))
        }  # fmt: skip
        return {
            "rotation": self.rotation, "criterion_value": self.criterion_value, "starts": self.starts,
            "agreeing": self.agreeing, "eigenvalues": self.eigenvalues.tolist(),
            "factor_eigenvalues": self.factor_eigenvalues.tolist(), **frames, "fit": self.fit.to_dict(),
        }

    def draw(self, path: str | Path = "path_diagram.svg", *, standardised: bool = True, hide_below: float = SALIENT) -> Path:
        """Draw the path diagram to a file, ``.svg``, ``.png`` or ``.dot`` by its ending, and return where it is.

        Parameters
        ----------
        path
            Where to; ``path_diagram.svg`` in the current folder by default.
        standardised
            Print the standardised solution; else the one in the units of S.
        hide_below
            Leave out loadings with a smaller absolute value; every trait has one on every factor.

        Raises
        ------
        ConfigError
            For another ending.
        ModelError
            When no loading is that large.
        """
        return self.fit.draw(path, standardised=standardised, hide_below=hide_below)

    def summary(self) -> str:
        """Fit and rotated loadings with their errors as text; salient loadings are starred."""
        i = self.indices
        head = (
            f"{self.rotation} rotation of {self.loadings.shape[1]} factor(s), {self.fit.estimation} fit of "
            f"{self.loadings.shape[0]} traits; status: {self.status}"
        )
        fit = (
            f"chi-square {i['chisq']:.3f}, df {i['df']:.0f}, p {i['p']:.4g}; CFI {i['cfi']:.3f}, RMSEA {i['rmsea']:.3f}, "
            f"SRMR {i['srmr']:.3f}; rotation: {self.agreeing} of {self.starts} starts agree"
        )
        cells = self.loadings.map(lambda x: f"{x:.2f}{'*' if abs(x) >= SALIENT else ' '}")
        cells += self.loadings_se.map(lambda x: f" ({x:.2f})")
        notes = ["", "Notes:", *(f"  - {m}" for m in self.fit.messages)] if self.fit.messages else []
        between = self.correlations.round(2).to_string()
        body = ["Standardised loadings (SE):", cells.to_string(), "", "Factor correlations:", between]
        return "\n".join([head, fit, "", *body, *notes])
