"""The comparison of estimates with a known truth."""

import numpy as np
import pandas as pd
import pytest

from gsem_spark.demo import data_folder
from gsem_spark.demo.compare import compare, read_truth
from gsem_spark.errors import DataError
from gsem_spark.methods.ldsc.covstruct import CovStruct

S = np.array([[0.3, 0.12], [0.12, 0.2]])
INTERCEPTS = np.array([[1.02, 0.1], [0.1, 1.01]])
TRUTH = {
    "names": ["A", "B"], "S": S.tolist(), "I": INTERCEPTS.tolist(),
    "hits": {"factor1": ["rs1", "rs2", "rs3"], "first_only": ["rs4"]},
}  # fmt: skip


def structure(shift=0.0, liability=1.0):
    scale = np.sqrt([liability, 1.0])
    diagnostics = {
        "traits": [
            {
                "trait": t,
                "h2_observed": S[i, i] + shift,
                "h2_observed_se": 0.01,
                "intercept": INTERCEPTS[i, i],
                "intercept_se": 0.02,
            }
            for i, t in enumerate("AB")
        ],
        "pairs": [{"trait_1": "A", "trait_2": "B", "intercept": 0.1 + shift, "intercept_se": 0.02}],
    }
    on_scale = (S + shift * np.eye(2)) * np.outer(scale, scale)
    return CovStruct.from_matrices(
        on_scale, np.eye(3) * 1e-4, INTERCEPTS, ["A", "B"], diagnostics=diagnostics, settings={"n_blocks": 200}
    )


def hits(**p):
    return pd.DataFrame([{"snp": k, "p": v[0], "q_snp_p": v[1]} for k, v in p.items()], columns=["snp", "p", "q_snp_p"])


def test_the_truth_itself_has_z_zero():
    made = compare(structure(), hits(), 0, TRUTH)
    assert np.allclose(made.traits[["h2 z", "intercept z"]], 0)
    assert np.allclose(made.pairs[["rg z", "intercept z"]], 0)
    assert made.joint_p == pytest.approx(1)
    assert made.agreement()[0] == ("heritabilities", 2, 2, 0.0)


@pytest.mark.parametrize("liability", [1.0, 2.5])
def test_an_error_counts_in_its_own_se_on_the_observed_scale(liability):
    made = compare(structure(shift=0.03, liability=liability), hits(), 0, TRUTH)
    assert made.traits["h2 z"].tolist() == pytest.approx([3, 3])
    assert made.agreement()[0][1] == 0
    assert made.joint_p < 0.05


def test_hits_are_counted_by_kind():
    found = hits(rs1=(1e-9, 0.5), rs2=(1e-3, 0.5), rs4=(1e-12, 1e-10))
    made = compare(structure(), found, 10, TRUTH).hits
    assert made.iloc[0, 1:].tolist() == [3, 2, 1, 0, 0]
    assert made.iloc[1, 1:].tolist() == [1, 1, 1, 1, 1]


def test_records_are_what_the_report_shows():
    records = compare(structure(), hits(), 0, TRUTH).records()
    assert list(records.columns) == ["quantity", "truth", "estimate", "se"]
    assert len(records) == 2 + 1 + 2 + 1


def test_demo_truth_is_shipped():
    assert len(read_truth(data_folder() / "raw" / "truth.json")["names"]) == 6
    with pytest.raises(DataError, match="truth"):
        read_truth("nowhere.json")
