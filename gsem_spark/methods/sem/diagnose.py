"""What is wrong with a fit, why that may be, and what to do: sentences with their numbers in them."""

from __future__ import annotations

from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gsem_spark.errors import GsemError
from gsem_spark.methods import pvalues
from gsem_spark.methods.sem.extraction import largest_factor_number
from gsem_spark.methods.sem.findings import Diagnosis, Finding, Severity
from gsem_spark.methods.sem.fit import Fit, Source
from gsem_spark.methods.sem.inference import MIN_INDICATORS
from gsem_spark.methods.sem.modification import modification_indices
from gsem_spark.thresholds import (
    CFI_ACCEPTABLE,
    H2_Z_MIN,
    LOADING_STRONG,
    LOADING_WEAK,
    MEAN_CHISQ_MIN,
    MIN_SNPS_WARN,
    RG_MERGE,
    RMSEA_ACCEPTABLE,
)

Floats = NDArray[np.float64]

SINGULAR_RATIO: Final = 1e-3
"""Smallest over largest singular value of the scaled Jacobian below which parameters hardly tell themselves apart."""
SHOWN_INDICES: Final = 5
"""Modification indices that a diagnosis names."""
MOST_ANALYSED: Final = 40
"""Traits up to which a diagnosis spends a parallel analysis on a single factor that misfits; beyond, two factors are shown."""
FAMILY_LEVEL: Final = 0.05
"""Family-wise level of the modification indices that it names."""


def diagnose(fit: Fit) -> Diagnosis:
    """Examine a fit: data, smoothing, convergence, improper estimates, identification, misfit, and what would mend it.

    Parameters
    ----------
    fit
        A fit that still has its sources (not one read back from JSON).

    Raises
    ------
    DataError
        When the fit has no sources.
    """
    source = fit.sources()
    findings = [*_convergence(fit), *_data(source), *_smoothing(source), *_near_copies(fit, source)]
    if fit.converged:
        findings += [*_heywood(fit, source), *_bounds(fit), *_identification(fit), *_small_factors(fit), *_misfit(fit)]
        findings += [*_not_one_factor(fit, source), *_modifications(fit)]
    order: dict[str, int] = {"problem": 0, "warning": 1, "note": 2}
    return Diagnosis(tuple(sorted(findings, key=lambda f: order[f.severity])))


# --- the data ----------------------------------------------------------------------------------------------------------
def _data(source: Source) -> list[Finding]:
    cov, out = source.cov, []
    figures = {row["trait"]: row for row in cov.diagnostics.get("traits", [])}
    for trait, h2, z in zip(cov.traits, np.diag(cov.S), _h2_z(source), strict=True):
        if z < H2_Z_MIN:
            out.append(Finding(
                "weak_trait", "problem" if h2 <= 0 else "warning", trait,
                f"The h2 of {trait} is {h2:.3g} with Z = {z:.2f}, below {H2_Z_MIN:g}: its covariances are too noisy to model.",
                f"leave {trait} out, or take a larger GWAS of it", {"h2": float(h2), "z": float(z)},
            ))
        mean_chisq = figures.get(trait, {}).get("mean_chisq")
        if mean_chisq is not None and mean_chisq < MEAN_CHISQ_MIN:
            out.append(Finding(
                "weak_trait", "warning", trait,
                f"The mean chi-square of {trait} is {mean_chisq:.3f}, below {MEAN_CHISQ_MIN:g}: there is hardly any signal.",
                f"leave {trait} out", {"mean_chisq": float(mean_chisq)},
            ))
        n_snps = figures.get(trait, {}).get("n_snps")
        if n_snps is not None and n_snps < MIN_SNPS_WARN:
            out.append(Finding(
                "few_snps", "warning", trait,
                f"The LD score regression of {trait} had {n_snps:,} SNPs, fewer than {MIN_SNPS_WARN:,}: its errors are "
                "large, and a filter or a join may have lost the rest.",
                f"look at the QC counts of {trait}", {"n_snps": float(n_snps)},
            ))
    v = cov.V
    if v.shape[0] > 1 and np.count_nonzero(v) == np.count_nonzero(np.diag(v)):
        out.append(Finding(
            "diagonal_v", "warning", "V",
            f"V has no covariances between its {v.shape[0]} elements: sample overlap and shared LD are not in it, so "
            "standard errors and chi-squares are not to be trusted.", "take S and V from one LDSC run of all traits",
        ))
    return out


def _h2_z(source: Source) -> Floats:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.diag(source.cov.S) / np.diag(source.cov.S_se))


def _smoothing(source: Source) -> list[Finding]:
    out, moments = [], source.moments
    pairs = (("S", moments.smoothed_s, source.cov.S, moments.S), ("V", moments.smoothed_v, source.cov.V, moments.V))
    for name, smoothed, before, after in pairs:
        if not smoothed:
            continue
        low, new = float(np.linalg.eigvalsh(before)[0]), float(np.linalg.eigvalsh(after)[0])
        moved = float(np.max(np.abs(after - before)))
        out.append(Finding(
            "smoothed", "warning", name,
            f"{name} was not positive definite (smallest eigenvalue {low:.3g}) and was smoothed (now {new:.3g}); the "
            f"largest change of a cell is {moved:.3g}, the largest change of a Z-statistic {moments.largest_z_change:.2f}.",
            "leave out the traits with the weakest h2 and compare" if name == "S"
            else "use more jackknife blocks than elements of S, or fewer traits",
            {"eigenvalue_before": low, "eigenvalue_after": new, "largest_change": moved, "z_change": moments.largest_z_change},
        ))
    return out


def _near_copies(fit: Fit, source: Source) -> list[Finding]:
    S = source.moments.S
    sd = np.sqrt(np.diag(S))
    rg, out = S / np.outer(sd, sd), []
    for j in range(len(sd)):
        for i in range(j + 1, len(sd)):
            if abs(rg[i, j]) > RG_MERGE:
                a, b = fit.model.observed[j], fit.model.observed[i]
                out.append(Finding(
                    "near_copies", "warning", f"{a}, {b}",
                    f"The genetic correlation of {a} and {b} is {rg[i, j]:.3f}: they measure nearly one thing, and a model of "
                    "both is close to singular.", f"keep the one with the larger h2 Z, or combine {a} and {b} before the fit",
                    {"rg": float(rg[i, j])},
                ))
    return out


# --- the estimation ----------------------------------------------------------------------------------------------------
def _convergence(fit: Fit) -> list[Finding]:
    if fit.converged:
        return []
    causes = "".join(f" {m[0].upper()}{m[1:]}." for m in fit.messages if "runs off" in m)
    return [Finding(
        "not_converged", "problem", "fit",
        f"The estimation ended without an optimum: largest scaled gradient {fit.gradient_norm:.2g} after {fit.iterations} "
        f"iterations from {len(fit.tried)} starts ({'; '.join(fit.tried)}).{causes}",
        "fit again with bound_residuals=True, use fewer factors, or drop the trait that is named",
        {"gradient": fit.gradient_norm},
    )]


def _bounds(fit: Fit) -> list[Finding]:
    table = fit.constraints
    texts = table.loc[table["active"] & ~table["constraint"].str.contains("==", regex=False), "constraint"]
    return [Finding(
        "on_bound", "note", text, f"The estimate sits on the bound {text}: the data would rather cross it.",
        "see whether the model without the bound is improper, and drop the trait or the factor if so",
    ) for text in texts]


def _heywood(fit: Fit, source: Source) -> list[Finding]:
    out, table = [], fit.parameters
    observed = set(fit.model.observed)
    own = table[(table["op"] == "~~") & (table["lhs"] == table["rhs"]) & (table["est"] < 0)]
    for row in own.to_dict("records"):
        kind = "residual variance" if row["lhs"] in observed else "variance of the factor"
        harmless = np.isfinite(row['z']) and row['z'] > -1.96
        out.append(Finding(
            "heywood", "warning" if harmless else "problem", row['lhs'],
            f"The {kind} {row['lhs']} is negative: {row['est']:.3g} (SE {row['se']:.2g}; standardised {row['std_all']:.2f}), "
            + ("which is compatible with 0." if harmless else "and significantly so.") + _likely_cause(fit, source, row['lhs']),
            _heywood_remedy(row['lhs'], harmless), {name: float(row[name]) for name in ("est", "se", "std_all")},
        ))
    large = table[(table["op"] == "=~") & (table["std_all"].abs() > 1.0 + 1e-8)]
    for row in large.to_dict("records"):
        out.append(Finding(
            "loading_above_1", "warning", f"{row['lhs']} =~ {row['rhs']}",
            f"The standardised loading of {row['rhs']} on {row['lhs']} is {row['std_all']:.3f} (SE {row['std_all_se']:.2g}), "
            "beyond 1.",
            f"see the residual variance of {row['rhs']}; with correlated factors it may be a suppressor: drop its weaker loading",
            {"std_all": float(row['std_all'])},
        ))
    return out + _latent_correlations(fit)


def _likely_cause(fit: Fit, source: Source, name: str) -> str:
    """What the numbers suggest as the cause of a negative variance; a sentence, or nothing."""
    if name not in fit.model.observed:
        return " The factor's indicators share hardly any variance."
    causes, place = [], fit.model.observed.index(name)
    z = float(_h2_z(source)[place])
    if z < 2 * H2_Z_MIN:
        causes.append(f"a noisy h2 (Z = {z:.1f})")
    sd = np.sqrt(np.diag(source.moments.S))
    rg = source.moments.S[place] / (sd * sd[place])
    rg[place] = 0.0
    nearest = int(np.argmax(np.abs(rg)))
    if abs(rg[nearest]) > 0.85:
        causes.append(f"its rg of {rg[nearest]:.2f} with {fit.model.observed[nearest]}")
    for factor in (p.lhs for p in fit.model.paths if p.op == "=~" and p.rhs == name):
        n = sum(p.op == "=~" and p.lhs == factor for p in fit.model.paths)
        if n < MIN_INDICATORS:
            causes.append(f"only {n} indicators of {factor}")
    intercepts = source.cov.I
    overlap = np.abs(np.delete(intercepts[place], place))
    if overlap.size and float(np.max(overlap)) > 0.2:
        causes.append(f"sample overlap (cross-trait intercept {float(np.max(overlap)):.2f})")
    return f" Likely cause: {', '.join(causes)}." if causes else " The traits do not fit the factor structure."


def _heywood_remedy(name: str, harmless: bool) -> str:
    bound = f"bound it ({name} ~~ v*{name}; v > .0001)"
    return bound if harmless else f"{bound} and compare the fit, drop {name}, use fewer factors, or check its sample overlap"


def _latent_correlations(fit: Fit) -> list[Finding]:
    model, out = fit.model, []
    covariance = model.covariance(fit.theta)
    for a in range(model.k, len(model.variables)):
        for b in range(model.k, a):
            scale = covariance[a, a] * covariance[b, b]
            if scale > 0 and abs(covariance[a, b]) > np.sqrt(scale) * (1.0 + 1e-8):
                r, one, two = covariance[a, b] / np.sqrt(scale), model.variables[b], model.variables[a]
                out.append(Finding(
                    "latent_rg_above_1", "problem", f"{one}, {two}",
                    f"The correlation of the factors {one} and {two} is {r:.3f}, beyond 1: the traits do not tell them apart.",
                    f"merge {one} and {two} into one factor, or bound the correlation (std_lv=True, {one} ~~ r*{two}; r < .99)",
                    {"rg": float(r)},
                ))
    return out


def _identification(fit: Fit) -> list[Finding]:
    model = fit.model
    directions = model.restrictions.null_space(fit.theta, model.restrictions.active_inequalities(fit.theta))
    jacobian = model.jacobian(fit.theta) @ directions / np.sqrt(np.diag(fit.sources().moments.V))[:, None]
    length = np.linalg.norm(jacobian, axis=0)
    if not length.size or np.any(length == 0):
        return []
    _, singular, right = np.linalg.svd(jacobian / length)
    ratio = float(singular[-1] / singular[0])
    if ratio > SINGULAR_RATIO:
        return []
    weak = np.abs(directions @ (right[-1] / length))
    names = [n for n, w in zip(model.free_names, weak / weak.max(), strict=True) if w > 0.1]
    rank = int(np.sum(singular > SINGULAR_RATIO * singular[0]))
    return [Finding(
        "underidentified", "problem", ", ".join(names),
        f"The data hardly identify the model: the Jacobian has rank {rank} of {singular.size} (smallest over largest singular "
        f"value {ratio:.1e}); {', '.join(names)} can move together without moving any covariance.",
        "fix or equate one of them, or add traits to the factors concerned", {"ratio": ratio, "rank": float(rank)},
    )]


def _small_factors(fit: Fit) -> list[Finding]:
    out = []
    for factor in fit.model.latent:
        n = sum(p.op == "=~" and p.lhs == factor and p.fixed != 0 for p in fit.model.paths)
        if 1 < n < MIN_INDICATORS:
            out.append(Finding(
                "few_indicators", "note", factor,
                f"{factor} has {n} indicators; only its relations to the rest of the model identify it.",
                f"give {factor} a third trait", {"indicators": float(n)},
            ))
    return out


# --- the fit -----------------------------------------------------------------------------------------------------------
def _misfit(fit: Fit) -> list[Finding]:
    i, overall = fit.indices, fit.verdict["overall"]
    if i["df"] == 0:
        text = "The model has no degrees of freedom: it cannot misfit, so its fit says nothing."
        return [Finding("saturated", "note", "fit", text)]
    residual = fit.residual_standardised.to_numpy().copy()
    worst = np.unravel_index(int(np.argmax(np.abs(np.tril(residual, -1)))), residual.shape)
    a, b = (fit.model.observed[int(n)] for n in worst)
    p = f"{i['p']:.2g}" if i["p"] != 0 else pvalues.scientific(i["neglog10p"])
    text = (
        f"The fit is {overall}: chi-square {i['chisq']:.1f} with {i['df']:.0f} df (p = {p}), CFI {i['cfi']:.3f}, TLI "
        f"{i['tli']:.3f}, RMSEA {i['rmsea']:.3f} ({i['rmsea_low']:.3f} to {i['rmsea_high']:.3f}), SRMR {i['srmr']:.3f}; the "
        f"largest residual correlation is {residual[worst]:.3f}, of {b} and {a}."
    )
    severity: Severity = "warning" if overall == "poor" else "note"
    return [Finding("fit", severity, "fit", text, "see the modification indices below" if overall == "poor" else "")]


def _not_one_factor(fit: Fit, source: Source) -> list[Finding]:
    """A single factor with bad fit: say so, with the exploratory answer beside it; worse where only some traits load on it."""
    i, loadings = fit.indices, fit.parameters[fit.parameters["op"] == "=~"]
    if len(fit.model.latent) != 1 or not (i["cfi"] < CFI_ACCEPTABLE and i["rmsea"] > RMSEA_ACCEPTABLE):
        return []
    sizes = loadings.set_index("rhs")["std_all"].abs()
    weak, strong = sizes[sizes < LOADING_WEAK], sizes[sizes > LOADING_STRONG]
    apart = not (weak.empty or strong.empty)
    split = f"{_listed(strong)} load above {LOADING_STRONG:g} and {_listed(weak)} below {LOADING_WEAK:g}, "
    answer = _exploratory(source)
    if not (apart or answer):
        return []
    return [Finding(
        "not_one_factor", "problem" if apart else "warning", fit.model.latent[0],
        f"The traits are not one factor: {split if apart else ''}CFI is {i['cfi']:.3f} and RMSEA {i['rmsea']:.3f}.{answer}",
        "model the factors apart, after exploratory work on other chromosomes", {"cfi": i["cfi"], "rmsea": i["rmsea"]},
    )]


def _listed(sizes: pd.Series) -> str:
    return ", ".join(f"{name} ({size:.2f})" for name, size in sizes.items())


def _exploratory(source: Source) -> str:
    """The loadings of two exploratory factors, or as many as parallel analysis finds, in words; empty where there is no fit."""
    from gsem_spark.methods.sem.esem import esem
    from gsem_spark.methods.sem.parallel import parallel_analysis

    if source.cov.k < 5:
        return ""
    try:
        found = parallel_analysis(source.cov).factors if source.cov.k <= MOST_ANALYSED else 2
        number = min(max(found, 2), largest_factor_number(source.cov.k))
        answer = esem(source.cov, factors=number)
    except GsemError:
        return ""
    if not answer.fit.converged:
        return ""
    parts = []
    for factor in answer.loadings.columns:
        column = answer.loadings[factor]
        parts.append(f"{factor}: " + ", ".join(f"{t} {x:.2f}" for t, x in column.items() if abs(x) >= LOADING_WEAK))
    i, words = answer.fit.indices, {2: "Two", 3: "Three", 4: "Four"}.get(number, str(number))
    return f" {words} exploratory factors give {'; '.join(parts)} (CFI {i['cfi']:.3f}, RMSEA {i['rmsea']:.3f})."


def _modifications(fit: Fit) -> list[Finding]:
    if fit.indices["df"] == 0 or np.isnan(fit.theta_cov).any():
        return []
    table = modification_indices(fit)
    table = table[table["kind"] != "fixed path"] if len(table) else table
    named = table[table["p"] < FAMILY_LEVEL / max(len(table), 1)].head(SHOWN_INDICES)
    return [Finding(
        "modification", "note", f"{row['lhs']} {row['op']} {row['rhs']}",
        f"The {row['kind']} {row['lhs']} {row['op']} {row['rhs']} is missed: modification index {row['mi']:.1f} "
        f"(p = {pvalues.scientific(row['neglog10p'])}, one of {len(table)} tested), expected value {row['epc']:.3g} "
        f"(SE {row['epc_se']:.2g}; standardised {row['std_epc']:.2f}).",
        "free it if it makes sense, and confirm it on other data", {"mi": float(row['mi']), "epc": float(row['epc'])},
    ) for row in named.to_dict("records")]
