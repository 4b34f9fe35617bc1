"""Tables of the report's sections on mixed models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import pandas as pd

from gsem_spark.methods import pvalues
from gsem_spark.report.figures import chromosome_name
from gsem_spark.report.tables import Cell, Table, table
from gsem_spark.report.wording import MISSING, count, is_missing, number, p_value, superscript, with_se

Row = tuple[str | Cell, ...]

STATUS_MEANINGS: Final = {
    "ok": "tested",
    "missing": "no sample of the model has a genotype",
    "singular": "the variant does not vary, or is a combination of the covariates",
    "not_converged": "no optimum found",
}
MAX_ROWS: Final = 60
"""Rows that a table of traits or effects shows."""
MAX_LEADS: Final = 40
_INTERVAL_HEADS: Final = {
    "wald": "Wald", "basic": "Basic", "normal": "Normal", "percentile": "Percentile", "studentized": "Studentised",
}


def model_table(models: pd.DataFrame) -> Table:
    """Null models: heritability, variances, likelihood; of models without each chromosome the first, and the range of h²."""
    rows: list[Row] = []
    loco = bool((models["chr"] > 0).any())
    for (trait, likelihood), mine in models.groupby(["trait", "likelihood"], sort=False):
        r = mine.iloc[0]
        low, high = mine["hsq"].min(), mine["hsq"].max()
        rows.append((
            _trait(trait), str(likelihood).upper(), count(r["n"]), with_se(r["hsq"], r["hsq_se"]), p_value(r["hsq_p"]),
            significant(r["sigmasq_g"]), significant(r["sigmasq_e"]), number(r["loglik"], 2),
            *((f"{number(low, 3)} to {number(high, 3)}" if not is_missing(low) else MISSING,) if loco else ()),
        ))  # fmt: skip
    heads: tuple[str, ...] = ("Trait", "Likelihood", "Samples", "h² (SE)", "p of h² = 0", "σ²g", "σ²e",
                              "Log likelihood", *(("h² without each chromosome",) if loco else ()))  # fmt: skip
    heads, rows = _without_empty(heads, rows)
    note = ""
    if "h² (SE)" in heads:
        note = "h²: share of the kinship's component; its p by likelihood ratio against an equal mixture of χ² with 0 and 1 df."
    if loco:
        note += f" Each chromosome is tested by the model without it; shown is the one without chromosome {models['chr'].min()}."
    return table(heads, rows[:MAX_ROWS], (0, 1), (note + _more(len(rows))).strip())


def component_table(components: pd.DataFrame) -> Table:
    """Variance components of models with random terms, each tested."""
    shown = components.drop_duplicates(["trait", "name"])
    rows = [
        (_trait(r["trait"]), Cell(str(r["name"]), "code"), f"{significant(r['variance'])} ({significant(r['se'])})",
         number(r["share"], 3), number(r["stat"], 2), p_value(r["p"]))
        for r in shown.to_dict("records")
    ]  # fmt: skip
    note = "p: likelihood ratio of the model without it, against an equal mixture of χ²; a variance of 0 is a boundary."
    heads = ("Trait", "Component", "Variance (SE)", "Share", "LRT", "p of 0")
    return table(heads, rows[:MAX_ROWS], (0, 1), note + _more(len(rows)))


def fixed_effects_table(models: pd.DataFrame) -> Table:
    """Fixed effects of every trait's model, Wald."""
    rows = []
    for r in models.drop_duplicates(["trait", "likelihood"]).to_dict("records"):
        traits, names = [str(t) for t in r["traits"]], [str(c) for c in r["covariates"]]
        for k, (beta, se) in enumerate(zip(r["beta"], r["beta_se"], strict=True)):
            covariate, trait = names[k // len(traits)], traits[k % len(traits)]
            p, neglog10p = (float(v) for v in pvalues.from_z(np.array(beta / se)))
            rows.append((_trait(trait), Cell(covariate, "code"), significant(beta), significant(se), number(beta / se, 2),
                         p_value(p, neglog10p)))
    return table(("Trait", "Fixed effect", "Estimate", "SE", "Z", "p"), rows[:MAX_ROWS], (0, 1), _more(len(rows)).strip())


def covariance_table(models: pd.DataFrame) -> Table:
    """Variances of a model of several traits: genetic, residual, heritability."""
    r = models.iloc[0]
    k = len(r["traits"])
    Cg, Cn = (np.array(r[name], dtype=np.float64).reshape(k, k) for name in ("Cg", "Cn"))
    rows = [
        (_trait(trait), significant(Cg[i, i]), significant(Cn[i, i]), number(Cg[i, i] / (Cg[i, i] + Cn[i, i]), 3))
        for i, trait in enumerate(r["traits"])
    ]
    return table(("Trait", "Genetic variance", "Residual variance", "h²"), rows, (0,), "Genetic: per unit of the kinship.")


def correlation_table(correlations: pd.DataFrame) -> Table:
    """Genetic and residual correlations by pair of traits."""
    pairs = correlations.drop_duplicates(["trait1", "trait2"])
    found: dict[tuple[str, ...], Any] = {(r["kind"], r["trait1"], r["trait2"]): r for r in correlations.to_dict("records")}
    rows = []
    for pair in zip(pairs["trait1"], pairs["trait2"], strict=True):
        cells: list[str | Cell] = []
        for kind in ("genetic", "residual"):
            r = found[kind, *pair]
            cells += [with_se(r["r"], r["se"]), p_value(r["p"], r["neglog10p"])]
        rows.append((" · ".join(map(str, pair)), *cells))
    heads = ("Pair", "Genetic correlation (SE)", "p", "Residual correlation (SE)", "p")
    return table(heads, rows, (0,), "Standard errors by the delta method; – at a boundary, where there is none.")


def tests_table(figures: pd.DataFrame) -> Table:
    """Figures by trait, design and test."""
    rows = [
        (_trait(r["trait"]), Cell(str(r["design"]), "code"), Cell(str(r["test"]), "code"), count(r["df"]), count(r["tests"]),
         number(r["lambda_gc"], 3), count(r["hits"]), str(r["top_snp"] or MISSING), p_value(None, r["top_neglog10p"]))
        for r in figures.to_dict("records")
    ]  # fmt: skip
    heads = ("Trait", "Design", "Test", "df", "Tests", "λGC", "p < 5 × 10⁻⁸", "Strongest variant", "its p")
    return table(heads, rows[:MAX_ROWS], (0, 1, 2, 7), _more(len(rows)).strip())


def leads_table(leads: pd.DataFrame) -> Table:
    """Lead variants of one test, in genome order: the strongest."""
    shown = leads.nlargest(MAX_LEADS, "neglog10p", keep="first").sort_values(["chr", "bp"], kind="stable")
    rows = [
        (str(r["snp"]), f"{chromosome_name(r['chr'])}:{count(r['bp'])}", f"{r['a1']}/{r['a2']}", number(r["af"], 3),
         count(r["n"]), f"{significant(r['beta'])} ({significant(r['se'])})" if not is_missing(r["beta"]) else MISSING,
         p_value(r["p"], r["neglog10p"]))
        for r in shown.to_dict("records")
    ]  # fmt: skip
    note = f"The {MAX_LEADS} strongest of {count(len(leads))}." if len(leads) > MAX_LEADS else ""
    return table(("Variant", "Position", "Alleles", "Frequency", "N", "Effect (SE)", "p"), rows, (0, 1, 2), note)


def estimate_table(intervals: pd.DataFrame) -> Table:
    """Parameters of a bootstrapped model, a row each: estimate, bias, standard error, p."""
    rows = [
        (Cell(str(r["name"]), "code"), significant(r["estimate"]), significant(r["bias"]), significant(r["se"]), p_value(r["p"]))
        for r in intervals.drop_duplicates("name").to_dict("records")
    ]
    note = "SE: standard deviation of the replicates; p: share of replicates that lie as far from the estimate as 0 does."
    return table(("Parameter", "Estimate", "Bias", "SE", "p of 0"), rows, (0,), note)


def interval_table(intervals: pd.DataFrame) -> Table:
    """Bootstrap intervals, a row a parameter, a column a kind."""
    kinds = [kind for kind in _INTERVAL_HEADS if kind in set(intervals["interval"])]
    rows: list[Row] = []
    for name, mine in intervals.groupby("name", sort=False):
        ends: dict[Any, Any] = mine.set_index("interval").to_dict("index")
        rows.append((Cell(str(name), "code"), *(_ends(ends[kind]) for kind in kinds)))
    note = "–: the kind needs a standard error that is not known." if intervals["lower"].isna().any() else ""
    return table(("Parameter", *(_INTERVAL_HEADS[k] for k in kinds)), rows, (0,), note)


def significant(value: Any, digits: int = 4) -> str:
    """Print a number of any size with so many significant digits; a dash where there is none."""
    if is_missing(value) or not np.isfinite(float(value)):
        return MISSING
    x = float(value)
    size = 0 if x == 0 else int(np.floor(np.log10(abs(x))))
    if -4 <= size < 6:
        return number(x, max(digits - 1 - size, 0) if x else 0)
    return f"{number(x / 10.0**size, digits - 1)} × 10{superscript(size)}"


def _without_empty(heads: Sequence[str], rows: Sequence[Row]) -> tuple[tuple[str, ...], list[Row]]:
    """A table without the columns that hold nothing in any row."""
    kept = [k for k in range(len(heads)) if any(row[k] != MISSING for row in rows)]
    return tuple(heads[k] for k in kept), [tuple(row[k] for k in kept) for row in rows]


def _ends(row: Mapping[str, Any]) -> str:
    if is_missing(row["lower"]):
        return MISSING
    return f"{significant(row['lower'], 3)} to {significant(row['upper'], 3)}"


def _trait(name: Any) -> Cell:
    return Cell(str(name), "wrap")


def _more(n: int) -> str:
    return f" The first {MAX_ROWS} of {count(n)} rows." if n > MAX_ROWS else ""
