"""Profile and effect plots: what they show, the same every time; files of phenotypes read line by line."""

import numpy as np
import pandas as pd
import pytest

from gsem_spark.errors import DataError
from gsem_spark.report.figures import to_png, to_svg
from gsem_spark.report.genotype_effect import GenotypeEffect, genotype_effect
from gsem_spark.report.h2_profile import Profile, h2_profile, interval
from gsem_spark.steps.lmm.config import LmmConfig
from gsem_spark.steps.lmm.samples import read_samples, trait_data, traits_of


def curve(at: float, width: float = 0.1) -> tuple[np.ndarray, np.ndarray]:
    hsq = np.linspace(0, 1, 101)
    return hsq, -0.5 * ((hsq - at) / width) ** 2 - 700.0


def test_the_interval_of_a_profile_ends_where_the_likelihood_ratio_test_would():
    low, high = interval(*curve(0.5))
    np.testing.assert_allclose([low, high], [0.5 - 0.196, 0.5 + 0.196], atol=2e-3)
    low, high = interval(*curve(0.05))
    assert low == 0.0 and 0.24 < high < 0.25


def test_a_profile_is_drawn_with_its_other_models_and_none_is_said():
    figure = h2_profile([Profile("bmi", *curve(0.3 + 0.05 * i), 0.3 + 0.05 * i, f"without chr {i}") for i in range(3)])
    texts = [t.get_text() for t in figure.axes[0].texts]
    assert any("0.300" in t and "grey: 2 others" in t for t in texts)
    assert len(figure.axes[0].lines) == 5  # three curves, the line of the interval, the estimate
    assert to_svg(figure) == to_svg(figure)
    assert h2_profile([]).texts[0].get_text() == "No model has a heritability"


def test_an_effect_is_drawn_with_its_counts():
    rng = np.random.default_rng(1)
    genotypes = rng.integers(0, 3, 200).astype(float)
    genotypes[:5] = np.nan
    values = 0.4 * genotypes + rng.normal(size=200)
    figure = genotype_effect(GenotypeEffect("rs1", "A", "G", "bmi", genotypes, values, 0.4, 0.09, 5.2))
    labels = [t.get_text() for t in figure.axes[0].get_xticklabels()]
    assert labels == [f"{name}\nn = {(genotypes == g).sum()}" for g, name in enumerate(("G/G", "A/G", "A/A"))]
    assert to_png(figure).startswith(b"\x89PNG")
    nobody = genotype_effect(GenotypeEffect("rs1", "A", "G", "bmi", genotypes[:5], values[:5], 0.4, 0.09, 5.2))
    assert "no sample" in nobody.axes[0].texts[0].get_text()


@pytest.fixture
def samples():
    return pd.DataFrame({"fid": ["f1", "f1", "f2", "f2"], "iid": ["a", "b", "c", "d"]})


def test_lines_in_any_order_of_any_separator_give_the_same_samples(samples, tmp_path):
    rows = [("f2", "d", "4.5", "red"), ("f1", "a", "1.5", "blue"), ("f2", "c", "NA", "red"), ("f1", "b", "2.5", "blue")]
    versions = set()
    for number, (mark, order) in enumerate((("\t", rows), (",", rows[::-1]), ("  ", rows[1:] + rows[:1]))):
        path = tmp_path / f"{number}.txt"
        path.write_text(mark.join(("#FID", "IID", "y", "colour")) + "\n" + "".join(mark.join(r) + "\n" for r in order))
        config = LmmConfig(phenotypes=str(path), formula="y ~ colour")
        table = read_samples(config, samples)
        data = trait_data(config, table, traits_of(config, table)[0])
        assert data.places.tolist() == [0, 1, 3] and data.y.tolist() == [1.5, 2.5, 4.5]
        assert data.names == ("intercept", "colour[T.red]") and data.X[:, 1].tolist() == [0, 0, 1]
        versions.add(table.version)
    assert len(versions) == 1


def test_a_torn_line_is_named_before_columns_shift(samples, tmp_path):
    path = tmp_path / "torn.txt"
    path.write_text("FID IID y age\nf1 a 1.0 30\nf1 b  31\n")
    with pytest.raises(DataError, match="line 3 has 3 fields, the header 4"):
        read_samples(LmmConfig(phenotypes=str(path)), samples)
