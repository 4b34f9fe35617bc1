"""The LDSC log: a covariance structure as text, one paragraph a trait and a pair, in the order and rounding ldsc users know."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from gsem_spark.methods.ldsc.covstruct import CovStruct


def ldsc_report(cov: CovStruct) -> str:
    """Write the log of an LD score regression.

    Parameters
    ----------
    cov
        A structure; paragraphs without figures in its diagnostics (matrices from elsewhere) are short.

    Returns
    -------
    str
        Text that ends with a newline: settings, heritabilities, genetic covariances, genetic correlations, warnings.
    """
    parts = [_head(cov), *_heritabilities(cov), *_covariances(cov), _correlations(cov), _warnings(cov)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _head(cov: CovStruct) -> str:
    lines = [f"LD score regression of {cov.k} trait{'s' * (cov.k > 1)}: {', '.join(cov.traits)}"]
    if np.isfinite(cov.M):
        lines.append(f"SNPs of the LD-score panel (M): {cov.M:,.0f}")
    lines += [f"{name}: {value}" for name, value in cov.settings.items() if value is not None]
    return "\n".join(lines)


def _heritabilities(cov: CovStruct) -> list[str]:
    figures = {row["trait"]: row for row in cov.diagnostics.get("traits", [])}
    return [_heritability(row, figures.get(row["trait"], {}), cov) for row in cov.h2().to_dict("records")]


def _heritability(row: Mapping[Any, Any], known: Mapping[str, Any], cov: CovStruct) -> str:
    lines = [f"Heritability of {row['trait']}"]
    if "n_merged" in known:
        lines.append(f"  SNPs with LD scores: {known['n_merged']:,}; {known['snps_removed']:,} with chi-square above "
                     f"{known['chisq_max']:g} left out; {known['n_snps']:,} used")
    if "n_snps_step_1" in known:
        lines.append(f"  SNPs used: {known['n_snps']:,}; {known['n_snps_step_1']:,} in step 1, for the intercept")
    if "mean_chisq" in known:
        lines.append(f"  Mean chi-square: {_num(known['mean_chisq'])}   lambda GC: {_num(known['lambda_gc'])}")
        lines.append(f"  Intercept: {_pm(known['intercept'], known['intercept_se'])}   "
                     f"ratio: {_pm(known['ratio'], known['ratio_se'])}")
        lines.append(f"  h2, observed scale: {_pm(known['h2_observed'], known['h2_observed_se'])}")
    else:
        lines.append(f"  Intercept: {_num(row['intercept'])}")
    if row["scale"] == "liability":
        i = cov.traits.index(row["trait"])
        lines.append(f"  h2, liability scale: {_pm(row['h2'], row['se'])}   (sample prevalence {cov.sample_prevalence[i]:g}, "
                     f"population prevalence {cov.population_prevalence[i]:g})")
    elif "h2_observed" not in known:
        lines.append(f"  h2: {_pm(row['h2'], row['se'])}")
    lines.append(f"  h2 Z: {row['z']:.3g}")
    return "\n".join(lines)


def _covariances(cov: CovStruct) -> list[str]:
    out = []
    scaled = cov.liability.any()
    for row in cov.diagnostics.get("pairs", []):
        i, j = cov.traits.index(row["trait_1"]), cov.traits.index(row["trait_2"])
        lines = [
            f"Genetic covariance of {row['trait_1']} and {row['trait_2']}",
            f"  SNPs of both: {row['n_snps']:,}   mean Z1*Z2: {_num(row['mean_zz'])}",
            f"  Cross-trait intercept: {_pm(row['intercept'], row['intercept_se'])}",
            f"  Covariance, observed scale: {_pm(row['cov_g_observed'], row['cov_g_observed_se'])}   "
            f"Z: {row['z']:.3g}   P: {row['p']:.4g}",
        ]
        if scaled:
            lines.append(f"  Covariance, scale of S: {_pm(cov.S[i, j], cov.S_se[i, j])}")
        if "rg" in row:
            lines.append(f"  Genetic correlation over these SNPs: {_pm(row['rg'], row['rg_se'])}   P: {row['rg_p']:.4g}")
        out.append("\n".join(lines))
    return out


def _correlations(cov: CovStruct) -> str:
    if cov.k == 1:
        return ""
    lines = ["Genetic correlations"]
    for row in cov.rg().to_dict("records"):
        value = _pm(row["rg"], row["se"]) if np.isfinite(row["rg"]) else "not defined: a heritability is not positive"
        p_value = f"   P: {row['p']:.4g}" if np.isfinite(row["p"]) else ""
        lines.append(f"  {row['trait_1']} and {row['trait_2']}: {value}{p_value}")
    return "\n".join(lines)


def _warnings(cov: CovStruct) -> str:
    return "\n".join(["Warnings", *(f"  {text}" for text in cov.warnings)]) if cov.warnings else ""


def _num(value: float | None) -> str:
    return "NA" if value is None or not np.isfinite(value) else f"{value:.4f}"


def _pm(value: float | None, se: float | None) -> str:
    return f"{_num(value)} ({_num(se)})"
