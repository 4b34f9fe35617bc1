"""What verbs and studies print of MTAG, of maxFDR, of a reconciliation and of a review."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gsem_spark.cli import display
from gsem_spark.cli.app import out

if TYPE_CHECKING:
    from gsem_spark.steps.mtag.fdr import FdrRun
    from gsem_spark.steps.mtag.run import MtagRun
    from gsem_spark.steps.reconcile.review import ReviewRun
    from gsem_spark.steps.reconcile.step import ReconcileRun

FIRST_LOCI: Final = 20
"""Loci that are printed: the strongest; all stand in the table."""
_SUMMARY: Final = {
    "trait": "trait", "n_snps": "SNPs", "n_mean": "N", "n_equivalent_mean": "N equivalent", "mean_chisq": "mean χ²",
    "mtag_mean_chisq": "mean χ² MTAG", "lambda_gc": "λ", "mtag_lambda_gc": "λ MTAG", "hits": "hits", "mtag_hits": "hits MTAG",
}  # fmt: skip
"""Columns of the summary and their heads."""
SHARE_SHOWN: Final = 1e-6
"""Shares below are rounding."""


def print_mtag(run: MtagRun) -> None:
    """Print what MTAG gained, and who informs whom."""
    summary, weights = run.summary, run.weights
    out.print(display.frame(f"MTAG, run {run.run_id}", summary[list(_SUMMARY)].rename(columns=_SUMMARY)))
    table = weights.pivot(index="trait", columns="source", values="share").loc[summary["trait"], summary["trait"]]
    rows = [(trait, *row) for trait, row in zip(table.index, table.to_numpy().tolist(), strict=True)]
    names = [str(c) for c in table.columns]
    title = "weights: share of each trait (across) in the estimate of each (down)"
    out.print(display.table(title, ["trait", *names], rows, right=names))


def print_fdr(found: FdrRun) -> None:
    """Print each trait's bound, where it is reached, and what is to be done about one that is too high."""
    table = found.table()
    table["reached at"] = [
        ", ".join(f"{state} {share:.2g}" for state, share in zip(states, shares, strict=True) if share > SHARE_SHOWN)
        for states, shares in zip(table["states"], table["probabilities"], strict=True)
    ]
    caption = "reached at: shares of SNPs by state, T where a SNP is causal for the trait, in the order of the traits"
    shown = ["trait", "max_fdr", "reached at", "searched", "feasible"]
    out.print(display.frame(f"maxFDR, run {found.run_id}", table[shown], caption=caption))


def print_reconcile(run: ReconcileRun) -> None:
    """Print the patterns with their causes and actions, the strongest loci with what may be claimed, and the rule."""
    loci = run.loci()
    if loci.empty:
        out.print("no SNP is significant in any analysis")
        return
    counts = loci["pattern"].value_counts()
    said = loci.drop_duplicates("pattern").set_index("pattern").loc[counts.index, ["cause", "action"]]
    rows = [(pattern, int(counts[pattern]), *said.loc[pattern]) for pattern in counts.index]
    heads = ["pattern", "loci", "likely cause", "action"]
    out.print(display.table(f"patterns of {len(loci):,} loci", heads, rows, right=["loci"]))
    top = loci.assign(top=loci[["factor_neglog10p", "mtag_neglog10p", "gwas_neglog10p"]].max(axis=1))
    shown = top.nlargest(FIRST_LOCI, "top", keep="first").sort_values("locus")
    shown["claim"] = shown["claim"].fillna("")
    columns = ["locus", "snp", "chr", "bp", "pattern", "claim", "mtag_traits", "gwas_traits"]
    title = f"the {FIRST_LOCI} strongest loci" if len(loci) > FIRST_LOCI else "loci"
    out.print(display.frame(title, shown[columns], caption=run.rule))
    claims = run.trait_claims()
    if len(claims):
        by = claims.groupby(["trait", "max_fdr", "claim"], dropna=False, sort=True).size().reset_index(name="SNPs")
        out.print(display.frame("trait-specific SNPs by MTAG", by))
    test = run.summary.get("sign_test")
    if test and test["tested"]:
        out.print(f"replication: {test['same']} of {test['tested']} leads have the same direction, p = {test['p']:.2g}")
    out.print(f"all loci: gsem-spark export {run.workspace.location} reconciled_loci loci.tsv", highlight=False, soft_wrap=True)


def print_review(run: ReviewRun) -> None:
    """Print the checklist: each item's verdict, the number, and where the report shows it."""
    items = run.items().astype(str).to_dict("records")
    rows = [(i["verdict"], i["question"], i["number"], i["place"]) for i in items]
    counts = ", ".join(f"{verdict} {n}" for verdict, n in run.summary["verdicts"].items())
    title = f"review of {run.summary['gwas_run']}: {counts}"
    out.print(display.table(title, ["verdict", "question", "found", "report section"], rows))
