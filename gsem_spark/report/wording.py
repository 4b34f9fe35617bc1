"""Numbers and judgements in words: how the report prints a value, and the sentence that it opens with."""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np

from gsem_spark.methods.sem.indices import verdict
from gsem_spark.report.content import GwasContent, ModelContent, ReportContent

MISSING: Final = "–"
_THIN: Final = "\u202f"
_SMALLEST_P: Final = 1e-4
_NUMBER_WORDS: Final = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")

STATUS_MEANINGS: Final = {
    "ok": "fitted",
    "smoothed": "fitted after smoothing to the nearest positive definite matrix",
    "heywood": "inadmissible: a residual variance below zero",
    "not_converged": "no optimum found",
    "not_pd": "not positive definite, and could not be smoothed",
    "singular": "the fit's information matrix is singular",
    "missing": "an effect, standard error or allele frequency is missing",
}


def number(value: Any, digits: int = 2) -> str:
    """Print a number with fixed decimals, a true minus sign, thin spaces between thousands; a dash where there is none."""
    x = _float(value)
    if math.isnan(x):
        return MISSING
    if math.isinf(x):
        return "∞" if x > 0 else "\u2212∞"
    text = f"{x:,.{digits}f}".replace(",", _THIN)
    if float(f"{x:.{digits}f}") == 0.0:
        text = text.lstrip("-")
    return text.replace("-", "\u2212")


def count(value: Any) -> str:
    """Print an integer."""
    return number(value, 0)


def with_se(value: Any, se: Any, digits: int = 3) -> str:
    """Print an estimate with its standard error in brackets."""
    error = number(se, digits)
    return number(value, digits) if error == MISSING else f"{number(value, digits)} ({error})"


def p_value(p: Any, neglog10p: Any = None) -> str:
    """Print a p-value, from its logarithm where there is one, so that none is printed as zero."""
    y, x = _float(neglog10p), _float(p)
    if math.isnan(y):
        if math.isnan(x):
            return MISSING
        y = -math.log10(x) if x > 0 else math.inf
    if math.isinf(y):
        return "< 10⁻³⁰⁷"
    if y < -math.log10(_SMALLEST_P):
        return f"{10.0**-y:.3f}" if y < 2 else f"{10.0**-y:.4f}"
    exponent = -math.ceil(y)
    mantissa = 10.0 ** (-y - exponent)
    if float(f"{mantissa:.1f}") >= 10.0:
        mantissa, exponent = 1.0, exponent + 1
    return f"{mantissa:.1f} × 10{superscript(exponent)}"


def superscript(exponent: int) -> str:
    """Print an integer as an exponent."""
    return str(exponent).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))


def spelled(n: int, thing: str, plural: str | None = None) -> str:
    """Print a number of things, small numbers in words."""
    word = _NUMBER_WORDS[n] if 0 <= n < len(_NUMBER_WORDS) else count(n)
    return f"{word} {thing if n == 1 else plural or thing + 's'}"


def threshold(p: float) -> str:
    """Print a limit of p as one says it: 5 × 10⁻⁸, not 5.0 × 10⁻⁸."""
    return p_value(p).replace(".0 ×", " ×")


def verdict_sentence(content: ReportContent) -> str:
    """Return the one or two sentences that say what the run came to."""
    said = [_model_verdict(content.model), _gwas_verdict(content.gwas)]
    text = " ".join(s for s in said if s)
    if text:
        return text
    if content.scans:
        scan = content.scans[0]
        found = ", ".join(f"{spelled(int(p.figures.get('loci') or 0), 'locus', 'loci')} of {p.label}" for p in scan.paths)
        return f"Of {count(sum(scan.status.values()))} SNPs tested by the {scan.kind}: {found or 'no path of the SNP was kept'}."
    if content.bootstraps and content.cov is None:
        b = content.bootstraps[0]
        return f"The mixed model of {b.trait} was drawn from and fitted again {count(b.summary['n'])} times."
    n = content.cov.k if content.cov is not None else len(content.traits)
    return f"Summary statistics of {spelled(n, 'trait')} were processed; no model was fitted."


def _model_verdict(model: ModelContent | None) -> str:
    if model is None:
        return ""
    loadings = model.parameters[model.parameters["op"] == "=~"]
    factors, traits = loadings["lhs"].nunique(), loadings["rhs"].nunique()
    subject = f"{spelled(factors, 'factor').capitalize()} for {spelled(traits, 'trait')}"
    if _float(model.indices.get("df", math.nan)) == 0:
        return f"{subject}: the model has no degrees of freedom, so that its fit cannot be tested."
    words = {
        "good": "the model fits well",
        "acceptable": "the fit is acceptable",
        "poor": "the model fits poorly",
        "not defined": "the fit cannot be judged",
    }
    judged = judged_indices(model)
    figures = [f"{name.upper()} {number(model.indices[name], 3)}" for name in ("cfi", "srmr") if name in model.indices]
    return f"{subject}: {words[judged.get('overall', 'not defined')]} ({', '.join(figures)})."


def _gwas_verdict(gwas: GwasContent | None) -> str:
    if gwas is None:
        return ""
    tested = f"Of {count(gwas.n_snps)} SNPs tested,"
    factor = gwas.loci[gwas.loci["signal"] == "factor"] if len(gwas.loci) else gwas.loci
    limit = threshold(gwas.p_threshold)
    if factor.empty:
        return f"{tested} none reaches p < {limit} for the factor."
    through = int(factor["factor_only"].sum())
    return (
        f"{tested} {spelled(len(factor), 'independent locus', 'independent loci')} {'reaches' if len(factor) == 1 else 'reach'} "
        f"p < {limit} for the factor; {spelled(through, 'of them', 'of them')} {'acts' if through == 1 else 'act'} "
        f"through the factor alone (Q_SNP not significant)."
    )


def judged_indices(model: ModelContent) -> dict[str, str]:
    """Judge the fit indices by the package's thresholds; empty where indices are missing."""
    needed = ("cfi", "tli", "rmsea", "srmr", "df")
    if not all(name in model.indices for name in needed):
        return {}
    return {name: str(word) for name, word in verdict({k: _float(model.indices[k]) for k in model.indices}).items()}


def _float(value: Any) -> float:
    try:
        return float(value) if value is not None else math.nan
    except (TypeError, ValueError):
        return math.nan


def is_missing(value: Any) -> bool:
    """Whether a cell of a frame holds nothing."""
    return value is None or (isinstance(value, float | np.floating) and math.isnan(value))
