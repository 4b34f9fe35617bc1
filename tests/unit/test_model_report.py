"""Sections of users' models in the HTML report."""

from __future__ import annotations

import numpy as np
import pytest

from gsem_spark.methods.ldsc.covstruct import CovStruct
from gsem_spark.methods.sem import user_model
from gsem_spark.report.content import ModelContent, ReportContent
from gsem_spark.report.html import render_html, report_figures
from gsem_spark.report.model_sections import UserModelContent

NASTY = "<script>alert('x')</script>"


@pytest.fixture(scope="module")
def cov() -> CovStruct:
    S = np.full((4, 4), 0.3) + np.diag([0.7, 0.6, 0.5, 0.4])
    S[0, 1] = S[1, 0] = 0.45
    return CovStruct.from_matrices(S, np.eye(10) * 1e-4, np.eye(4), ["AAA", "BBB", "CCC", "DDD"], M=1e6)


def content(cov: CovStruct, text: str, name: str = "one factor") -> UserModelContent:
    fit = user_model(cov, text)
    findings = tuple(fit.diagnosis.frame()[["severity", "text", "remedy"]].to_dict(orient="records"))
    return UserModelContent(name, "user_model-1", ModelContent.from_fit(fit, text), findings)


def test_each_model_has_its_section(cov):
    one = content(cov, "F1 =~ AAA + BBB + CCC + DDD  # mine")
    chain = content(cov, "BBB ~ AAA\nCCC ~ BBB\nDDD ~ CCC", "chain")
    page = ReportContent("Study", "run-1", models=(one, chain))
    figures = report_figures(page)
    assert list(figures) == ["model_1", "model_2"]
    html = render_html(page, figures)
    assert '<a href="#models">' in html
    for text in ("one factor: ", "chain: ", "fit poor", "F1 =~ AAA + BBB + CCC + DDD  # mine", "modification index"):
        assert text in html
    assert html.count('<figure class="path_diagram">') == 2
    assert html.count("Parameters of") == 2
    assert html == render_html(page)


def test_without_models_there_is_no_section(cov):
    assert "Models of your own" not in render_html(ReportContent("Study", "run-1", cov=cov))


def test_a_model_without_arrows_has_no_diagram(cov):
    page = ReportContent("Study", "run-1", models=(content(cov, "AAA ~~ BBB\nCCC ~~ AAA"),))
    assert report_figures(page) == {}
    assert "AAA ~~ BBB" in render_html(page)


def test_names_and_texts_are_escaped(cov):
    made = content(cov, f"F1 =~ AAA + BBB + CCC + DDD # {NASTY}", NASTY)
    assert NASTY not in render_html(ReportContent("Study", "run-1", models=(made,)))
