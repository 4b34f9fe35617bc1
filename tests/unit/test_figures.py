"""Figures and thinning: what reaches a picture, that it is the same every time, and that odd scans can be drawn."""

from __future__ import annotations

import re

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from scipy import stats

from gsem_spark.report import thinning
from gsem_spark.report.axis_break import NegLogAxis
from gsem_spark.report.figures import to_png, to_svg
from gsem_spark.report.forest import loci_forest
from gsem_spark.report.heatmap import clustered_order, matrix_of, rg_heatmap
from gsem_spark.report.manhattan import GenomeAxis, manhattan, spread
from gsem_spark.report.path_diagram import path_diagram
from gsem_spark.report.qq import QQPanel, null_band, qq


def scan(n: int = 20_000, chromosomes: tuple[int, ...] = (1, 2, 22, 23), seed: int = 1) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "chr": rng.choice(chromosomes, n),
            "bp": rng.integers(1, 150_000_000, n),
            "neglog10p": -np.log10(rng.random(n)),
        }
    )


def loci(n: int = 6, top: float = 12.0) -> pd.DataFrame:
    return pd.DataFrame({
        "locus": range(1, n + 1), "signal": ["factor" if i % 3 else "q_snp" for i in range(n)],
        "snp": [f"rs{i}" for i in range(n)], "chr": [1 + i % 2 for i in range(n)], "bp": [1_000_000 * (i + 1) for i in range(n)],
        "est": 0.1, "se": 0.01, "neglog10p": np.linspace(8, top, n), "q_snp_p": 1e-6,
        "factor_only": [i % 2 == 0 for i in range(n)],
        "qsnp_sig": [i % 2 == 1 for i in range(n)],
    })  # fmt: skip


def correlations(k: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    names = [f"T{i}" for i in range(k)]
    pairs = [(names[j], names[i], 0.9 - 0.1 * abs(i - j), 0.05, 1e-9) for j in range(k) for i in range(j + 1, k)]
    return (
        pd.DataFrame(pairs, columns=["trait_1", "trait_2", "rg", "se", "p"]),
        pd.DataFrame({"trait": names, "h2": 0.2, "se": 0.01}),
    )


def parameters(k: int, factors: int = 1) -> pd.DataFrame:
    names = [f"T{i}" for i in range(k)]
    rows = [(f"F{1 + i * factors // k}", "=~", name, 0.7 * (-1) ** (i == 1), 0.05) for i, name in enumerate(names)]
    rows += [(name, "~~", name, 0.5, 0.04) for name in names]
    rows += [(f"F{1 + f}", "~~", f"F{1 + f}", 1.0, np.nan) for f in range(factors)]
    rows += [("F1", "~~", "F2", 0.4, 0.05)] if factors == 2 else []
    return pd.DataFrame(rows, columns=["lhs", "op", "rhs", "std_est", "std_se"]).assign(est=1.0, se=0.1)


class TestThinning:
    def test_every_snp_above_the_tail_is_kept_and_the_rest_is_counted(self) -> None:
        frame = scan()
        thinned = thinning.thin_for_manhattan(frame)
        tail = frame[frame["neglog10p"] >= 4]
        kept = thinned[thinned["neglog10p"] >= 4]
        assert len(tail) > 0
        assert sorted(map(tuple, tail.to_numpy())) == sorted(map(tuple, kept[["chr", "bp", "neglog10p"]].to_numpy()))
        assert thinned["n"].sum() == len(frame)
        assert len(thinned) < len(frame) / 2

    def test_the_peak_of_each_chromosome_stays(self) -> None:
        frame = scan()
        cells = thinning.ManhattanCells(tail_bp_bin=1_000_000, tail_y_bin=0.5)
        thinned = thinning.thin_for_manhattan(frame, cells)
        pd.testing.assert_series_equal(thinned.groupby("chr")["neglog10p"].max(), frame.groupby("chr")["neglog10p"].max())

    def test_row_order_does_not_matter(self) -> None:
        frame = scan(5_000)
        frame.loc[:9, ["chr", "bp", "neglog10p"]] = [1, 77, 5.0]
        shuffled = frame.sample(frac=1.0, random_state=3)
        pd.testing.assert_frame_equal(thinning.thin_for_manhattan(frame), thinning.thin_for_manhattan(shuffled))

    def test_missing_and_infinite_values(self) -> None:
        frame = pd.DataFrame({"chr": [1, 1, 1], "bp": [5, 6, 7], "neglog10p": [np.nan, np.inf, 9.0]})
        thinned = thinning.thin_for_manhattan(frame)
        assert thinned["bp"].tolist() == [6, 7]
        assert thinned["neglog10p"].tolist() == [9.0, 9.0]
        assert thinning.thin_for_manhattan(frame.iloc[:0]).empty

    def test_grid_follows_the_length_of_the_scan_and_bounds_the_tail(self) -> None:
        cells = thinning.ManhattanCells.for_scan(3e9, n_tail=10)
        assert cells.tail_bp_bin == 1
        assert cells.bp_bin == pytest.approx(3e9 / 1200, rel=1e-6)
        assert thinning.ManhattanCells.for_scan(3e9, n_tail=10**6).tail_bp_bin > 100_000

    def test_qq_points_lie_on_the_full_curve(self) -> None:
        y = scan()["neglog10p"]
        points = thinning.qq_points(thinning.thin_for_qq(y))
        ordered = np.sort(y.to_numpy())[::-1]
        np.testing.assert_array_equal(points["observed"], ordered[points["rank"] - 1])
        np.testing.assert_allclose(points["expected"], -np.log10((points["rank"] - 0.5) / len(y)), rtol=1e-14)
        assert points["n"].sum() == len(y)
        assert len(points) < 1_000

    @pytest.mark.parametrize("df", [1, 5])
    def test_lambda_is_that_of_all_values(self, df: int) -> None:
        chisq = 1.2 * np.random.default_rng(2).chisquare(df, 50_000)
        points = thinning.qq_points(thinning.thin_for_qq(pd.Series(-np.log10(stats.chi2.sf(chisq, df)))))
        exact = np.median(chisq) / stats.chi2.isf(0.5, df)
        assert thinning.lambda_gc(points, df) == pytest.approx(
            exact, abs=2e-3
        )  # the bin of the median is .005 wide, interpolated
        assert np.isnan(thinning.lambda_gc(points.iloc[:0], df))


class TestDrawing:
    def test_same_frames_same_bytes(self) -> None:
        points = thinning.thin_for_manhattan(scan(2_000))
        first, second = (manhattan(points, points, loci()) for _ in range(2))
        assert to_svg(first) == to_svg(second)
        assert to_png(first) == to_png(second)
        assert not re.search(r"<dc:date>|20\d\d-\d\d-\d\d", to_svg(first))

    def test_global_settings_are_left_alone_and_do_not_leak_in(self) -> None:
        before = dict(mpl.rcParams)
        plain = to_svg(path_diagram(parameters(3)))
        assert dict(mpl.rcParams) == before
        with mpl.rc_context({"font.size": 30, "lines.linewidth": 9, "axes.facecolor": "red"}):
            assert to_svg(path_diagram(parameters(3))) == plain

    @pytest.mark.parametrize("chromosomes", [(1,), (23,), tuple(range(1, 24))])
    @pytest.mark.parametrize("top", [9.0, 350.0])
    def test_manhattan_of_odd_scans(self, chromosomes: tuple[int, ...], top: float) -> None:
        frame = scan(3_000, chromosomes)
        frame.loc[0, "neglog10p"] = top
        figure = manhattan(thinning.thin_for_manhattan(frame), thinning.thin_for_manhattan(frame), loci(top=top))
        assert len(figure.axes) == 2
        assert figure.axes[0].get_ylim()[1] >= top
        assert figure.axes[1].get_ylim()[0] > figure.axes[1].get_ylim()[1]
        assert to_png(figure)[:4] == b"\x89PNG"

    def test_manhattan_without_hits_without_q_and_without_rows(self) -> None:
        points = thinning.thin_for_manhattan(scan(500))
        assert len(manhattan(points, points, loci().iloc[:0]).axes) == 2
        assert len(manhattan(points).axes) == 1
        assert not manhattan(points.iloc[:0], points.iloc[:0]).axes
        assert to_svg(manhattan(points.iloc[:0]))

    def test_chromosomes_stand_in_order_and_do_not_overlap(self) -> None:
        frame = scan(1_000, (23, 2, 10))
        axis = GenomeAxis.covering(frame)
        assert axis.codes == (2, 10, 23)
        x = pd.Series(axis.x(frame))
        spans = x.groupby(frame["chr"]).agg(["min", "max"])
        assert (spans["max"].to_numpy()[:-1] < spans["min"].to_numpy()[1:]).all()

    def test_labels_are_spread_no_closer_than_the_gap_and_stay_in_order(self) -> None:
        rng = np.random.default_rng(4)
        for n in (0, 1, 5, 40):
            places = np.sort(rng.random(n) ** 3)
            slots = spread(places, 0.02)
            assert (np.diff(slots) >= 0.02 - 1e-12).all()
            assert not n or (slots.min() >= -1e-12 and slots.max() <= 1 + 1e-12)
        far = np.array([0.1, 0.5, 0.9])
        np.testing.assert_allclose(spread(far, 0.02), far, atol=1e-15)

    def test_axis_maps_back_and_compresses_only_when_needed(self) -> None:
        y = np.array([0.0, 5.0, 20.0, 33.0, 299.0])
        broken, plain = NegLogAxis.to(300.0, at_least=8), NegLogAxis.to(30.0, at_least=8)
        assert broken.broken
        assert not plain.broken
        np.testing.assert_allclose(broken.inverse(broken.forward(y)), y, rtol=1e-12)
        assert float(broken.fraction(20.0)) == pytest.approx(0.7)
        assert (np.diff(broken.forward(y)) > 0).all()

    def test_qq_draws_full_empty_and_null_band(self) -> None:
        points = thinning.qq_points(thinning.thin_for_qq(scan()["neglog10p"]))
        figure = qq([QQPanel("factor", points, 1.01), QQPanel("empty", points.iloc[:0])])
        assert len(figure.axes) == 2
        assert to_svg(figure)
        expected, low, high = null_band(1_000)
        assert ((low < expected) & (expected < high)).all()

    @pytest.mark.parametrize("k", [2, 3, 6, 12, 25])
    def test_heatmap_sizes(self, k: int) -> None:
        rg, h2 = correlations(k)
        rg.loc[0, ["rg", "se", "p"]] = np.nan
        rg.loc[len(rg) - 1, "rg"] = -1.2
        assert to_svg(rg_heatmap(rg, h2, cluster=k > 3))

    def test_clustering_brings_alike_traits_together(self) -> None:
        rg = np.eye(4)
        rg[0, 2] = rg[2, 0] = rg[1, 3] = rg[3, 1] = 0.9
        order = clustered_order(rg)
        assert sorted(order) == [0, 1, 2, 3]
        assert abs(order.index(0) - order.index(2)) == 1
        assert abs(order.index(1) - order.index(3)) == 1

    def test_matrix_is_symmetric_with_gaps_as_nan(self) -> None:
        rg, _ = correlations(3)
        matrix = matrix_of(rg.iloc[:2], ["T0", "T1", "T2"], "rg")
        assert matrix[0, 1] == matrix[1, 0] == pytest.approx(0.8)
        assert np.isnan(matrix[1, 2])

    @pytest.mark.parametrize(("k", "factors"), [(2, 1), (3, 1), (12, 1), (6, 2)])
    def test_path_diagram_shows_each_trait_and_loading(self, k: int, factors: int) -> None:
        figure = path_diagram(parameters(k, factors))
        texts = [t.get_text() for t in figure.axes[0].texts]
        assert {f"T{i}" for i in range(k)} <= set(texts)
        assert sum(t.endswith("0.70\n(0.05)") for t in texts) == k
        assert to_svg(figure)

    def test_path_diagram_without_loadings_is_refused(self) -> None:
        with pytest.raises(ValueError, match="=~"):
            path_diagram(parameters(3).query("op == '~~'"))

    def test_forest_shows_at_most_the_strongest(self) -> None:
        leads = loci(20)
        effects = pd.DataFrame([{"snp": s, "trait": t, "beta": 0.1, "se": 0.01} for s in leads["snp"] for t in ("A", "B")])
        assert len(loci_forest(effects, leads, max_loci=5).axes) == 5
