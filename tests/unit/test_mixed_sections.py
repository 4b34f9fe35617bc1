"""The report's sections on mixed models: what the page says of null models, tests and bootstraps."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from gsem_spark.methods.lmm import fit_lmm, fit_multitrait, kinship
from gsem_spark.report import mixed_tables
from gsem_spark.report.content import ReportContent
from gsem_spark.report.genotype_effect import GenotypeEffect
from gsem_spark.report.h2_profile import Profile
from gsem_spark.report.html import render_html, report_figures
from gsem_spark.report.mixed_content import BootstrapContent, MixedContent, MixedTest
from gsem_spark.steps.lmm.models import component_table, model_row, multitrait_row


def columns(rows):
    return [dict(zip(table.heads, (c.text for c in row), strict=True)) for table in [rows] for row in table.rows]


@pytest.fixture(scope="module")
def fits():
    rng = np.random.default_rng(3)
    G = rng.binomial(2, 0.4, (80, 200)).astype(float)
    K = kinship(G.T, "standardised") + 0.05 * np.eye(80)
    Y = np.linalg.cholesky(K) @ rng.normal(size=(80, 2)) + rng.normal(size=(80, 2))
    X = np.column_stack([np.ones(80), rng.normal(size=80)])
    return fit_lmm(K, Y[:, 0], X, names=["intercept", "age"]), fit_multitrait(
        Y, K, X, traits=["y", "z"], names=["intercept", "age"]
    )


@pytest.fixture(scope="module")
def scan(fits) -> MixedContent:
    rng = np.random.default_rng(4)
    names = {"trait": "y", "traits": ["y"], "kinship_id": "kinship-1"}
    models = pd.DataFrame([{**names, "chr": c, **model_row(fits[0], ("intercept", "age"), None, False)} for c in (1, 2)])
    points = pd.DataFrame(
        {"chr": rng.integers(1, 3, 300), "bp": rng.integers(1, 10**8, 300), "neglog10p": rng.exponential(0.4, 300)}
    )
    qq = pd.DataFrame({"expected": [2.0, 1.0, 0.5], "observed": [9.0, 1.1, 0.4], "n": [1, 9, 90]})
    leads = pd.DataFrame(
        {
            "snp": ["rs7"],
            "chr": [2],
            "bp": [4_000_000],
            "a1": ["A"],
            "a2": ["C"],
            "af": [0.31],
            "n": [80],
            "beta": [-0.52],
            "se": [0.08],
            "p": [1e-9],
            "neglog10p": [9.0],
        }
    )
    effect = GenotypeEffect("rs7", "A", "C", "y", rng.integers(0, 3, 80).astype(float), rng.normal(size=80), -0.52, 0.08, 9.0)
    figures = pd.DataFrame(
        [
            {
                "trait": "y",
                "design": "effect",
                "test": "wald_f",
                "df": 1,
                "tests": 300,
                "lambda_gc": 1.02,
                "hits": 3,
                "top_snp": "rs7",
                "top_neglog10p": 9.0,
            }
        ]
    )
    grid = np.linspace(0, 1, 21)
    return MixedContent(
        "lmm-0123", "Scan under a mixed model", {"cohort": "mice", "kinship": "kinship-1", "formula": ""}, ("2 of 82 samples",),
        {"ok": 298, "singular": 2}, models, component_table(models), figures,
        (MixedTest("y", "effect", "wald_f", points, qq, leads, 1.02, effect),),
        (Profile("y (REML)", grid, -(grid - 0.4) ** 2, 0.4),),
    )  # fmt: skip


def page(content: ReportContent) -> str:
    return render_html(content, report_figures(content))


def test_a_page_of_a_scan_alone_says_its_models_tests_and_leads(scan, fits):
    content = ReportContent("Mixed models of y", "lmm-0123", mixed=(scan,))
    text = page(content)
    assert set(report_figures(content)) == {"mixed_1_h2_profile", "mixed_1_1_manhattan", "mixed_1_1_qq", "mixed_1_1_effect"}
    for words in (
        "Of 300 variants tested under a mixed model",
        "one locus of y",
        "h² of y",
        "2 of 82 samples",
        "rs7",
        "2:4\u202f000\u202f000",
        "the variant does not vary, or is a combination of the covariates",
        "cohort mice",
        "without chromosome 1",
    ):
        assert words in text, words
    assert text.count("<figure") == 4 and "Bootstraps" not in text
    row = columns(mixed_tables.model_table(scan.models))[0]
    assert row["h² (SE)"] == f"{fits[0].hsq:.3f} ({fits[0].hsq_se:.3f})" and row["Samples"] == "80"
    assert [r["Fixed effect"] for r in columns(mixed_tables.fixed_effects_table(scan.models))] == ["intercept", "age"]
    assert columns(mixed_tables.leads_table(scan.tests[0].leads))[0]["Effect (SE)"] == "−0.5200 (0.08000)"
    nothing = replace(scan.tests[0], leads=scan.tests[0].leads.iloc[:0], effect=None)
    text = page(replace(content, mixed=(replace(scan, tests=(nothing,), profiles=()),)))
    assert "No variant is genome-wide significant for y: wald_f" in text and text.count("<figure") == 2


def test_several_traits_in_one_model_show_correlations_with_their_errors(scan, fits):
    fit = fits[1]
    models = pd.DataFrame([{"trait": "y,z", "traits": ["y", "z"], "chr": 0, **multitrait_row(fit)}])
    several = replace(
        scan, models=models, correlations=fit.correlations(), profiles=(), figures=scan.figures.assign(trait="y,z", design="any")
    )
    (genetic, residual) = fit.correlations().to_dict("records")
    (row,) = [tuple(c.text for c in r) for r in mixed_tables.correlation_table(several.correlations).rows]
    wanted = [f"{r['r']:.3f} ({r['se']:.3f})".replace("-", "−") for r in (genetic, residual)]
    assert (row[0], row[1], row[3]) == ("y · z", *wanted)
    text = page(ReportContent("t", "mtlmm-1", mixed=(several,)))
    assert "Genetic correlation (SE)" in text and "Log likelihood" not in text
    assert len(mixed_tables.fixed_effects_table(models).rows) == 4


def test_a_bootstrap_shows_every_interval_and_the_tests_of_its_components():
    models = pd.DataFrame(
        [
            {
                "trait": "y",
                "chr": 0,
                "likelihood": "reml",
                "n": 80,
                "traits": ["y"],
                "covariates": ["intercept"],
                "beta": [1.0],
                "beta_se": [0.1],
                "hsq": None,
                "hsq_se": None,
                "hsq_p": None,
                "sigmasq_g": None,
                "sigmasq_e": 0.5,
                "loglik": -90.0,
                "components": ["kinship", "cage", "residual"],
                "theta": [1.0, 0.0, 0.5],
                "theta_se": [0.2, np.nan, 0.1],
                "theta_stat": [9.0, 0.0, np.nan],
                "theta_p": [0.002, 1.0, np.nan],
            }
        ]
    )
    intervals = pd.DataFrame(
        [
            {"name": n, "interval": k, "estimate": 123456.7, "bias": 1e-9, "se": 0.25, "lower": low, "upper": 2.0, "p": 0.01}
            for n in ("intercept", "kinship")
            for k, low in (("wald", None), ("basic", 1.5), ("studentized", -1.0))
        ]
    )
    run = BootstrapContent(
        "lmm_bootstrap-1",
        "y",
        {"n": "50", "kind": "residual", "seed": 3, "level": "90 %", "samples": "80"},
        ("1 of 50 replicates have no optimum",),
        models,
        component_table(models),
        intervals,
    )
    text = page(ReportContent("t", "lmm_bootstrap-1", bootstraps=(run,)))
    for words in ("fitted again 50 times", "90 % intervals", "Studentised", "1 of 50 replicates", "residual, 50 replicates"):
        assert words in text, words
    assert "h² (SE)" not in text, "a column that says nothing"
    rows = columns(mixed_tables.component_table(run.components))
    assert [r["Variance (SE)"] for r in rows] == ["1.000 (0.2000)", "0 (–)", "0.5000 (0.1000)"]
    assert [r["p of 0"] for r in rows] == ["0.0020", "1.000", "–"]
    first = columns(mixed_tables.interval_table(intervals))[0]
    assert first == {"Parameter": "intercept", "Wald": "–", "Basic": "1.50 to 2.00", "Studentised": "−1.00 to 2.00"}
    assert columns(mixed_tables.estimate_table(intervals))[0]["Bias"] == "1.000 × 10⁻⁹"
