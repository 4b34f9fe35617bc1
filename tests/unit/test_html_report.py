"""The HTML report: complete in itself, escaped, the same every time, and right about what it says."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from gsem_spark.methods.ldsc.covstruct import CovStruct
from gsem_spark.report import thinning
from gsem_spark.report.content import GwasContent, ModelContent, ReportContent
from gsem_spark.report.html import key_figures, render_html, report_figures
from gsem_spark.report.tables import FIRST_LOCI, MAX_LOCI, loci_table, qc_table, truth_table
from gsem_spark.report.wording import number, p_value, spelled, verdict_sentence

TRAITS = ("AAA", "BBB", "CCC", "DDD")
INDICES = {"chisq": 3.1, "df": 2.0, "p": 0.21, "aic": 19.1, "cfi": 0.99, "tli": 0.97, "rmsea": 0.03, "rmsea_low": 0.0,
           "rmsea_high": 0.07, "srmr": 0.02}  # fmt: skip
NASTY = "<script>alert('x')</script>"


def covstruct() -> CovStruct:
    loadings = np.array([0.8, 0.7, 0.6, 0.5])
    S = np.outer(loadings, loadings) * 0.2 + np.diag(0.2 * (1 - loadings**2))
    return CovStruct.from_matrices(S, np.eye(10) * 1e-4, np.eye(4) * 1.01, TRAITS, M=1e6)


def model(**indices: float) -> ModelContent:
    rows = [("F1", "=~", t, 0.7, 0.05) for t in TRAITS] + [(t, "~~", t, 0.5, 0.04) for t in TRAITS]
    frame = pd.DataFrame(rows, columns=["lhs", "op", "rhs", "est", "se"])
    frame = frame.assign(std_est=frame["est"], std_se=frame["se"], z=14.0, p=0.0, neglog10p=43.1)
    return ModelContent(
        "F1 =~ AAA + BBB + CCC + DDD", "DWLS", frame, {**INDICES, **indices}, ("residual variance of CCC is small",)
    )


def leads(n: int, signal: str = "factor") -> pd.DataFrame:
    return pd.DataFrame({
        "locus": range(1, n + 1), "signal": signal, "snp": [f"rs{i}" for i in range(n)], "chr": 1,
        "bp": np.arange(1, n + 1) * 1_000_000,
        "a1": "A", "a2": "G", "maf": 0.3, "start": 1, "end": 2, "n_snps": 3, "est": 0.1, "se": 0.01, "z": 10.0, "p": 0.0,
        "neglog10p": 400.0, "q_snp": 4.0, "q_snp_p": 0.26, "factor_sig": True, "qsnp_sig": [i == 1 for i in range(n)],
        "factor_only": [i != 1 for i in range(n)],
    })  # fmt: skip


def gwas(n_loci: int = 3) -> GwasContent:
    rng = np.random.default_rng(1)
    frame = pd.DataFrame({"chr": 1, "bp": rng.integers(1, 10**8, 2_000), "neglog10p": -np.log10(rng.random(2_000))})
    points, histogram = thinning.thin_for_manhattan(frame), thinning.qq_points(thinning.thin_for_qq(frame["neglog10p"]))
    effects = pd.DataFrame([{"snp": f"rs{i}", "trait": t, "beta": 0.1, "se": 0.01} for i in range(n_loci) for t in TRAITS])
    return GwasContent(
        {"ok": 1_990, "smoothed": 9, "singular": 1},
        points,
        points,
        histogram,
        histogram,
        leads(n_loci),
        {"lambda_gc": 1.02, "lambda_gc_q": None, "mean_chisq": 1.1, "effective_n": 123_456.0},
        effects,
        q_threshold=0.05 / 40,
    )


def everything() -> ReportContent:
    traits = pd.DataFrame(
        [
            {
                "trait": t,
                "file": f"/data/{t}.gz",
                "sha256": "ab" * 32,
                "scale": "logistic",
                "n": None,
                "sample_prevalence": 0.4,
                "population_prevalence": None,
                "rows_in": 1_000,
                "rows_kept": 990,
            }
            for t in TRAITS
        ]
    )
    qc = pd.DataFrame(
        [
            {
                "file_id": t,
                "trait": t,
                "step": s,
                "rule": r,
                "meaning": f"about {r}",
                "rows_in": 1_000,
                "rows_dropped": d,
                "examples": [f"7: {NASTY}"],
            }
            for t in TRAITS
            for s, (r, d) in enumerate([("low_info", 10), ("bad_p", 0)])
        ]
    )
    truth = pd.DataFrame(
        [
            {"quantity": "S[AAA,AAA]", "truth": 0.2, "estimate": 0.21, "se": 0.01},
            {"quantity": "S[BBB,BBB]", "truth": 0.2, "estimate": 0.3, "se": 0.01},
        ]
    )
    return ReportContent(
        f"Study of {NASTY}",
        "run-1",
        traits,
        qc,
        covstruct(),
        model(),
        gwas(),
        {"ldsc": {"n_blocks": 200}},
        truth,
        ("mind the gap",),
        {"gsem_spark": "0.1.0"},
    )


class Balance(HTMLParser):
    VOID = frozenset({"meta", "img", "br", "hr", "link", "input"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.sources: list[str] = []
        self.ids: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.sources += [str(v) for k, v in attrs if k in ("src", "href")]
        self.ids += [str(v) for k, v in attrs if k == "id"]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def page() -> str:
    return render_html(everything())


def test_page_is_well_formed_and_loads_nothing(page: str) -> None:
    parser = Balance()
    parser.feed(page)
    assert parser.open == []
    assert len(parser.ids) == len(set(parser.ids))
    assert sum(s.startswith("data:image/svg+xml;base64,") for s in parser.sources) == 5
    assert all(s.startswith("data:") or s[1:] in parser.ids for s in parser.sources)
    assert not re.search(r"<script|<link|@import|url\(", page)


def test_text_is_escaped(page: str) -> None:
    assert NASTY not in page
    assert page.count("&lt;script&gt;") >= 2


def test_same_content_same_page(page: str) -> None:
    assert render_html(everything()) == page


@pytest.mark.parametrize(
    "text",
    [
        "residual variance of CCC is small",
        "mind the gap",
        "n_blocks",
        "1.02",
        "123\u202f456",
        "abababababab",
        "low info",
        "Rules that touched no row: bad p.",
        "1.0 × 10⁻⁴⁰⁰",
        "≥ 0.95 good",
        "factor only",
    ],
)
def test_page_says_it(page: str, text: str) -> None:
    assert text in page


@pytest.mark.parametrize("part", ["traits", "qc", "cov", "model", "gwas", "settings", "truth", "provenance", "warnings"])
def test_each_part_may_be_missing(part: str) -> None:
    empty = getattr(ReportContent("t", "r"), part)
    render_html(replace(everything(), **{part: empty}), figures={})


def test_page_of_nothing() -> None:
    assert "no model was fitted" in render_html(ReportContent("Empty", "run-0"))


def test_gwas_without_hits_or_rows() -> None:
    scan = gwas()
    empty = replace(scan, loci=scan.loci.iloc[:0], effects=pd.DataFrame(), q_threshold=None)
    text = render_html(replace(everything(), gwas=empty))
    assert "No SNP is genome-wide significant" in text
    nothing = replace(
        empty,
        status={},
        factor_points=scan.factor_points.iloc[:0],
        q_points=scan.q_points.iloc[:0],
        factor_qq=scan.factor_qq.iloc[:0],
        q_qq=scan.q_qq.iloc[:0],
        summary={},
    )
    assert "manhattan" in report_figures(replace(everything(), gwas=nothing))
    render_html(replace(everything(), gwas=nothing))


@pytest.mark.parametrize(
    ("indices", "expected"),
    [
        ({}, "the model fits well (CFI 0.990, SRMR 0.020)"),
        ({"cfi": 0.92}, "the fit is acceptable"),
        ({"srmr": 0.2}, "the model fits poorly"),
        ({"df": 0.0}, "cannot be tested"),
    ],
)
def test_verdict_on_the_model(indices: dict[str, float], expected: str) -> None:
    sentence = verdict_sentence(replace(everything(), model=model(**indices), gwas=None))
    assert sentence.startswith("One factor for four traits")
    assert expected in sentence


def test_verdict_on_the_scan() -> None:
    sentence = verdict_sentence(everything())
    assert (
        "Of 2\u202f000 SNPs tested, three independent loci reach p < 5 × 10⁻⁸ for the factor; two of them act through" in sentence
    )


def test_key_figures_name_what_is_known() -> None:
    assert dict(key_figures(everything())) == {
        "traits": "4",
        "CFI": "0.990",
        "SRMR": "0.020",
        "SNPs tested": "2\u202f000",
        "loci of the factor": "3",
        "λGC": "1.020",
        "mean χ²": "1.100",
        "effective N": "123\u202f456",
    }


def test_long_lists_of_loci_are_cut_with_a_note() -> None:
    table = loci_table(replace(gwas(), loci=leads(MAX_LOCI + 5)), "factor")
    assert len(table.rows) == MAX_LOCI
    assert str(MAX_LOCI) in table.note
    many = replace(everything(), gwas=replace(gwas(), loci=leads(FIRST_LOCI + 1)))
    page = render_html(many, figures={})
    assert "All loci of the factor" in page
    assert page.count("<td class=\"text\">rs0</td>") == 2


def test_qc_keeps_the_order_of_the_rules_and_the_traits() -> None:
    table = qc_table(everything().qc, ["DDD", "AAA", "BBB", "CCC"])
    assert table.heads[2:] == ("DDD", "AAA", "BBB", "CCC")
    assert [row[0].text for row in table.rows] == ["low info"]


def test_truth_is_judged_by_two_standard_errors() -> None:
    assert [row[-1].text for row in truth_table(everything().truth).rows] == ["yes", "no"]


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [
        (1234567.0, 0, "1\u202f234\u202f567"),
        (-0.5, 2, "\u22120.50"),
        (-0.001, 2, "0.00"),
        (None, 2, "–"),
        (np.nan, 1, "–"),
        (np.inf, 1, "∞"),
    ],
)
def test_numbers(value: float | None, digits: int, text: str) -> None:
    assert number(value, digits) == text


@pytest.mark.parametrize(
    ("p", "neglog10p", "text"),
    [
        (0.5, None, "0.500"),
        (0.0, 400.0, "1.0 × 10⁻⁴⁰⁰"),
        (5e-8, None, "5.0 × 10⁻⁸"),
        (9.96e-9, None, "1.0 × 10⁻⁸"),
        (0.0, None, "< 10⁻³⁰⁷"),
        (None, None, "–"),
        (0.0012, None, "0.0012"),
        (1.0, 0.0, "1.000"),
    ],
)
def test_p_values(p: float | None, neglog10p: float | None, text: str) -> None:
    assert p_value(p, neglog10p) == text


def test_spelled() -> None:
    assert [spelled(n, "trait") for n in (0, 1, 3, 13)] == ["no traits", "one trait", "three traits", "13 traits"]
