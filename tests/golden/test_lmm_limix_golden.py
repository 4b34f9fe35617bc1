"""Association at fixed components against limix-lmm 0.1.2 (tests/data/lmm/limix; doc_chr22 in ../shared)."""

import json

import numpy as np
import pytest
from lmm_reference import LIMIX, load, read_bed, table

from gsem_spark.methods.lmm import fit_lmm, gaussianize, scan
from gsem_spark.methods.lmm.rotation import background_spectrum


def inputs(folder, names):
    return [load(LIMIX / folder / f"{name}.npy.gz") for name in names]


def assert_limix(frame, wanted, p_rtol=1e-6):
    """p, beta, and the statistic where it is not so small that limix's log(s2 / s20) has lost its digits."""
    frame = frame.iloc[: len(wanted)]
    np.testing.assert_allclose(frame["p"], wanted["pv"], rtol=p_rtol)
    np.testing.assert_allclose(frame["stat"], wanted["lrt"], rtol=1e-5, atol=1e-9)
    betas = [c for c in wanted if c.startswith("beta") and "ste" not in c]
    ours = frame[[c for c in frame if c.startswith("beta")]].to_numpy()
    np.testing.assert_allclose(ours, wanted[betas].to_numpy(), rtol=1e-6, atol=1e-8)


def test_low_rank_null_model():
    """REML variances of both components, and the fixed effects."""
    W, F, y = inputs("lowrank", "WFy")
    wanted = json.loads((LIMIX / "lowrank" / "null.json").read_text())["tight_factr10"]
    fit = fit_lmm(background_spectrum(W), y, F)
    np.testing.assert_allclose(fit.sigmasq_g, wanted["Cr"][0][0], rtol=1e-6)
    np.testing.assert_allclose(fit.sigmasq_e, wanted["Cn"][0][0], rtol=1e-6)
    np.testing.assert_allclose(fit.beta, np.ravel(wanted["beta_null"]), rtol=1e-6)


@pytest.mark.parametrize(("answer", "options"), [
    ("lmm", {}), ("core_step1", {}), ("core_step4", {"step": 4}), ("core_inter_step1", {"inter": True}),
    ("core_inter_step4", {"inter": True, "step": 4}), ("core_inter_with_main_effects", {"inter": True, "main": True}),
])
def test_low_rank_background(answer, options):
    """Single variants, sets of four, and interactions with two environments, N = 350, rank 8."""
    G, F, W, y, Inter = inputs("lowrank", ("G", "F", "W", "y", "Inter"))
    X = np.hstack([F, Inter]) if options.get("main") else F
    frame = scan(G, y, X, W=W, inter=Inter if options.get("inter") else None, step=options.get("step", 1), test="limix_lrt")
    assert_limix(frame, table(LIMIX / "lowrank" / f"{answer}.tsv.gz"))


@pytest.mark.parametrize(("answer", "options"), [
    ("noInter_step1", {}), ("step4", {"step": 4}), ("inter_step1", {"inter": True}), ("inter_step4", {"inter": True, "step": 4}),
    ("inter_step1_noK", {"inter": True, "free": True}),
])
def test_documented_example_of_the_core(answer, options):
    """The docs' RandomState(1) example; the background's variance ends at 0 in it."""
    G, F, E, y, Inter = inputs("doctest_core", ("G", "F", "E", "y", "Inter"))
    frame = scan(G, y, F, W=None if options.get("free") else E, inter=Inter if options.get("inter") else None,
                 step=options.get("step", 1), test="limix_lrt")
    assert_limix(frame, table(LIMIX / "doctest_core" / f"{answer}.tsv.gz"))


def test_documented_example():
    G, F, E, y = inputs("doctest_lmm", "GFEy")
    assert_limix(scan(G, y, F, W=E, test="limix_lrt"), table(LIMIX / "doctest_lmm" / "lmm.tsv.gz"))


def standardised_kinship(Graw):
    Z = (Graw - Graw.mean(axis=0)) / Graw.std(axis=0) / np.sqrt(Graw.shape[1])
    R = Z @ Z.T
    return Z, R / np.diag(R).mean() + 1e-4 * np.eye(len(R))


@pytest.mark.parametrize("trait", [0, 1, 2])
def test_full_rank_kinship(trait):
    """Single-trait models of the multi-trait set, N = 400: null variances, single variants, sets of five."""
    Graw, F, Y = inputs("mtlmm", ("Graw", "F", "Y"))
    Z, R = standardised_kinship(Graw)
    null = json.loads((LIMIX / "mtlmm" / f"single_trait{trait}_null.json").read_text())["null"]
    fit = fit_lmm(R, Y[:, trait], F)
    np.testing.assert_allclose([fit.sigmasq_g, fit.sigmasq_e], [null["Cg"][0][0], null["Cn"][0][0]], rtol=5e-6)
    for step, name in ((1, ""), (5, "_step5")):
        frame = scan(Z, Y[:, trait], F, K=R, step=step, test="limix_lrt")
        assert_limix(frame, table(LIMIX / "mtlmm" / f"single_trait{trait}{name}.tsv.gz"))


def test_real_genotypes_and_expression(shared_golden):
    """limix's own example on chromosome 22: environments as background, gaussianised expression, three genes."""
    folder = shared_golden("golden/lmm/limix/doc_chr22")
    E = load(folder / "env.npy.gz")
    E = E[:, E.std(axis=0) > 0]
    W = (E - E.mean(axis=0)) / E.std(axis=0) / np.sqrt(E.shape[1])
    expression = table(folder / "expr.tsv")
    expected = load(folder / "pheno_gene1_gaussianized.npy.gz").ravel()
    genes = expression.to_numpy(float)
    np.testing.assert_allclose(gaussianize(genes[:, 0]), expected, atol=1e-12)
    bim = folder / "window.bim"
    packed = read_bed(folder / "window.bed.gz", bim, len(W))[0]
    for gene in range(3):
        wanted = table(folder / f"lmm_gene{gene + 1}_tight.tsv.gz")
        frame = scan(packed.T, gaussianize(genes[:, gene]), None, W=W, test="limix_lrt")
        np.testing.assert_allclose(frame["p"], wanted["pv"], rtol=1e-6)
