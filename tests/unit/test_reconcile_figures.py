"""Figures of the reconciliation: what reaches them, that they are the same every time, and that odd input can be drawn."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest

from gsem_spark.report.effect_forest import effect_forest
from gsem_spark.report.effect_scatter import effect_scatter
from gsem_spark.report.figures import to_png, to_svg
from gsem_spark.report.miami import FOUND_BY, miami


def scan(seed: int, n: int = 2000) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return pd.DataFrame({"chr": rng.choice([1, 2, 23], n), "bp": rng.integers(1, 9e7, n), "neglog10p": -np.log10(rng.random(n))})


def loci() -> pd.DataFrame:
    return pd.DataFrame({
        "snp": ["rs1", "rs2", "rs3", "rs4"], "chr": [1, 1, 2, 23], "bp": [10**7, 5 * 10**7, 10**7, 2 * 10**7],
        "factor_neglog10p": [12.0, 9.0, 2.0, 60.0], "mtag_neglog10p": [10.0, 1.0, 9.0, np.nan],
        "factor_sig": [True, True, False, True], "mtag_traits": ["A,B", "", "B", "A"], "opposite_traits": ["", "", "", "A"],
        "pattern": ["common_factor", "factor_only", "mtag_only", "opposite"],
    })  # fmt: skip


def effects(m: int = 5, k: int = 3) -> pd.DataFrame:
    rng = np.random.default_rng(1)
    snps, traits = [f"rs{i + 1}" for i in range(m)], [f"T{i}" for i in range(k)]
    frame = pd.DataFrame({"snp": np.repeat(snps, k), "trait": np.tile(traits, m)})
    for source in ("input", "implied", "mtag"):
        beta = rng.normal(0, 0.02, m * k)
        frame = frame.assign(**{f"{source}_beta": beta, f"{source}_low": beta - 0.01, f"{source}_high": beta + 0.01})
    return frame


def texts(figure) -> str:
    inside = [t for axes in figure.axes for t in axes.texts]
    legend = [t for each in figure.legends for t in each.get_texts()]
    return "|".join(t.get_text() for t in (*figure.texts, *inside, *legend))


class TestMiami:
    def test_loci_are_named_where_they_were_found_and_told_apart(self) -> None:
        figure = miami(scan(1), scan(2), loci(), factor_name="P")
        top, bottom = figure.axes
        assert {t.get_text() for t in top.texts} >= {"rs1", "rs2", "rs4"}
        assert "rs3" in {t.get_text() for t in bottom.texts}
        assert "rs3" not in {t.get_text() for t in top.texts}
        said = texts(figure)
        assert "P: SNP effect on the factor" in said
        for _, label in FOUND_BY.values():
            assert label in said

    def test_both_panels_share_their_genome_axis(self) -> None:
        top, bottom = miami(scan(1), scan(2).iloc[:50]).axes
        assert top.get_xlim() == bottom.get_xlim()
        assert bottom.get_ylim()[0] > bottom.get_ylim()[1] == 0

    def test_the_same_frames_give_the_same_bytes(self) -> None:
        assert to_png(miami(scan(1), scan(2), loci())) == to_png(miami(scan(1), scan(2), loci()))
        assert to_svg(miami(scan(1, 200), scan(2, 200), loci())) == to_svg(miami(scan(1, 200), scan(2, 200), loci()))

    def test_nothing_and_one_side_can_be_drawn(self) -> None:
        assert "No SNP" in texts(miami(scan(1).iloc[:0], scan(1).iloc[:0]))
        assert to_png(miami(scan(1), scan(1).iloc[:0], loci().iloc[:0]))[:4] == b"\x89PNG"


class TestEffectScatter:
    def test_one_panel_a_trait_with_its_count(self) -> None:
        frame = effects()
        figure = effect_scatter(frame)
        assert len(figure.axes) == 3
        first = frame[frame["trait"] == "T0"]
        same = int((first["implied_beta"] * first["mtag_beta"] > 0).sum())
        assert f"{same} of 5 same direction" in texts(figure)

    def test_missing_effects_and_no_effects(self) -> None:
        frame = effects().assign(mtag_beta=np.nan)
        assert texts(effect_scatter(frame)).count("no SNP") == 3
        assert "No locus" in texts(effect_scatter(frame.iloc[:0]))
        assert to_png(effect_scatter(effects(1, 1)))[:4] == b"\x89PNG"


class TestEffectForest:
    def test_chosen_loci_in_order_with_their_patterns(self) -> None:
        figure = effect_forest(effects(), loci(), max_loci=3)
        assert [re.sub(r".*(rs\d).*", r"\1", a.get_title(loc="left")) for a in figure.axes] == ["rs1", "rs2", "rs3"]
        assert "MTAG only" in texts(figure)
        assert [t.get_text() for t in figure.axes[0].get_yticklabels()] == ["T0", "T1", "T2"]

    def test_all_snps_without_loci_and_none_at_all(self) -> None:
        assert len(effect_forest(effects(4)).axes) == 4
        assert "No locus" in texts(effect_forest(effects().iloc[:0], loci()))

    @pytest.mark.parametrize("missing", ["input_beta", "mtag_low"])
    def test_missing_values(self, missing: str) -> None:
        frame = effects()
        frame.loc[::2, missing] = np.nan
        assert to_png(effect_forest(frame))[:4] == b"\x89PNG"
