"""The report's sections on MTAG, the reconciliation and the review."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from gsem_spark.methods import mtag
from gsem_spark.methods.mtag.summary import scan_sums, summary_table, weights_table
from gsem_spark.methods.reconcile import (
    ClaimRule,
    HitTable,
    ReviewFacts,
    checklist_table,
    effect_table,
    factor_claims,
    reconcile_loci,
    review,
    sign_concordance,
    trait_claims,
)
from gsem_spark.report.content import ReportContent
from gsem_spark.report.html import render_html, report_figures
from gsem_spark.report.reconcile_content import ReconcileContent, ReviewContent
from gsem_spark.report.reconcile_section import FIRST_LOCI, reconcile_tables, review_table

TRAITS = ("AAA", "BBB", "CCC")
NASTY = "<script>alert('x')</script>"


def content(n: int = 3, **changes: object) -> ReconcileContent:
    rng = np.random.default_rng(4)
    z = rng.normal(8.0, 1.0, (n, 3))
    p = z**2 / 4
    snps = np.array([f"rs{i}" for i in range(n)], dtype=object)
    places = np.arange(1, n + 1) * 2_000_000
    table = HitTable(TRAITS, snps, np.ones(n, int), places, z[:, 0], p[:, 0], np.full(n, 0.3), z, p, z, p)
    loci = reconcile_loci(table, np.ones(3), n)
    leads = pd.DataFrame({"snp": snps, "p": 10.0 ** -p[:, 0], "q_snp_p": 0.5})
    loci = loci.merge(factor_claims(leads, n)[["snp", "claim", "why"]], on="snp", how="left")
    effects = effect_table(
        list(loci["snp"]), TRAITS, beta=z / 100, se=np.full((n, 3), 0.01), factor_beta=z[:, 0] / 100, factor_se=np.full(n, 0.01),
        loadings=np.ones(3), mtag_beta=z / 110, mtag_se=np.full((n, 3), 0.008),
    )
    sigma, sizes = np.eye(3), np.full(3, 5e4)
    made = mtag.estimate(rng.normal(0, 1.5, (500, 3)), sizes, sigma, np.full((3, 3), 1e-5) + 1e-6 * np.eye(3), traits=TRAITS)
    scan = rng.normal(0, 1.5, (500, 3))
    sums = scan_sums(scan, sizes, made.model.fit(scan, np.tile(sizes, (500, 1))))
    points = pd.DataFrame({"chr": 1, "bp": np.arange(1, 500) * 10_000, "neglog10p": rng.exponential(0.5, 499)})
    concordance = sign_concordance(effects)
    return replace(ReconcileContent(
        run_id="reconcile-1", mtag_run="mtag-1", summary=summary_table(sums, made.model),
        weights=weights_table(made.model, sizes), loci=loci, effects=effects, rule=ClaimRule().text(n),
        patterns=loci["pattern"].value_counts().to_dict(),
        concordance=concordance.to_dict("records"), trait_claims=trait_claims(loci, {"AAA": 0.2}).to_dict("records"),
        max_fdr={"AAA": 0.2, "BBB": 1e-7}, factor_points=points, mtag_points=points,
    ), **changes)  # fmt: skip


def checked() -> ReviewContent:
    return ReviewContent("review-1", checklist_table(review(ReviewFacts(sample_sizes={"AAA": 5e4}))), (f"a note {NASTY}",))


def test_the_section_has_its_tables_figures_and_rule():
    page = render_html(ReportContent("T", "run-1", reconcile=content(), review=checked()))
    for words in ('<section id="reconcile">', '<section id="review">', 'href="#reconcile"', "Miami plot", "Genomic SEM and MTAG",
                  "Common-factor SNP: factor p &lt; 5e-08", "awaiting replication", "common factor", "not assessed"):  # fmt: skip
        assert words in page, words
    assert set(report_figures(ReportContent("T", "r", reconcile=content()))) == {"miami", "effect_scatter", "effect_forest"}


def test_without_reconciliation_and_review_the_page_has_no_such_section():
    page = render_html(ReportContent("T", "run-1"))
    assert 'id="reconcile"' not in page
    assert 'id="review"' not in page


def test_no_locus_is_said():
    page = render_html(ReportContent("T", "run-1", reconcile=content(0)))
    assert "No SNP is genome-wide significant in any analysis" in page


def test_texts_are_escaped():
    page = render_html(ReportContent("T", "run-1", reconcile=content(warnings=(NASTY,), rule=NASTY), review=checked()))
    assert NASTY not in page
    assert "&lt;script&gt;" in page


def test_max_fdr_is_judged_and_what_was_not_searched_is_empty():
    rows = {row[0].text: row[-1] for row in reconcile_tables(content())["mtag_summary"].rows}
    assert (rows["AAA"].text, rows["AAA"].mark) == ("20.0 %", "poor")
    assert (rows["BBB"].text, rows["BBB"].mark) == ("< 0.1 %", "good")
    assert rows["CCC"].text == ""


def test_of_many_loci_the_strongest_are_shown_in_genome_order():
    made = content(FIRST_LOCI + 20)
    shown = reconcile_tables(made)["reconciled"]
    assert len(shown.rows) == FIRST_LOCI
    assert f"of {FIRST_LOCI + 20} loci" in shown.note
    numbers = [int(row[0].text.removeprefix("rs")) for row in shown.rows]
    assert numbers == sorted(numbers)
    weakest = made.loci.set_index("snp")["factor_neglog10p"].idxmin()
    assert weakest not in {row[0].text for row in shown.rows}


@pytest.mark.parametrize(("verdict", "mark"), [("pass", "good"), ("not assessed", "quiet"), ("warn", "acceptable")])
def test_verdicts_are_coloured(verdict, mark):
    rows = review_table(checked()).rows
    assert {row[1].mark for row in rows if row[1].text == verdict} == {mark}


def test_weights_of_a_trait_add_up():
    table = reconcile_tables(content())["mtag_weights"]
    for row in table.rows:
        assert abs(sum(float(c.text.removesuffix(" %")) for c in row[1:]) - 100) <= 1.5
