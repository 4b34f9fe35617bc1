"""Pedigrees: relationships known from theory, what can be wrong, .fam files, matching of samples."""

import numpy as np
import pandas as pd
import pytest

from gsem_spark.errors import ConfigError, DataError
from gsem_spark.methods.lmm import inbreeding, match_samples, parse_fam, pedigree_kinship


def family(rows, names=("id", "sire", "dam")):
    return pd.DataFrame(rows, columns=list(names))


COUSINS = family([
    ("gm", None, None), ("gf", None, None), ("a", "gf", "gm"), ("b", "gf", "gm"), ("x", "0", "0"), ("z", "", ""),
    ("c1", "x", "a"), ("c2", "b", "z"), ("kid", "c2", "c1"),
])


def test_textbook_relationships():
    A = pedigree_kinship(COUSINS)
    assert A.loc["a", "b"] == 0.5
    assert A.loc["a", "gm"] == 0.5
    assert A.loc["c1", "gm"] == 0.25
    assert A.loc["c1", "c2"] == 0.125
    assert A.loc["x", "a"] == 0
    # offspring of first cousins: F = 1/16
    assert A.loc["kid", "kid"] == 1 + 1 / 16
    assert inbreeding(COUSINS).set_index("id").loc["kid", "inbreeding"] == 1 / 16
    pd.testing.assert_frame_equal(pedigree_kinship(COUSINS, "kinship") * 2, A)


def test_order_of_rows_does_not_matter():
    A = pedigree_kinship(COUSINS)
    turned = pedigree_kinship(COUSINS.iloc[::-1])
    pd.testing.assert_frame_equal(turned.loc[A.index, A.columns], A)
    assert list(turned.index) == list(COUSINS["id"][::-1])


def test_selfing_lines_and_full_sib_mating():
    """Brother by sister for generations: inbreeding 0, 1/4, 3/8, 1/2 (Falconer & Mackay 1996, table 5.1)."""
    rows = [("m0", None, None), ("f0", None, None)]
    rows += [(f"{s}{t}", f"m{t - 1}", f"f{t - 1}") for t in range(1, 5) for s in "mf"]
    F = inbreeding(family(rows)).set_index("id")["inbreeding"]
    np.testing.assert_allclose([F[f"m{t}"] for t in range(1, 5)], [0, 0.25, 0.375, 0.5])


def test_relationships_are_positive_semidefinite_and_match_gene_dropping():
    rng = np.random.default_rng(4)
    rows = [(f"i{i}", None, None) for i in range(10)]
    for i in range(10, 60):
        rows.append((f"i{i}", f"i{2 * rng.integers(0, i // 2)}", f"i{2 * rng.integers(0, i // 2) + 1}"))
    pedigree = family(rows)
    A = pedigree_kinship(pedigree).to_numpy()
    assert np.linalg.eigvalsh(A)[0] > -1e-12
    drops, at = 4000, {r[0]: i for i, r in enumerate(rows)}
    genes = np.zeros((60, 2, drops), dtype=int)
    for i, (_, sire, dam) in enumerate(rows):
        if sire is None:
            genes[i] = np.array([[2 * i], [2 * i + 1]])
        else:
            for k, parent in enumerate((sire, dam)):
                pick = rng.integers(0, 2, drops)
                genes[i, k] = genes[at[parent], pick, np.arange(drops)]
    i, j = 59, 40
    same = np.mean([(genes[i, a] == genes[j, b]).mean() for a in range(2) for b in range(2)])
    assert abs(2 * same - A[i, j]) < 0.05


@pytest.mark.parametrize(("rows", "words"), [
    ([("a", "b", None), ("b", "c", None), ("c", "a", None)], ["loop", "a is an offspring of b is an offspring of c"]),
    ([("a", "a", None)], ["loop", "a is an offspring of a"]),
    ([("a", None, None), ("a", None, None)], ["1 individuals have several rows: a"]),
    ([("a", None, None), ("b", "a", None), ("c", None, "a")], ["1 individuals are sire and dam: a"]),
    ([("a", "ghost", None)], ["1 parents are not in the pedigree: ghost", "founders"]),
    ([("", None, None)], ["row 0 has no individual"]),
])
def test_wrong_pedigrees(rows, words):
    with pytest.raises(DataError) as caught:
        pedigree_kinship(family(rows))
    for word in words:
        assert word in str(caught.value)


def test_parents_without_rows_as_founders():
    A = pedigree_kinship(family([("a", "ghost", "m"), ("b", "ghost", "m2")]), unknown_parents="founders")
    assert A.to_numpy().tolist() == [[1, 0.25], [0.25, 1]]


def test_columns_and_settings():
    with pytest.raises(DataError, match="no column sire"):
        pedigree_kinship(pd.DataFrame({"id": ["a"], "dam": [""]}))
    with pytest.raises(ConfigError, match="unknown scale"):
        pedigree_kinship(COUSINS, "additive")
    numbers = family([(1, np.nan, np.nan), (2, np.nan, np.nan), (3, 1.0, 2.0)])
    assert pedigree_kinship(numbers).loc["3"].tolist() == [0.5, 0.5, 1.0]


def test_fam_file():
    text = "F1 dad 0 0 1 -9\nF1 mum 0 0 2 -9\nF1 kid dad mum 1 2.5\nF2 dad 0 0 1 1\n"
    fam = parse_fam(text)
    assert fam["id"].tolist() == ["F1:dad", "F1:mum", "F1:kid", "F2:dad"]
    assert pedigree_kinship(fam).loc["F1:kid"].tolist() == [0.5, 0.5, 1, 0]
    assert parse_fam(text.rsplit("F2", 1)[0])["id"].tolist() == ["dad", "mum", "kid"]
    with pytest.raises(DataError, match=r"line 2.*2 columns"):
        parse_fam("a b 0 0 1 1\nc d")


def test_samples_are_matched_by_name():
    wanted, have = match_samples(["s3", "s1"], ["s1", "s2", "s3"])
    assert wanted.tolist() == [0, 1]
    assert have.tolist() == [2, 0]
    with pytest.raises(DataError) as caught:
        match_samples(["s3", "FAM_s1", "FAM_s2"], ["s1", "s2", "s3", "s4"])
    for word in ("2 of 3 samples of the phenotypes", "FAM_s1, FAM_s2", "3 of 4 of the genotypes", "s1, s2, s4"):
        assert word in str(caught.value)
    assert match_samples(["a", "b"], ["b"], need_all=False)[0].tolist() == [1]
    with pytest.raises(DataError, match=r"1 samples occur more than once: a"):
        match_samples(["a", "a"], ["a"])
    with pytest.raises(DataError, match="2 of 2"):
        match_samples(["a", "b"], ["c"], need_all=False)
