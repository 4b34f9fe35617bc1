"""Tables, figures and captions of the report's sections on MTAG, the reconciliation and the review."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from matplotlib.figure import Figure

from gsem_spark.report.effect_forest import effect_forest
from gsem_spark.report.effect_scatter import effect_scatter
from gsem_spark.report.figures import chromosome_name
from gsem_spark.report.miami import miami
from gsem_spark.report.reconcile_content import ReconcileContent, ReviewContent
from gsem_spark.report.tables import Cell, Table, table
from gsem_spark.report.wording import count, is_missing, number, p_value
from gsem_spark.thresholds import MAX_FDR_WARN

Row = Sequence[str | Cell]
FIRST_LOCI: Final = 40
FOREST_LOCI: Final = 12
_VERDICTS: Final = {"pass": "good", "warn": "acceptable", "fail": "poor", "not assessed": "quiet"}
_CLAIMS: Final = {"supported": "good", "awaiting replication": "acceptable", "not supported": "poor", "not assessed": "quiet"}
_PATTERN_WORDS: Final = {
    "one_trait_gwas": "one trait's GWAS", "q_only": "Q_SNP only", "mtag_only": "MTAG only",
    "trait_specific_mtag": "trait-specific by MTAG", "factor_without_mtag": "factor without MTAG", "none": "nothing significant",
}  # fmt: skip
"""Names of patterns that are not read off their codes."""
_DIRECTIONS: Final = {True: "yes", False: "no", None: ""}
_SOURCES: Final = {"input": "GWAS", "implied": "implied by the factor", "mtag": "MTAG"}


def reconcile_figures(content: ReconcileContent, factor: str) -> dict[str, Figure]:
    """Draw ``miami``, and where there are loci ``effect_scatter`` and ``effect_forest``."""
    figures = {"miami": miami(content.factor_points, content.mtag_points, content.loci, factor_name=factor)}
    if len(content.loci):
        figures["effect_scatter"] = effect_scatter(content.effects)
        strongest = content.loci.assign(top=_strength(content)).nlargest(FOREST_LOCI, "top", keep="first").sort_values("locus")
        figures["effect_forest"] = effect_forest(content.effects, strongest[["snp", "pattern"]], max_loci=FOREST_LOCI)
    return figures


def reconcile_captions() -> dict[str, str]:
    """Captions by figure."""
    return {
        "miami": "Above: the factor's SNP effects. Below: the smallest MTAG p-value of any trait. Diamonds are lead SNPs, "
        "coloured by which analysis finds the locus.",
        "effect_scatter": "Lead SNPs of all loci: the effect that the factor implies for a trait (loading times the SNP's "
        "effect on the factor) against MTAG's, with 95 % intervals; the line is equality.",
        "effect_forest": "The strongest loci: each trait's effect in its own GWAS, as the factor implies it, and by MTAG.",
    }


def reconcile_tables(content: ReconcileContent) -> dict[str, Table]:
    """Make the tables of the section, by name; those without rows are left out."""
    made = {
        "mtag_summary": _summary(content), "mtag_weights": _weights(content), "patterns": _patterns(content),
        "reconciled": _loci(content), "concordance": _concordance(content.concordance),
        "trait_claims": _trait_claims(content.trait_claims), "replication": _replication(content.replication or []),
    }  # fmt: skip
    return {name: made_of for name, made_of in made.items() if made_of.rows}


def review_table(content: ReviewContent) -> Table:
    """Items with their verdicts; the section that shows the number is named."""
    items = content.items.astype(str).to_dict("records")
    rows = [
        (Cell(r["question"], "wrap"), Cell(r["verdict"], _VERDICTS[r["verdict"]]), Cell(r["number"], "wrap"),
         Cell(r["place"], "quiet"))
        for r in items
    ]  # fmt: skip
    return table(("Question", "Verdict", "Found", "Section"), rows, (0, 1, 2, 3))


def _strength(content: ReconcileContent) -> Any:
    return content.loci[["factor_neglog10p", "mtag_neglog10p", "gwas_neglog10p"]].max(axis=1)


def _summary(content: ReconcileContent) -> Table:
    rows: list[Row] = []
    for r in content.summary.to_dict("records"):
        trait = str(r["trait"])
        bound = content.max_fdr.get(trait)
        judged = Cell("") if bound is None else Cell(_share(bound), "good" if bound < MAX_FDR_WARN else "poor")
        gained = "" if is_missing(r["n_equivalent_mean"]) else count(r["n_equivalent_mean"])
        rows.append((
            trait, count(r["n_snps"]), count(r["n_mean"]), gained,
            *(number(r[name], 3) for name in ("mean_chisq", "mtag_mean_chisq", "lambda_gc", "mtag_lambda_gc")),
            count(r["hits"]), count(r["mtag_hits"]), judged,
        ))  # fmt: skip
    heads = ("Trait", "SNPs", "N", "N equivalent", "Mean χ²", "Mean χ² MTAG", "λ", "λ MTAG", "Hits", "Hits MTAG", "maxFDR")
    note = (
        "N equivalent: sample size at which a GWAS of the trait alone would have MTAG's mean χ². Mean χ² over the LD score "
        "intercept. maxFDR: upper bound of the false discovery rate of the trait's MTAG hits."
    )
    return table(heads, rows, (0,), note)


def _share(value: float) -> str:
    return "< 0.1 %" if value < 0.001 else f"{100 * value:.1f} %"


def _weights(content: ReconcileContent) -> Table:
    if content.weights.empty:
        return table((), [])
    shares = content.weights.pivot(index="trait", columns="source", values="share")
    names = [str(t) for t in dict.fromkeys(content.weights["trait"])]
    values = 100 * shares.loc[names, names].to_numpy(float)
    rows = [(t, *(f"{v:.0f} %" for v in row)) for t, row in zip(names, values.tolist(), strict=True)]
    return table(("Estimate of", *names), rows, (0,), "Share of each trait's Z-score (across) in a trait's MTAG estimate (down).")


def _patterns(content: ReconcileContent) -> Table:
    first = content.loci.drop_duplicates("pattern").set_index("pattern") if len(content.loci) else content.loci
    rows: list[Row] = [
        (_words(name), count(n), *(Cell(str(first.loc[name, part]), "muted") for part in ("cause", "action")))
        for name, n in sorted(content.patterns.items(), key=lambda item: (-item[1], item[0]))
    ]
    return table(("Pattern", "Loci", "Likely cause", "Action"), rows, (0, 2, 3))


def _words(pattern: object) -> str:
    return _PATTERN_WORDS.get(str(pattern), str(pattern).replace("_", " "))


def _loci(content: ReconcileContent) -> Table:
    if content.loci.empty:
        return table((), [])
    shown = content.loci.assign(top=_strength(content)).nlargest(FIRST_LOCI, "top", keep="first").sort_values("locus")
    rows: list[Row] = []
    for r in shown.to_dict("records"):
        claim = "" if is_missing(r["claim"]) else str(r["claim"])
        rows.append((
            str(r["snp"]), f"{chromosome_name(r['chr'])}:{count(r['bp'])}", Cell(_words(r["pattern"]), "wrap"),
            Cell(claim, _CLAIMS.get(claim, "")), *(_p(r[f"{kind}_neglog10p"]) for kind in ("factor", "q", "mtag", "gwas")),
            *(Cell(str(r[f"{kind}_traits"]).replace(",", ", "), "wrap") for kind in ("mtag", "gwas")),
        ))  # fmt: skip
    heads = ("Lead SNP", "Position", "Pattern", "Claim", "Factor p", "Q_SNP p", "MTAG p", "GWAS p", "MTAG hits", "GWAS hits")
    note = f"The {FIRST_LOCI} strongest of {count(len(content.loci))} loci. " if len(content.loci) > FIRST_LOCI else ""
    note += "Factor and Q_SNP p: of the lead SNP, where the factor is significant. Other p-values: the smallest in the locus."
    return table(heads, rows, (0, 1, 2, 3, 8, 9), note)


def _p(neglog10p: Any) -> str:
    return "" if is_missing(neglog10p) else p_value(10.0 ** -float(neglog10p), neglog10p)


def _concordance(records: Sequence[Mapping[str, Any]]) -> Table:
    rows = [
        (str(r["trait"]), f"{_SOURCES[r['first']]} and {_SOURCES[r['second']]}", f"{r['same']} of {r['tested']}",
         "" if r["share"] is None else f"{100 * r['share']:.0f} %", p_value(r["p"]) if r["p"] is not None else "")
        for r in records if r["tested"]
    ]  # fmt: skip
    return table(("Trait", "Effects", "Same direction", "Share", "p"), rows, (0, 1),
                 "Lead SNPs of all loci; one-sided binomial p, a guide only: traits with shared samples are not independent.")


def _trait_claims(records: Sequence[Mapping[str, Any]]) -> Table:
    rows = [
        (str(r["snp"]), str(r["trait"]), "" if r["max_fdr"] is None else _share(r["max_fdr"]),
         Cell(str(r["claim"]), _CLAIMS.get(str(r["claim"]), "")))
        for r in records[:FIRST_LOCI]
    ]  # fmt: skip
    note = f"The first {FIRST_LOCI} of {count(len(records))}." if len(records) > FIRST_LOCI else ""
    return table(("Lead SNP", "Trait", "maxFDR", "Claim of a trait-specific SNP"), rows, (0, 1, 3), note)


def _replication(records: Sequence[Mapping[str, Any]]) -> Table:
    rows = [
        (str(r["snp"]), str(r["panel"]), _DIRECTIONS[r["same_direction"]], "" if r["p"] is None else p_value(r["p"]),
         "" if r["power_corrected"] is None else f"{100 * r['power_corrected']:.0f} %",
         Cell("replicated", "good") if r["replicated"] else Cell("not replicated" if r["found"] else "not in the panel", "quiet"))
        for r in records[:FIRST_LOCI]
    ]  # fmt: skip
    note = f"The first {FIRST_LOCI} of {count(len(records))}. " if len(records) > FIRST_LOCI else ""
    note += "p: one-sided, for the lead's direction. Power: winner's curse removed."
    return table(("Lead SNP", "Panel", "Same direction", "p", "Power", "Verdict"), rows, (0, 1, 2, 5), note)
