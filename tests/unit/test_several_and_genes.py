"""Several SNPs with LD in one model, genes in the place of SNPs, and FUSION files."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from gsem_spark.errors import DataError, ModelError
from gsem_spark.methods.gwas import UserModelGwas, fit_genes, fit_snps, join_genes, multi_gene, multi_snp, read_fusion
from gsem_spark.methods.gwas.moments import gc_factors, s_full, v_full
from gsem_spark.methods.ldsc.covstruct import CovStruct, vech_indices
from gsem_spark.methods.sem import user_model

TRAITS = ["A", "B", "C"]
MODEL = "F1 =~ A + B + C\nF1 ~ SNP"
BETA = np.array([[0.02, 0.015, 0.018], [0.008, 0.004, 0.01]])
SE = np.array([[0.005, 0.006, 0.004], [0.004, 0.005, 0.006]])
MAF = np.array([0.3, 0.2])
LD = np.array([[1.0, 0.6], [0.6, 1.0]])


@pytest.fixture(scope="module")
def cov() -> CovStruct:
    S = np.array([[0.3, 0.1, 0.12], [0.1, 0.25, 0.15], [0.12, 0.15, 0.4]])
    I = np.array([[1.05, 0.2, 0.1], [0.2, 0.97, 0.3], [0.1, 0.3, 1.02]])
    return CovStruct.from_matrices(S, np.diag([2, 1, 1, 2, 1, 3]) * 1e-4, I, TRAITS)


def test_one_snp_is_the_matrix_of_a_gwas(cov: CovStruct) -> None:
    both = multi_snp(cov, BETA[:1], SE[:1], MAF[:1], [[1.0]], gc="conserv")
    g, R = gc_factors(cov, "conserv")
    v = 2 * 0.3 * 0.7
    assert np.allclose(both.S, s_full(cov.S, BETA[0], v), rtol=1e-14)
    assert np.allclose(both.V, v_full(cov.V, R, SE[0] * g, v, 0.0005**2), rtol=1e-12, atol=0)
    fit = user_model(both, MODEL.replace("SNP", "SNP1"))
    want = fit_snps(cov, BETA[:1], SE[:1], MAF[:1], model=MODEL, gc="conserv", fix_measurement=False)
    assert fit.value("F1", "~", "SNP1") == pytest.approx(want.loc[0, "est"], rel=1e-8)
    assert fit.value("F1", "~", "SNP1", "se") == pytest.approx(want.loc[0, "se"], rel=1e-7)


def test_errors_of_snps_in_ld_correlate_by_ld_and_overlap(cov: CovStruct) -> None:
    both = multi_snp(cov, BETA, SE, MAF, LD)
    assert both.traits == ("SNP1", "SNP2", "A", "B", "C")
    g, R = gc_factors(cov, "standard")
    v = 2 * MAF * (1 - MAF)
    rows, columns = vech_indices(5)
    place = {(int(r), int(c)): i for i, (r, c) in enumerate(zip(rows, columns, strict=True))}
    for a in range(2):
        for j in range(3):
            assert both.S[2 + j, a] == pytest.approx(v[a] * BETA[a, j])
            for b in range(2):
                for l in range(3):
                    want = SE[a, j] * g[j] * v[a] * SE[b, l] * g[l] * v[b] * LD[a, b] * R[j, l]
                    assert both.V[place[2 + j, a], place[2 + l, b]] == pytest.approx(want, rel=1e-12)
    assert both.S[1, 0] == pytest.approx(0.6 * np.sqrt(v[0] * v[1]))
    assert np.array_equal(np.diag(both.V)[[place[0, 0], place[1, 0], place[1, 1]]], np.full(3, 0.0005**2))
    assert np.linalg.eigvalsh(both.V)[0] > 0


def test_a_snp_that_only_tags_another_has_no_effect_beside_it(cov: CovStruct) -> None:
    v = 2 * MAF * (1 - MAF)
    beta = 0.02 * np.array([1.0, 1.25, 1.5])  # in proportion to the loadings, so that the model holds exactly
    tag = LD[0, 1] * np.sqrt(v[0] / v[1]) * beta
    both = multi_snp(cov, np.vstack([beta, tag]), SE, MAF, LD, names=["rs1", "rs2"])
    fit = user_model(both, "F1 =~ A + B + C\nF1 ~ rs1 + rs2")
    assert fit.status in ("ok", "heywood")
    assert abs(fit.value("F1", "~", "rs2")) < 1e-8
    assert fit.value("F1", "~", "rs1") == pytest.approx(0.02, rel=1e-6)


def test_ld_is_matched_by_name_and_turned_with_the_allele(cov: CovStruct) -> None:
    frame = pd.DataFrame(LD[::-1, ::-1], index=["rs2", "rs1"], columns=["rs2", "rs1"])
    one = multi_snp(cov, BETA, SE, MAF, frame, names=["rs1", "rs2"])
    assert one.traits[:2] == ("rs1", "rs2")
    turned = multi_snp(cov, BETA, SE, MAF, LD * np.array([[1, -1], [-1, 1]]), names=["rs1", "rs2"], flipped=[False, True])
    assert np.array_equal(turned.S, one.S) and np.array_equal(turned.V, one.V)


@pytest.mark.parametrize(("change", "said"), [
    ({"ld": np.eye(3)}, "LD matrix"), ({"ld": [[1.0, 0.5], [0.4, 1.0]]}, "symmetric"),
    ({"ld": [[0.3, 0.1], [0.1, 0.4]]}, "diagonal"),
    ({"names": ["x"]}, "names"), ({"names": ["x", "x"]}, "repeat"), ({"names": ["A", "x"]}, "those of traits"),
    ({"maf": [0.0, 0.2]}, "no variance: SNP1"), ({"se": SE * [[1], [0]]}, "not positive: SNP2"),
    ({"beta": BETA * [[np.nan], [1]]}, "missing effect: SNP1"), ({"beta": BETA[:, :2]}, "must be"),
    ({"ld": pd.DataFrame(LD, columns=["rs1", "rs2"]), "names": ["rs1", "rs3"]}, "no row or column rs3"),
    ({"snp_se": 0.0}, "snp_se"),
])
def test_wrong_input_is_refused(cov: CovStruct, change: dict[str, object], said: str) -> None:
    call = {"beta": BETA, "se": SE, "maf": MAF, "ld": LD} | change
    with pytest.raises(ModelError, match=said):
        multi_snp(cov, **call)


def test_genes_are_predictors_with_their_own_variance(cov: CovStruct) -> None:
    hsq = np.array([0.12, 0.3])
    got = fit_genes(cov, BETA, SE, hsq, MODEL.replace("SNP", "Gene"))
    # A SNP of the same variance is the same predictor.
    maf = 0.5 - np.sqrt(0.25 - hsq / 2)
    want = fit_snps(cov, BETA, SE, maf, model=MODEL)
    assert got["rhs"].tolist() == ["Gene", "Gene"]
    for column in ("est", "se", "chisq", "q_snp"):
        assert np.allclose(got[column], want[column], rtol=1e-9)
    bad = fit_genes(cov, BETA, SE, [0.0, np.nan], MODEL.replace("SNP", "Gene"))
    assert bad["status"].tolist() == ["singular", "missing"] and "variance" in bad.loc[0, "message"]
    with pytest.raises(ModelError, match="the model has no Gene"):
        fit_genes(cov, BETA, SE, hsq, MODEL)
    assert UserModelGwas.prepare(cov, MODEL.replace("SNP", "Gene"), predictor="Gene").route == "analytic"
    assert multi_gene(cov, BETA, SE, hsq, LD).traits[:2] == ("Gene1", "Gene2")


FUSION = """PANEL FILE ID CHR P0 P1 HSQ BEST.GWAS.ID TWAS.Z TWAS.P PERM.PV PERM.N
X /w//Brain/GENE1.wgt.RDat GENE1 1 10 20 0.2 rs1 3.0 0.0027 0.01 100
X /w//Brain/GENE2.wgt.RDat GENE2 1 10 20 0.1 rs2 -2.0 0.0455 1 100
X /w//Brain/GENE3.wgt.RDat GENE3 1 10 20 NA rs2 -2.0 0.0455 0 100
X /w//Brain/GENE4.wgt.RDat GENE4 1 10 20 0.3 rs2 . . 0 100
X /w//Brain/GENE1.wgt.RDat GENE1 1 10 20 0.2 rs1 3.0 0.0027 0.01 100
"""


def test_fusion_files() -> None:
    got = read_fusion(FUSION, n=10_000)
    assert got["gene"].tolist() == ["GENE1", "GENE2"] and got.loc[0, "panel"] == "Brain/GENE1.wgt.RDat"
    assert np.allclose(got["beta"], [3 / np.sqrt(2000), -2 / np.sqrt(1000)]) and np.allclose(got["se"], 1 / np.sqrt([2000, 1000]))
    binary = read_fusion(FUSION, n=10_000, binary=True)
    b = 3 / np.sqrt(500)
    assert binary.loc[0, "beta"] == pytest.approx(b / np.sqrt(b * b * 0.2 + np.pi**2 / 3))
    assert np.allclose(binary["beta"] / binary["se"], [3, -2])
    permuted = read_fusion(FUSION, n=10_000, permutation=True)
    from scipy import stats

    assert permuted.loc[0, "beta"] / permuted.loc[0, "se"] == pytest.approx(np.sqrt(stats.chi2.isf(0.01, 1)))
    assert permuted.loc[1, "beta"] / permuted.loc[1, "se"] == pytest.approx(-np.sqrt(stats.chi2.isf(0.99, 1)))


def test_genes_of_several_traits_are_joined(cov: CovStruct) -> None:
    one, other = read_fusion(FUSION, n=10_000), read_fusion(FUSION, n=20_000).iloc[::-1]
    got = join_genes({"A": one, "B": other.iloc[:1], "C": one})
    assert got.columns.tolist() == ["panel", "gene", "hsq", "beta.A", "se.A", "beta.B", "se.B", "beta.C", "se.C"]
    assert got["gene"].tolist() == ["GENE2"]
    rows = fit_genes(cov, got, got, got["hsq"], "F1 =~ A + B + C\nF1 ~ Gene")
    assert rows.loc[0, "status"] == "ok"
    with pytest.raises(DataError, match="another HSQ"):
        join_genes({"A": one, "B": one.assign(hsq=0.5)})
    with pytest.raises(DataError, match="no trait"):
        join_genes({})


@pytest.mark.parametrize(("text", "n", "said"), [
    ("A B\n1 2\n", 100, "no column FILE, ID, HSQ, TWAS.Z"), (FUSION, 0, "sample size"),
    (FUSION.replace("-2.0", "x", 1), 100, "no numbers"),
    (FUSION + FUSION.splitlines()[1].replace(" 3.0 ", " 4.0 "), 100, "twice"),
])
def test_broken_fusion_files_are_refused(text: str, n: float, said: str) -> None:
    with pytest.raises(DataError, match=said):
        read_fusion(text, n)
