"""Path diagrams: what is read off a table, where it stands, that nothing covers anything, and the three kinds of files."""

import shutil
from itertools import combinations
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from gsem_spark.errors import ConfigError, ModelError, StorageError
from gsem_spark.methods.ldsc.covstruct import CovStruct
from gsem_spark.methods.sem.gls import gls_bands
from gsem_spark.methods.sem.parallel import parallel_analysis
from gsem_spark.methods.sem.path_layout import _spread, layout
from gsem_spark.methods.sem.path_shapes import bezier, label_size, loop_box
from gsem_spark.methods.sem.paths import Arrow, diagram_of, dot_text
from gsem_spark.report import path_diagram as drawing
from gsem_spark.report.bands import draw_bands, gls_bands_figure
from gsem_spark.report.path_diagram import draw, path_diagram
from gsem_spark.report.scree import scree

TRAITS = [f"T{i:02d}" for i in range(12)]


def table(rows):
    frame = pd.DataFrame(rows, columns=["lhs", "op", "rhs", "std_est", "std_se"])
    return frame.assign(std_all=frame["std_est"], std_all_se=frame["std_se"])


def confirmatory(factors=3, k=12, cross=True):
    """Factors with equally many traits, correlated, with a cross-loading and a residual covariance."""
    per = k // factors
    rows = [(f"F{i // per + 1}", "=~", t, 0.5 + 0.03 * i, 0.04) for i, t in enumerate(TRAITS[:k])]
    rows += [(t, "~~", t, 0.4, 0.05) for t in TRAITS[:k]]
    rows += [(f"F{i + 1}", "~~", f"F{i + 1}", 1.0, np.nan) for i in range(factors)]
    rows += [(f"F{i + 1}", "~~", f"F{j + 1}", 0.3 - 0.4 * (j == 2), 0.03) for i, j in combinations(range(factors), 2)]
    if cross:
        rows += [("F2", "=~", TRAITS[3], -0.25, 0.05)]
        rows += [(TRAITS[0], "~~", TRAITS[1], 0.1, 0.02), (TRAITS[1], "~~", TRAITS[5], 0.1, 0.02)]
    return table(rows)


def bifactor():
    frame = confirmatory(3, 12, cross=False)
    return pd.concat([frame[frame["lhs"] == frame["rhs"]], frame[frame["op"] == "=~"],
                      table([("G", "=~", t, 0.5, 0.04) for t in TRAITS] + [("G", "~~", "G", 1.0, np.nan)])])  # fmt: skip


MEDIATION = table(
    [("Y", "~", "M", 0.3, 0.02), ("M", "~", "X", 0.4, 0.02), ("Y", "~", "X", 0.1, 0.02), ("X", "~~", "X", 1.0, np.nan)]
)
SECOND = table(
    [("P", "=~", f"F{i + 1}", 0.6, 0.05) for i in range(3)]
    + [(f"F{i // 3 + 1}", "=~", t, 0.6, 0.03) for i, t in enumerate(TRAITS[:9])]
    + [(t, "~~", t, 0.5, 0.02) for t in TRAITS[:9]] + [(f, "~~", f, 0.6, 0.02) for f in ("F1", "F2", "F3")]
)  # fmt: skip
ALL = {"confirmatory": confirmatory(), "one": confirmatory(1), "bifactor": bifactor(), "mediation": MEDIATION, "second": SECOND}


def rectangles(sheet):
    labels = [(*c.label, *label_size(c.arrow)) for c in sheet.curves if c.arrow.kind != "variance"]
    loops = [loop_box(c) for c in sheet.curves if c.arrow.kind == "variance"]
    return labels, [(n.x, n.y, n.width, n.height) for n in sheet.nodes], loops


def shared(a, b):
    wide, high = (a[2] + b[2]) / 2 - abs(a[0] - b[0]), (a[3] + b[3]) / 2 - abs(a[1] - b[1])
    return max(wide, 0) * max(high, 0)


@pytest.mark.parametrize("name", ALL)
def test_nothing_covers_anything_and_all_is_on_the_sheet(name):
    sheet = layout(diagram_of(ALL[name]))
    labels, nodes, loops = rectangles(sheet)
    for one, two in [*combinations(labels, 2), *((a, b) for a in labels for b in nodes)]:
        assert shared(one, two) < 0.12 * one[2] * one[3]
    for one, two in [*combinations(nodes, 2), *((a, b) for a in loops for b in nodes if abs(a[0] - b[0]) > 0.5)]:
        assert shared(one, two) == 0
    for x, y, w, h in [*labels, *nodes, *loops]:
        assert w / 2 <= x <= sheet.width - w / 2 + 1e-9
        assert h / 2 <= y <= sheet.height - h / 2 + 1e-9


def test_arcs_below_the_traits_pass_the_loops_of_those_between():
    sheet = layout(diagram_of(pd.concat([confirmatory(cross=False), table([(TRAITS[0], "~~", TRAITS[8], 0.1, 0.02)])])))
    long = next(c for c in sheet.curves if {c.arrow.source, c.arrow.target} == {TRAITS[0], TRAITS[8]})
    for loop in (c for c in sheet.curves if c.arrow.kind == "variance" and c.arrow.source in TRAITS[1:8]):
        x, y, width, height = loop_box(loop)
        assert not any(abs(px - x) < width / 2 and abs(py - y) < height / 2 for px, py in bezier(long.points, 200))


def test_three_factors_with_twelve_traits_fit_a_page_and_stand_over_their_traits():
    diagram = diagram_of(confirmatory())
    sheet = layout(diagram)
    assert sheet.width < 14
    assert sheet.height < 6
    place = {n.name: n for n in sheet.nodes}
    assert list(diagram.rows[0]) == TRAITS
    for f in range(3):
        mine = [place[t].x for t in TRAITS[4 * f : 4 * f + 4]]
        assert min(mine) < place[f"F{f + 1}"].x < max(mine)
        assert place[f"F{f + 1}"].y > place[TRAITS[0]].y


def test_factors_are_ordered_to_cross_as_few_arrows_as_possible():
    rows = [("A", "=~", t, 0.7, 0.1) for t in TRAITS[:3]] + [("B", "=~", t, 0.7, 0.1) for t in TRAITS[3:6]]
    rows += [("C", "=~", t, 0.7, 0.1) for t in TRAITS[6:9]] + [("C", "=~", TRAITS[1], 0.4, 0.1), ("C", "=~", TRAITS[0], 0.4, 0.1)]
    order = diagram_of(table(rows)).rows[1]
    assert abs(order.index("A") - order.index("C")) == 1


def test_rows_of_second_order_bifactor_and_regression_models():
    assert diagram_of(SECOND).rows[2] == ("P",)
    general = diagram_of(bifactor())
    assert general.general == "G"
    assert general.rows[-1] == ("G",)
    assert diagram_of(MEDIATION).rows == {0: ("Y",), 1: ("M",), 2: ("X",)}
    effect = table([("F1", "~", "SNP", 0.1, 0.01), ("SNP", "~~", "SNP", 1.0, 0.0)])
    predicted = diagram_of(pd.concat([confirmatory(1, 4, False), effect]))
    assert predicted.rows[2] == ("SNP",)
    assert predicted.observed == (*TRAITS[:4], "SNP")


def test_a_direct_effect_goes_around_the_mediator():
    sheet = layout(diagram_of(MEDIATION))
    mediator = next(n for n in sheet.nodes if n.name == "M")
    direct = next(c for c in sheet.curves if c.arrow.source == "X" and c.arrow.target == "Y")
    at = bezier(direct.points, 50)
    inside = (np.abs(at[:, 0] - mediator.x) < mediator.width / 2) & (np.abs(at[:, 1] - mediator.y) < mediator.height / 2)
    assert not inside.any()


def test_what_is_read_off_the_table():
    frame = pd.concat([confirmatory(1, 3, False), table([("ind", ":=", "a*b", 0.2, 0.1), ("F1", "~~", "T01", 0.0, np.nan)])])
    diagram = diagram_of(frame)
    assert diagram.latent == ("F1",)
    assert diagram.observed == ("T00", "T01", "T02")
    assert len(diagram.arrows) == 7
    assert diagram_of(frame, hide_below=0.52).hidden == 1
    # without errors of the complete solution, the standardised one is shown
    partial = frame.assign(std_all=9.0, std_all_se=np.nan)
    assert {a.est for a in diagram_of(partial).arrows} == {a.est for a in diagram.arrows}
    with pytest.raises(ModelError, match="=~"):
        diagram_of(frame[frame["op"] == "~~"])


def test_labels():
    def arrow(est, se):
        return Arrow("F", "x", "directed", True, est, se)

    assert arrow(-0.254, 0.031).lines == ("\u22120.25", "(0.03)")
    assert arrow(-0.001, 0.1).lines[0] == "0.00"
    assert arrow(1.0, np.nan).lines == ("1.00",)
    assert arrow(np.nan, np.nan).lines == ("–",)


def test_neighbours_are_spread_as_little_as_needed():
    np.testing.assert_allclose(_spread([0.0, 0.1, 5.0], 1.0), [-0.45, 0.55, 5.0])
    np.testing.assert_allclose(_spread([1.0, 3.0], 1.0), [1.0, 3.0])


def test_dot_text_names_every_variable_and_arrow_and_quotes_names():
    frame = table([('a "b"', "=~", "x-y", 0.5, 0.1), ('a "b"', "=~", "z", -0.5, 0.1), ("z", "~~", "z", 0.5, 0.1)])
    text = dot_text(diagram_of(frame))
    assert '"a \\"b\\"" [shape=circle' in text
    assert '"a \\"b\\"" -> "x-y" [label="0.50\\n(0.10)"' in text
    assert "style=dashed" in text
    assert '"z" -> "z"' in text
    second = dot_text(diagram_of(SECOND))
    assert '"F1" -> "F1" [label="0.60\\n(0.02)", dir=both, constraint=false, tailport=e' in second  # an arrow comes from above
    assert '"P" -> "F1"' in second
    assert text == dot_text(diagram_of(frame))
    assert text.count("{") == text.count("}")


@pytest.mark.parametrize(
    ("name", "ending"), [("confirmatory", "svg"), ("mediation", "svg"), ("mediation", "png"), *((n, "dot") for n in ALL)]
)
def test_files_by_their_ending(tmp_path: Path, name, ending):
    out = draw(ALL[name], tmp_path / f"a.{ending}", engine="own")
    start = out.read_bytes()[:300]
    assert {"svg": b"<svg", "png": b"\x89PNG", "dot": b"digraph"}[ending] in start
    assert out.read_bytes() == draw(ALL[name], tmp_path / f"b.{ending}", engine="own").read_bytes()


def test_long_names_stay_apart():
    names = ["Self_rated_health_1", "Self_rated_health_2", "Educationalattainment_A", "Educationalattainment_B"]
    frame = table([("F", "=~", n, 0.5, 0.1) for n in names])
    shown = {t.get_text() for t in path_diagram(frame).axes[0].texts}
    written = {x for x in shown if x.startswith(("Self", "Educ"))}
    assert len(written) == 4
    assert "Self_rated_\nhealth_2" in written
    assert all(len(line) <= 17 for x in written for line in x.splitlines())


def test_every_label_is_on_the_picture():
    texts = [t.get_text() for t in path_diagram(confirmatory()).axes[0].texts]
    assert set(TRAITS) <= set(texts)
    assert texts.count("0.40\n(0.05)") == 12
    assert "\u22120.25\n(0.05)" in texts


def test_graphviz_is_used_where_asked_for_and_its_absence_and_failure_are_said(tmp_path, monkeypatch):
    calls = []

    def fake(command, **given):
        calls.append((command, given["input"]))
        return type("Done", (), {"stdout": b"<svg/>"})()

    monkeypatch.setattr(drawing.shutil, "which", lambda _: "/bin/dot")
    monkeypatch.setattr(drawing.subprocess, "run", fake)
    assert draw(SECOND, tmp_path / "a.svg", engine="dot").read_bytes() == b"<svg/>"
    assert draw(MEDIATION, tmp_path / "b.svg").read_bytes() == b"<svg/>"
    assert calls[0][0] == ["/bin/dot", "-Tsvg"]
    assert calls[0][1].startswith(b"digraph")
    monkeypatch.setattr(drawing.subprocess, "run", lambda *_, **__: (_ for _ in ()).throw(OSError("no memory")))
    with pytest.raises(StorageError, match="no memory"):
        draw(SECOND, tmp_path / "a.svg", engine="dot")
    monkeypatch.setattr(drawing.shutil, "which", lambda _: None)
    with pytest.raises(ConfigError, match="not installed"):
        draw(SECOND, tmp_path / "a.svg", engine="dot")
    assert b"<svg" in draw(MEDIATION, tmp_path / "c.svg").read_bytes()[:300]


def test_other_endings_and_engines_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="ending"):
        draw(SECOND, tmp_path / "a.pdf")
    with pytest.raises(ConfigError, match="engine"):
        draw(SECOND, tmp_path / "a.svg", engine="neato")


def test_scree_and_bands_draw_what_they_are_given():
    table_ = pd.DataFrame({
        "number": [1, 2, 3], "observed": [2.0, 0.7, 0.3], "null_mean": [1.1, 1.0, 0.9], "null_quantile": [1.2, 1.05, 0.95],
        "retained": [True, False, False],
    })  # fmt: skip
    labels = [t.get_text() for t in scree(table_).axes[0].get_legend().get_texts()]
    assert labels == ["no correlations, 95% quantile", "observed, retained (1)", "observed, not retained"]
    band = pd.DataFrame({"x": [0.0, 1.0], "fitted": [0.1, 0.2], "low": [0.0, 0.1], "high": [0.2, 0.3]})
    axes = gls_bands_figure([0.2, 0.8], [0.1, 0.2], [0.05, 0.05], band, x_label="Age").axes[0]
    assert axes.get_xlabel() == "Age"
    np.testing.assert_array_equal(axes.lines[0].get_ydata(), [0.1, 0.2])


def test_scree_and_bands_as_files(tmp_path):
    cov = CovStruct.from_matrices(np.full((4, 4), 0.6) + 0.4 * np.eye(4), np.eye(10) * 0.01, np.eye(4), list("abcd"))
    assert parallel_analysis(cov, draws=50).draw(tmp_path / "scree.png").read_bytes().startswith(b"\x89PNG")
    y, V, x = [0.1, 0.3, 0.4, 0.8], np.eye(4) * 0.01, [1.0, 2.0, 3.0, 4.0]
    fit = draw_bands(y, V, x, tmp_path / "bands.svg", quadratic=True, x_label="Age")
    np.testing.assert_array_equal(fit.beta, gls_bands(y, V, x, quadratic=True)[0].beta)
    assert "<svg" in (tmp_path / "bands.svg").read_text()[:400]
    with pytest.raises(ConfigError, match="ending"):
        draw_bands(y, V, x, tmp_path / "bands.pdf")


def test_a_fit_is_drawn_like_its_table(tmp_path, monkeypatch):
    fit = SimpleNamespace(parameters=SECOND)
    assert draw(fit, tmp_path / "a.svg").read_bytes() == draw(SECOND, tmp_path / "b.svg").read_bytes()
    monkeypatch.chdir(tmp_path)
    assert draw(fit).read_bytes() == (tmp_path / "path_diagram.svg").read_bytes() == (tmp_path / "a.svg").read_bytes()


@pytest.mark.skipif(shutil.which("dot") is None, reason="graphviz is not installed")
@pytest.mark.parametrize("name", ["confirmatory", "bifactor", "mediation"])
def test_graphviz_understands_the_text(tmp_path, name):
    text = draw(ALL[name], tmp_path / "a.svg", engine="dot").read_text()
    diagram = diagram_of(ALL[name])
    arcs = [a for a in diagram.arrows if a.kind == "covariance" and {a.source, a.target} <= set(diagram.observed)]
    assert text.count('class="node"') == len(diagram.observed) + len(diagram.latent) + len(arcs)  # an arc's label is a node
    assert text.count('class="edge"') >= len(diagram.arrows)
