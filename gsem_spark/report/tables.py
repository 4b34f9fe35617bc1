"""The report's tables, as text ready to print: each a pure function of the content."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Final

import pandas as pd

from gsem_spark import thresholds
from gsem_spark.methods.ldsc.covstruct import CovStruct
from gsem_spark.report.content import GwasContent, ModelContent
from gsem_spark.report.figures import chromosome_name
from gsem_spark.report.wording import (
    MISSING,
    STATUS_MEANINGS,
    count,
    is_missing,
    judged_indices,
    number,
    p_value,
    with_se,
)

FIRST_LOCI: Final = 40
"""Rows of the loci table that are open to see; the strongest, when there are more."""
MAX_LOCI: Final = 500
"""Rows of the folded table of all loci; the strongest, when there are more."""
_WITHIN_SE: Final = 2.0


@dataclass(frozen=True)
class Cell:
    """One cell: its text, and a mark that the page goes by.

    Marks are ``good``, ``acceptable``, ``poor``, ``warn``, ``muted`` (grey, wide), ``quiet`` (grey), ``wrap`` (may take lines).
    """

    text: str
    mark: str = ""


@dataclass(frozen=True)
class Table:
    """A table: column heads, which of them hold text (the others are numbers, set right), rows, and a note below."""

    heads: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    text_columns: frozenset[int] = frozenset({0})
    note: str = ""


def table(heads: Sequence[str], rows: Iterable[Sequence[str | Cell]], text: Iterable[int] = (0,), note: str = "") -> Table:
    """Make a table of texts and cells; ``text`` are the columns that hold words."""
    cells = tuple(tuple(c if isinstance(c, Cell) else Cell(c) for c in row) for row in rows)
    return Table(tuple(heads), cells, frozenset(text), note)


def inputs_table(traits: pd.DataFrame) -> Table:
    """Traits with their files, scales, sample sizes, prevalences and rows."""
    rows = [
        (
            str(r["trait"]),
            PurePosixPath(str(r["file"])).name,
            Cell(str(r["sha256"])[:12], "code"),
            str(r["scale"]).replace("_", " "),
            count(r.get("n")),
            number(r.get("sample_prevalence"), 3),
            number(r.get("population_prevalence"), 3),
            count(r["rows_in"]),
            count(r["rows_kept"]),
        )
        for r in traits.to_dict("records")
    ]
    heads = ("Trait", "File", "SHA-256", "Effect scale", "N given", "Cases in sample", "in population", "Rows read", "Rows kept")
    return table(
        heads,
        rows,
        (0, 1, 2, 3),
        "N given: sample size from the study file, where the raw file has none. Prevalences are shares; "
        "with both, the trait is on the liability scale.",
    )


def qc_table(qc: pd.DataFrame, traits: Sequence[str]) -> Table:
    """Rows dropped or repaired by each rule, one column a trait; rules that touched no row are named below."""
    named = [t for t in traits if t in set(qc["trait"])] or sorted(set(qc["trait"]))
    rules = qc.sort_values(["step", "rule"], kind="stable").drop_duplicates("rule")
    counts = {(r["rule"], r["trait"]): int(r["rows_dropped"]) for r in qc.to_dict("records")}
    idle = [str(r) for r in rules["rule"] if not any(counts.get((r, t)) for t in named)]
    rows = [
        (
            Cell(str(r["rule"]).replace("_", " ")),
            Cell(str(r["meaning"]), "muted"),
            *(_drop(counts.get((r["rule"], t))) for t in named),
        )
        for r in rules.to_dict("records")
        if str(r["rule"]) not in idle
    ]
    note = f"Rules that touched no row: {', '.join(r.replace('_', ' ') for r in idle)}." if idle else ""
    return table(("Rule", "What it does", *named), rows, (0, 1), note)


def _drop(n: int | None) -> Cell:
    return Cell(MISSING, "muted") if n is None else Cell(count(n), "" if n else "muted")


def qc_examples(qc: pd.DataFrame) -> list[tuple[str, str, list[str]]]:
    """Return trait, rule and example lines of every rule that touched rows, in the order of the rules."""
    touched = qc[qc["rows_dropped"] > 0].sort_values(["trait", "step"], kind="stable")
    return [
        (str(r["trait"]), str(r["rule"]).replace("_", " "), [str(e) for e in r["examples"]])
        for r in touched.to_dict("records")
        if r["examples"] is not None and len(r["examples"])
    ]


def ldsc_table(cov: CovStruct) -> Table:
    """Heritabilities with what LD score regression says about each trait."""
    rows = []
    for r in cov.h2().to_dict("records"):
        z = float(r["z"])
        chisq = r.get("mean_chisq")
        weak = chisq is not None and not is_missing(chisq) and chisq < thresholds.MEAN_CHISQ_MIN
        rows.append(
            (
                str(r["trait"]),
                count(r.get("n")),
                count(r.get("n_snps")),
                with_se(r["h2"], r["se"]),
                str(r["scale"]),
                Cell(number(z, 1), "warn" if z < thresholds.H2_Z_MIN else ""),
                with_se(r["intercept"], r.get("intercept_se")),
                with_se(r.get("ratio"), r.get("ratio_se"), 2),
                number(r.get("lambda_gc"), 3),
                Cell(number(chisq, 3), "warn" if weak else ""),
            )
        )
    heads = ("Trait", "N", "SNPs", "h² (SE)", "Scale", "h² Z", "Intercept (SE)", "Ratio (SE)", "λGC", "Mean χ²")
    return table(
        heads,
        rows,
        (0, 4),
        f"Marked: h² Z below {thresholds.H2_Z_MIN:g}, mean χ² below {thresholds.MEAN_CHISQ_MIN:g}. "
        "Ratio: (intercept − 1) / (mean χ² − 1), the share of inflation that is not polygenic.",
    )


def rg_table(cov: CovStruct) -> Table:
    """Genetic covariances and correlations by pair, with the cross-trait intercept."""
    place = {t: i for i, t in enumerate(cov.traits)}
    se = cov.S_se
    rows = []
    for r in cov.rg().to_dict("records"):
        i, j = place[r["trait_1"]], place[r["trait_2"]]
        rows.append(
            (
                f"{r['trait_1']} · {r['trait_2']}",
                with_se(cov.S[i, j], se[i, j], 4),
                with_se(r["rg"], r["se"]),
                number(r["z"], 1),
                p_value(r["p"], r["neglog10p"]),
                number(cov.I[i, j], 3),
            )
        )
    return table(("Pair", "Covariance (SE)", "rg (SE)", "Z", "p", "Intercept"), rows)


def parameter_table(model: ModelContent) -> Table:
    """List the parameters: estimates, errors, standardised solution."""
    rows = [
        (
            Cell(f"{r['lhs']} {r['op']} {r['rhs']}", "code"),
            number(r["est"], 3),
            number(r["se"], 3),
            number(r.get("z"), 2),
            p_value(r.get("p"), r.get("neglog10p")),
            number(r["std_est"], 3),
            number(r["std_se"], 3),
        )
        for r in model.parameters.to_dict("records")
    ]
    return table(("Parameter", "Estimate", "SE", "Z", "p", "Std. estimate", "Std. SE"), rows)


_INDEX_ROWS: Final = (
    ("cfi", "CFI", f"≥ {thresholds.CFI_GOOD:g} good, ≥ {thresholds.CFI_ACCEPTABLE:.2f} acceptable"),
    ("tli", "TLI", f"≥ {thresholds.CFI_GOOD:g} good, ≥ {thresholds.CFI_ACCEPTABLE:.2f} acceptable"),
    ("srmr", "SRMR", f"≤ {thresholds.SRMR_GOOD:g} good, ≤ {thresholds.SRMR_ACCEPTABLE:g} acceptable"),
    ("rmsea", "RMSEA", f"≤ {thresholds.RMSEA_GOOD:g} good, ≤ {thresholds.RMSEA_ACCEPTABLE:g} acceptable"),
)


def index_table(model: ModelContent) -> Table:
    """Fit indices beside their thresholds, each with its word."""
    i, judged = model.indices, judged_indices(model)
    rows: list[tuple[str | Cell, ...]] = []
    if "chisq" in i:
        rows.append(
            (f"χ² ({count(i.get('df'))} df)", number(i["chisq"], 2), f"p = {p_value(i.get('p'), i.get('neglog10p'))}", "")
        )
    if "aic" in i:
        rows.append(("AIC", number(i["aic"], 2), "lower is better, between models of the same data", ""))
    for name, label, rule in _INDEX_ROWS:
        if name in i:
            value = number(i[name], 3)
            if name == "rmsea" and not is_missing(i.get("rmsea_low")) and "rmsea_low" in i:
                value += f" ({number(i['rmsea_low'], 3)} to {number(i['rmsea_high'], 3)})"
            word = judged.get(name, "")
            rows.append((label, value, rule, Cell(word, word if word != "not defined" else "muted")))
    return table(("Index", "Value", "Threshold", "Verdict"), rows, (0, 2, 3), "Thresholds: Hu & Bentler 1999.")


def status_table(gwas: GwasContent) -> Table:
    """SNPs by what became of their fit."""
    return statuses_table(gwas.status)


def statuses_table(status: Mapping[str, int], meanings: Mapping[str, str] = STATUS_MEANINGS, counted: str = "SNPs") -> Table:
    """Counts by status, in the order of the words' meanings."""
    total = max(sum(status.values()), 1)
    order = [s for s in meanings if status.get(s)] + sorted(set(status) - set(meanings))
    rows = [
        (
            Cell(s, "code"),
            Cell(meanings.get(s, ""), "muted"),
            count(status[s]),
            f"{number(100 * status[s] / total, 2)} %",
        )
        for s in order
    ]
    return table(("Status", "Meaning", counted, "Share"), rows, (0, 1))


def loci_table(gwas: GwasContent, signal: str, limit: int = MAX_LOCI) -> Table:
    """Lead SNPs of one signal (``factor`` or ``q_snp``) with the flags of how they act: the strongest, in genome order."""
    return path_loci_table(gwas.loci[gwas.loci["signal"] == signal], signal, limit)


def path_loci_table(loci: pd.DataFrame, signal: str, limit: int = MAX_LOCI) -> Table:
    """The same of rows of table ``loci`` that are all of one signal; by Q_SNP's strength where that is ``q_snp``."""
    strength = "q_snp" if signal == "q_snp" else "neglog10p"
    rows: list[tuple[str | Cell, ...]]
    shown = loci.nlargest(limit, strength, keep="first").sort_values(["chr", "bp"], kind="stable")
    note = f"The {limit} strongest of {count(len(loci))} loci." if len(loci) > limit else ""
    rows = [
        (
            str(r["snp"]),
            f"{chromosome_name(r['chr'])}:{count(r['bp'])}",
            f"{r['a1']}/{r['a2']}",
            number(r["maf"], 3),
            with_se(r["est"], r["se"]),
            number(r["z"], 2),
            p_value(r["p"], r["neglog10p"]),
            number(r["q_snp"], 1),
            p_value(r["q_snp_p"], r.get("q_snp_neglog10p")),
            count(r["n_snps"]),
            *(_tick(r[flag]) for flag in ("factor_sig", "qsnp_sig", "factor_only")),
        )
        for r in shown.to_dict("records")
    ]
    heads = (
        "Lead SNP",
        "Position",
        "Alleles",
        "MAF",
        "Effect (SE)",
        "Z",
        "p",
        "Q_SNP",
        "Q_SNP p",
        "SNPs",
        "factor sig",
        "Q_SNP sig",
        "factor only",
    )
    return table(heads, rows, (0, 1, 2), note)


def _tick(flag: Any) -> Cell:
    return Cell("✓") if bool(flag) else Cell("·", "muted")


def truth_table(truth: pd.DataFrame) -> Table:
    """Estimates beside the values that the data were simulated with."""
    rows: list[tuple[str | Cell, ...]] = []
    for r in truth.to_dict("records"):
        se = r.get("se")
        z = (r["estimate"] - r["truth"]) / se if se and not is_missing(se) else float("nan")
        judged = Cell("", "") if is_missing(z) else Cell("yes", "good") if abs(z) <= _WITHIN_SE else Cell("no", "warn")
        rows.append((str(r["quantity"]), number(r["truth"], 3), with_se(r["estimate"], se), number(z, 2), judged))
    return table(
        ("Quantity", "Truth", "Estimate (SE)", "Difference / SE", f"Within {_WITHIN_SE:g} SE"),
        rows,
        (0, 4),
        f"About 1 in 20 right estimates lies more than {_WITHIN_SE:g} SE away by chance.",
    )


def mapping_table(values: Any, heads: tuple[str, str]) -> Table:
    """Two columns: names and values."""
    return table(heads, [(str(k), Cell(_plain(v), "code")) for k, v in dict(values).items()], (0, 1))


def _plain(value: Any) -> str:
    if value is None:
        return MISSING
    if isinstance(value, list | tuple):
        return ", ".join(_plain(v) for v in value)
    return str(value)
