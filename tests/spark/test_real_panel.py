"""The whole road on real LD scores (1000 Genomes EUR) and six dirty raw files, through Spark, against GenomicSEM 0.0.5 (R).

Answers: ``golden/gsem/answers`` beside the checkout (munge, ldsc, sumstats, commonfactor, commonfactorGWAS of the reference).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pyspark.sql import functions as F

import gsem_spark as gs

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

TRAITS = {
    "AAA": ("AAA.OR", {"scale": "logistic", "n": 90_000, "sample_prevalence": 0.35, "population_prevalence": 0.05}),
    "BBB": ("BBB.LOGOR", {"scale": "logistic", "n": 60_000, "sample_prevalence": 0.5, "population_prevalence": 0.01}),
    "CCC": ("CCC.OLS", {"scale": "linear"}),
    "DDD": ("DDD.ZN", {"scale": "linear"}),
    "EEE": ("EEE.LPM", {"scale": "linear_probability", "sample_prevalence": 0.2, "population_prevalence": 0.1}),
    "FFF": ("FFF.SSF", {"scale": "linear"}),
}
R_EST, R_SE, R_Q = 1e-4, 1e-5, 1e-4  # how far the reference's per-SNP fits stop from the optimum; see test_gwas_golden.py


@pytest.fixture(scope="module")
def golden(request: pytest.FixtureRequest) -> Path:
    find: Callable[[str], Path] = request.getfixturevalue("shared_golden")
    find("data/eur_w_ld_chr")
    return find("golden/gsem")


@pytest.fixture(scope="module", params=["genomicsem", None])
def study(request, golden: Path, shared_golden, spark, tmp_path_factory) -> tuple[str | None, gs.Workspace, gs.CovStruct]:
    ws = gs.Workspace.create(str(tmp_path_factory.mktemp("real") / "ws"), "delta", spark)
    raw = golden / "inputs"
    gs.load_references(ws, raw / "reference.tsv", shared_golden("data/eur_w_ld_chr"), hm3=raw / "snplist.tsv")
    traits = [gs.Trait(name=t, file=str(raw / f"{stem}.tsv.gz"), **more) for t, (stem, more) in TRAITS.items()]
    gs.munge(ws, traits, compat=request.param)
    cov = gs.ldsc(ws, list(TRAITS))
    # The reference was given the effective N of EEE for its per-SNP effects, and none for munge and ldsc.
    again = traits[list(TRAITS).index("EEE")].model_copy(update={"n": 115_200})
    gs.munge(ws, [again], compat=request.param)
    return request.param, ws, cov


def table(golden: Path, name: str) -> pd.DataFrame:
    return pd.read_csv(golden / "answers" / name, sep="\t", float_precision="round_trip")


def test_structure(study, golden: Path) -> None:
    """S, V, I, N: 1e-8 under the reference's rules; within their standard errors under ours."""
    rules, _, cov = study
    for part in "SVIN":
        want = table(golden, f"ldsc_{part}.tsv").to_numpy()
        got = getattr(cov, part).reshape(want.shape)
        if rules == "genomicsem":
            np.testing.assert_allclose(got, want, rtol=1e-8, atol=0, err_msg=part)
        elif part == "S":
            rows, columns = np.tril_indices(cov.k)
            order = np.lexsort((rows, columns))
            se = np.sqrt(np.diag(cov.V))
            assert np.max(np.abs(got[rows, columns][order] - want[rows, columns][order]) / se) < 1
    print(f"\nrules {rules or 'default'}: S diagonal {np.round(np.diag(cov.S), 4)}, I diagonal {np.round(np.diag(cov.I), 4)}")


def test_munged_rows_and_standardised_effects(study, golden: Path) -> None:
    """Row counts exact and beta, se to 1e-6 under the reference's rules; but for P > 1 every SNP it keeps is there under ours."""
    rules, ws, _ = study
    want = table(golden, "sumstats/default.tsv.gz").set_index("SNP")
    rows = ws.read("sumstats").where("beta is not null and se is not null").select("trait", "snp", "beta", "se").toPandas()
    beta, se = (rows.pivot_table(v, "snp", "trait") for v in ("beta", "se"))
    whole = beta.dropna().index
    print(f"\nrules {rules or 'default'}: {len(whole):,} SNPs in all six traits, reference {len(want):,}")
    shared = want.index.intersection(whole)
    if rules != "genomicsem":  # the reference keeps rows with P above 1 in logistic traits; ours drops them
        assert len(want) - 100 < len(shared) < len(whole)
        return
    assert set(whole) == set(want.index)
    for trait in TRAITS:
        np.testing.assert_allclose(beta.loc[shared, trait], want.loc[shared, f"beta.{trait}"], rtol=1e-6, err_msg=trait)
        np.testing.assert_allclose(se.loc[shared, trait], want.loc[shared, f"se.{trait}"], rtol=1e-6, err_msg=trait)


def test_common_factor_gwas(study, golden: Path) -> None:
    """The 400 SNPs that R fitted: estimates within 1e-4 SE, SEs 1e-5, Q_SNP to the reference's own looseness."""
    rules, ws, cov = study
    run = gs.common_factor_gwas(ws, cov)
    print(f"\nrules {rules or 'default'}: {run.summary}")
    assert set(run.summary["status"]) <= {"ok", "smoothed"}
    if rules != "genomicsem":
        return
    want = table(golden, "gwas/cfgwas_standard_400.tsv")
    got = run.results().where(F.col("snp").isin(want["SNP"].tolist())).toPandas().set_index("snp").loc[want["SNP"]]
    assert np.max(np.abs(got["est"].to_numpy() - want["est"]) / want["se_c"]) < R_EST
    assert np.max(np.abs(got["se"].to_numpy() / want["se_c"] - 1)) < R_SE
    assert np.max(np.abs(got["q_snp"].to_numpy() / want["Q"] - 1)) < R_Q
