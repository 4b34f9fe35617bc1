"""MTAG's parts on small arrays: wrong input, repair and its notices, filters, alleles, assumptions, likelihood, summaries."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from gsem_spark.errors import ConfigError, DataError, GsemError, ModelError
from gsem_spark.methods import mtag, pvalues
from gsem_spark.methods.mtag import numerical
from gsem_spark.methods.mtag.assumptions import told
from gsem_spark.methods.mtag.filters import n_floor
from gsem_spark.methods.mtag.lattice import causal_states
from gsem_spark.methods.mtag.matrices import square, to_correlation

SIGMA = np.array([[1.05, 0.2], [0.2, 1.02]])
OMEGA = np.array([[4e-6, 2e-6], [2e-6, 3e-6]])
N = np.array([90_000.0, 60_000.0])


def scan(m: int = 50, seed: int = 1) -> np.ndarray:
    rng = np.random.default_rng(seed)
    root = np.linalg.cholesky(np.sqrt(np.outer(N, N)) * OMEGA + SIGMA)
    return rng.normal(size=(m, 2)) @ root.T


class TestWrongInput:
    def refuse(self, error: type[GsemError], words: str, **changes: object) -> None:
        settings: dict[str, object] = {"z": scan(), "n": N, "sigma": SIGMA, "omega": OMEGA} | changes
        with pytest.raises(error, match=words) as caught:
            mtag.estimate(**settings)  # type: ignore[arg-type]
        assert caught.value.remedy or error is DataError

    def test_one_trait(self) -> None:
        self.refuse(DataError, "at least 2 traits", z=scan()[:, :1], n=N[:1], sigma=[[1.0]], omega=[[1e-6]])
        with pytest.raises(DataError, match="at least 2 traits"):
            mtag.checked_sigma([[1.0]], ["A"])

    def test_no_common_snps(self) -> None:
        z = scan()
        z[::2, 0], z[1::2, 1] = np.nan, np.nan
        self.refuse(DataError, "no SNP has a Z-score and a sample size in all 2 traits", z=z, omega=None)
        self.refuse(DataError, "no SNP has a Z-score", z=np.zeros((0, 2)), n=np.zeros((0, 2)), omega=None)
        with pytest.raises(DataError, match="no SNPs"):
            mtag.merge_omega_sums([])

    def test_n_missing(self) -> None:
        self.refuse(DataError, "no SNP has a sample size in column 2", n=np.array([9e4, np.nan]))
        self.refuse(DataError, "shape", n=np.full((3, 2), 9e4))
        self.refuse(DataError, "shape", n=np.array(9e4))

    @pytest.mark.parametrize("name", ["sigma", "omega"])
    def test_matrices_of_the_wrong_shape_or_asymmetric(self, name: str) -> None:
        self.refuse(ModelError, "3 × 3.*2 traits", **{name: np.eye(3)})
        self.refuse(ModelError, "not symmetric", **{name: np.array([[1.0, 0.5], [0.4, 1.0]])})
        self.refuse(ModelError, r"\[1, 2\] is nan", **{name: np.array([[1.0, np.nan], [np.nan, 1.0]])})
        self.refuse(ModelError, "not positive: trait 2", **{name: np.array([[1.0, 0.0], [0.0, -0.1]])})

    def test_equal_h2_without_perfect_gencov(self) -> None:
        self.refuse(ConfigError, "equal_h2 needs perfect_gencov", equal_h2=True)

    def test_traits_with_other_allele_conventions(self) -> None:
        a1 = np.array([["A", "A"], ["C", "G"], ["G", "C"], ["T", "A"]])
        a2 = np.array([["G", "G"], ["T", "A"], ["A", "T"], ["C", "G"]])
        with pytest.raises(DataError, match=r"trait B: 3 of 4 SNPs have other alleles than in A, as G/A for C/T") as caught:
            mtag.align(a1, a2, ["A", "B"])
        assert "munge" in caught.value.remedy

    def test_a_trait_without_signal(self) -> None:
        z = scan()
        z[:, 1] /= 10
        self.refuse(ModelError, "Omega has variances that are not positive: trait 2", z=z, omega=None)

    def test_the_same_gwas_twice(self) -> None:
        self.refuse(ModelError, "singular", sigma=np.ones((2, 2)))

    def test_indefinite_matrices(self) -> None:
        beyond = np.array([[4e-6, 5e-6], [5e-6, 3e-6]])
        self.refuse(ModelError, "not positive semidefinite", omega=beyond, repair=False)
        got = mtag.estimate(scan(), N, SIGMA, beyond, traits=["A", "B"])
        assert got.omega[0, 1] == pytest.approx(0.99 * math.sqrt(12e-12))
        assert "correlations beyond 1 were set to 0.99: A and B" in got.model.notices[0]
        assert got.omega_estimate.raw[0, 1] == 5e-6
        assert mtag.estimate(scan(), N, SIGMA, beyond, perfect_gencov=True, repair=False).model.notices == ()
        wide = np.array([[1.0, 1.1], [1.1, 1.0]])
        self.refuse(ModelError, "Sigma is not positive semidefinite", sigma=wide, repair=False)
        sigma_notice = mtag.estimate(scan(), N, wide, OMEGA, traits=["A", "B"]).model.notices
        assert len(sigma_notice) == 1
        assert sigma_notice[0].startswith("Sigma is not positive semidefinite (smallest eigenvalue -0.1)")

    def test_states_and_grids(self) -> None:
        with pytest.raises(ConfigError, match="causal for both trait 1 and trait 2"):
            mtag.fdr_problem(OMEGA, SIGMA, N, states=[[0, 1], [1, 0]])
        with pytest.raises(ConfigError, match="twice"):
            mtag.fdr_problem(OMEGA, SIGMA, N, states=[[1, 1], [1, 1]])
        with pytest.raises(ConfigError, match="2 traits"):
            mtag.fdr_problem(OMEGA, SIGMA, N, states=[[1, 1, 1]])
        with pytest.raises(ConfigError, match="threshold"):
            mtag.fdr_problem(OMEGA, SIGMA, N, p_threshold=0.0)
        with pytest.raises(ConfigError, match="intervals"):
            mtag.grid(2, 0)
        with pytest.raises(ConfigError, match="too many to number"):
            mtag.grid(8, 40)
        with pytest.raises(ConfigError, match="none of 1 grid points"):
            mtag.max_fdr(OMEGA, SIGMA, N, intervals=1, states=[[1, 1]], causal_share=[0.0, 0.0])
        with pytest.raises(ConfigError, match=r"points 0 to 9"):
            mtag.grid(2, 1).points(0, 9)


class TestEstimate:
    def test_units_and_p_values(self) -> None:
        got = mtag.estimate(scan() * 30, N, SIGMA, OMEGA)
        beta, se = mtag.unstandardise(got.beta, got.se, np.full(50, 0.1))
        np.testing.assert_allclose(beta, got.beta / math.sqrt(0.18))
        np.testing.assert_allclose(beta / se, got.z)
        p, neglog10p = pvalues.from_z(got.z)
        assert np.array_equal(got.p, p)
        assert np.array_equal(got.neglog10p, neglog10p)
        assert (got.neglog10p > 320).any(), "beyond the smallest float64"
        assert np.isnan(mtag.unstandardise([[1.0, 1.0]], [[1.0, 1.0]], [[0.0, 1.0]])[0]).all()

    def test_rows_with_a_missing_value_are_nan_and_leave_the_others_alone(self) -> None:
        z, n = scan(2000), np.tile(N, (2000, 1))
        z[3, 0], n[7, 1], n[9, 0] = np.nan, np.nan, 0.0
        got, whole = mtag.estimate(z, n, SIGMA, OMEGA), mtag.estimate(scan(2000), N, SIGMA, OMEGA)
        bad = np.array([3, 7, 9])
        assert np.isnan(got.beta[bad]).all()
        assert np.isnan(got.p[bad]).all()
        assert np.array_equal(np.delete(got.z, bad, axis=0), np.delete(whole.z, bad, axis=0))
        assert mtag.estimate(z, n, SIGMA).omega_estimate.n_snps == 1997

    def test_weights_make_the_estimate(self) -> None:
        z = scan()
        model = mtag.estimate(z, N, SIGMA, OMEGA).model
        np.testing.assert_allclose(z / np.sqrt(N) @ model.weights(N).T, model.fit(z, N).beta, rtol=1e-10)
        table = mtag.weights_table(model, N)
        np.testing.assert_allclose(table.groupby("trait")["share"].sum(), 1.0)
        z_weights = table["z_weight"].to_numpy().reshape(2, 2)
        np.testing.assert_allclose(z @ z_weights.T, model.fit(z, N).z, rtol=1e-10)

    def test_unrelated_traits_keep_their_own_results(self) -> None:
        z = scan()
        got = mtag.estimate(z, N, np.eye(2), np.diag([1e-6, 2e-6]))
        np.testing.assert_allclose(got.z, z, rtol=1e-9)
        np.testing.assert_allclose(mtag.weights_table(got.model, N)["share"], [1, 0, 0, 1], atol=1e-12)

    def test_omega_is_found_again(self) -> None:
        z = scan(200_000)
        got = mtag.estimate(z, N, SIGMA)
        np.testing.assert_allclose(got.omega, OMEGA, rtol=0.05)
        assert (np.square(got.z).mean(axis=0) > np.square(z).mean(axis=0) / SIGMA.diagonal()).all(), "more power for both"


class TestFilters:
    def test_defaults_in_order_with_counts(self) -> None:
        n = np.concatenate([np.full(90, 900.0), np.full(8, 500.0), [np.nan, 900.0]])
        eaf = np.full(100, 0.3)
        eaf[0], eaf[1], eaf[2] = 0.01, 0.995, np.nan
        got = mtag.filter_trait(np.ones(100), n, eaf)
        assert got.dropped == {"missing": 1, "maf": 3, "n_min": 8}
        assert got.n_floor == pytest.approx(600)
        assert got.keep.sum() == 88

    def test_n_floor_interpolates(self) -> None:
        assert n_floor(np.arange(1.0, 12.0)) == pytest.approx(10 / 1.5)
        assert n_floor([1.0, 2.0, np.nan]) == pytest.approx(1.9 / 1.5)

    def test_other_rules(self) -> None:
        n = np.array([100.0, 100.0, 95.0, 90.0, 120.0])
        z, eaf = np.ones(5), np.full(5, 0.2)
        near = mtag.filter_trait(z, n, eaf, mtag.TraitFilter(n_min=None, n_near_mode=0.05))
        assert near.keep.tolist() == [True, True, True, False, False]
        distance = mtag.filter_trait(z, n, eaf, mtag.TraitFilter(n_min=None, n_near_mode_distance=10))
        assert distance.keep.tolist() == [True, True, True, True, False]
        limits = mtag.filter_trait(z, n, eaf, mtag.TraitFilter(n_min=95, n_max=100, maf_min=None))
        assert limits.keep.tolist() == [True, True, True, False, False]

    def test_wrong_rules_and_nothing_left(self) -> None:
        with pytest.raises(ConfigError, match="share and a distance"):
            mtag.TraitFilter(n_near_mode=0.1, n_near_mode_distance=3)
        with pytest.raises(ConfigError, match="maf_min"):
            mtag.TraitFilter(maf_min=-1)
        with pytest.raises(ConfigError, match="n_min"):
            mtag.TraitFilter(n_min="most")
        with pytest.raises(DataError, match="maf 2"):
            mtag.filter_trait([1.0, 1.0], [9.0, 9.0], [0.001, 0.999])
        with pytest.raises(DataError, match="sample size"):
            mtag.filter_trait([1.0], [np.nan], [0.5])

    def test_alleles(self) -> None:
        assert mtag.strand_ambiguous(["a", "C", "A", "G"], ["T", "g", "C", "A"]).tolist() == [True, True, False, False]
        sign, counts = mtag.align(
            [["A", "a", "G"], ["C", "C", "C"]], [["G", "g", "A"], ["T", "T", "A"]], ["A", "B", "C"], mismatch_max=0.5
        )
        assert sign.tolist() == [[1, 1, -1], [1, 1, 0]]
        assert counts["C"] == {"same": 0, "swapped": 1, "mismatched": 1}


class TestAssumptions:
    def test_findings_carry_numbers_and_failures_come_first(self) -> None:
        sigma = np.diag([1.0, 1.0, 1.0])
        omega = np.array([[4e-6, 1e-6, 0.0], [1e-6, 4e-6, 0.0], [0.0, 0.0, -1e-8]])
        found = mtag.check_assumptions(["A", "B", "C"], [2.5, 1.05, 1.0], sigma, omega)
        assert [f.level for f in found] == sorted((f.level for f in found), key=lambda level: level != "fail")
        codes = {f.code: f for f in found}
        assert set(codes) == {"mean_chisq", "mean_chisq_low", "negative_variance", "not_psd", "low_rg", "power_ratio"}
        assert codes["negative_variance"].traits == ("C",)
        assert "0.250" in codes["low_rg"].sentence
        assert codes["power_ratio"].value == pytest.approx(30)
        assert codes["power_ratio"].traits == ("B", "A")

    def test_many_pairs_of_low_correlation_are_one_sentence(self):
        names = ["A", "B", "C", "D"]
        omega = np.full((4, 4), 4e-7) + np.eye(4) * 6e-7
        omega[0, 3] = omega[3, 0] = 1e-7
        found = mtag.check_assumptions(names, [1.5, 1.5, 1.5, 1.05], np.eye(4), omega)
        said = told(found, names)
        assert len([f for f in found if f.code == "low_rg"]) == 6
        assert len(said) == len(found) - 5
        assert "6 of 6 pairs of traits have a genetic correlation below 0.7, the lowest 0.100 (A and D)" in said[-1]
        assert told(found[:3], names) == tuple(f.sentence for f in found[:3])

    def test_nothing_to_say(self) -> None:
        omega = np.full((2, 2), 3e-6) + np.eye(2) * 1e-6
        assert mtag.check_assumptions(["A", "B"], [1.5, 1.4], SIGMA, omega) == []

    def test_correlations_beyond_one(self) -> None:
        omega = np.array([[4e-6, 5e-6], [5e-6, 4e-6]])
        found = mtag.check_assumptions(["A", "B"], [1.5, 1.4], SIGMA, omega)
        assert [f.code for f in found] == ["not_psd", "rg_beyond_1"]
        restricted = mtag.check_assumptions(["A", "B"], [1.5, 1.4], SIGMA, omega, perfect_gencov=True)
        assert [f.code for f in restricted] == ["not_psd"]
        assert np.isnan(to_correlation(np.diag([1.0, -1.0]))[1, 1])
        assert square([[1, 2], [2, 5]], "x", 2).dtype == np.float64


class TestNumericalOmega:
    def data(self) -> numerical.Grouped:
        rng = np.random.default_rng(3)
        n = rng.choice([5e4, 9e4, 1e5], size=(4000, 2))
        root = np.linalg.cholesky(np.sqrt(n[:, :, None] * n[:, None, :]) * OMEGA + SIGMA)
        z = np.einsum("jab,jb->ja", root, rng.normal(size=(4000, 2)))
        return numerical.group_by_n(z, n)

    def test_the_gradient_vanishes_at_the_optimum_and_is_that_of_the_likelihood(self) -> None:
        data = self.data()
        assert data.n.shape == (9, 2)
        assert data.count.sum() == 4000
        got = numerical.numerical_omega(data, SIGMA, OMEGA * 1.3)
        assert got.converged
        np.testing.assert_allclose(got.omega, OMEGA, rtol=0.15)
        root = np.linalg.cholesky(got.omega)
        value, gradient = numerical._log_likelihood(data, SIGMA, root)
        assert value == pytest.approx(got.log_likelihood)
        assert (np.abs(gradient * np.sqrt(np.outer(OMEGA.diagonal(), OMEGA.diagonal()))) < 0.5).all(), "of 4000 SNPs"
        away = np.linalg.cholesky(OMEGA * 1.5)
        _, slope = numerical._log_likelihood(data, SIGMA, away)
        for i, j in ((0, 0), (0, 1), (1, 1)):
            step = np.zeros((2, 2))
            step[i, j] = step[j, i] = 1e-11
            up, down = (numerical._log_likelihood(data, SIGMA, np.linalg.cholesky(OMEGA * 1.5 + s * step))[0] for s in (1, -1))
            assert (up - down) / 2e-11 == pytest.approx(slope[i, j] * (1 if i == j else 2), rel=1e-4)

    def test_other_starts_lead_to_the_same_optimum(self) -> None:
        data = self.data()
        a = numerical.numerical_omega(data, SIGMA, OMEGA * 4)
        b = numerical.numerical_omega(data, SIGMA, np.diag(OMEGA.diagonal()) / 3)
        np.testing.assert_allclose(a.omega, b.omega, rtol=1e-3)

    def test_perfect_correlation(self) -> None:
        got = numerical.numerical_omega(self.data(), SIGMA, OMEGA, perfect_gencov=True)
        assert got.converged
        assert got.omega[0, 1] ** 2 == pytest.approx(got.omega[0, 0] * got.omega[1, 1])
        assert got.log_likelihood < numerical.numerical_omega(self.data(), SIGMA, OMEGA).log_likelihood

    def test_estimates_with_a_searched_omega(self) -> None:
        z = scan(3000)
        got = mtag.estimate(z, N, SIGMA, numerical=True)
        assert got.omega_estimate.method == "numerical"
        assert got.omega_estimate.n_snps == 3000
        assert got.model.notices == ()
        np.testing.assert_allclose(got.omega, mtag.estimate(z, N, SIGMA).omega, rtol=0.02)
        np.testing.assert_array_equal(got.z, mtag.estimate(z, N, SIGMA, got.omega).z)
        one = mtag.estimate(z, N, SIGMA, numerical=True, perfect_gencov=True)
        assert one.model.rank_one
        late = mtag.estimate(z, N, SIGMA, numerical=True, time_limit_seconds=1e-9)
        assert "ran out" in late.model.notices[0]
        assert mtag.estimate(z, N, SIGMA, numerical=True, perfect_gencov=True, equal_h2=True).model.one_result

    def test_a_search_that_runs_out_of_time_says_so(self) -> None:
        ticks = iter(range(1000))
        got = numerical.numerical_omega(self.data(), SIGMA, OMEGA * 4, time_limit_seconds=2.5, clock=lambda: float(next(ticks)))
        assert not got.converged
        assert "time limit of 2.5 s ran out" in got.message
        assert got.iterations == 3
        assert np.linalg.eigvalsh(got.omega)[0] > 0

    def test_wrong_settings(self) -> None:
        with pytest.raises(ConfigError, match="time limit"):
            numerical.numerical_omega(self.data(), SIGMA, OMEGA, time_limit_seconds=0)
        with pytest.raises(DataError, match="positive variances"):
            numerical.numerical_omega(self.data(), SIGMA, -OMEGA)
        with pytest.raises(DataError, match="no SNP"):
            numerical.group_by_n([[np.nan, 1.0]], N)


class TestMaxFdr:
    def test_fewer_states_give_a_smaller_bound(self) -> None:
        weak = np.array([9e3, 4e5])
        every = mtag.max_fdr(OMEGA, SIGMA, weak, traits=["weak", "strong"])
        some = mtag.max_fdr(OMEGA, SIGMA, weak, states=[[0, 0], [1, 0], [1, 1]])
        assert some.fdr[0] < every.fdr[0]
        assert every.fdr[0] > 0.05
        assert len(every.notices) == 1
        assert "maxFDR of weak is" in every.notices[0]
        assert "Genomic SEM with Q_SNP" in every.notices[0]
        assert every.states.tolist() == causal_states(2).tolist() == [[False, False], [False, True], [True, False], [True, True]]

    def test_infeasible_points_are_nan(self) -> None:
        problem = mtag.fdr_problem(OMEGA, SIGMA, N)
        fdr = mtag.fdr_at([[0.5, 0.25, 0.25, 0.0], [0.0, 0.45, 0.45, 0.1], [0.0, 0.0, 0.0, 1.0]], problem)
        assert np.isnan(fdr[0]).all(), "the traits share no SNP"
        assert np.isnan(fdr[1]).all(), "shared SNPs would need a correlation beyond 1"
        assert (fdr[2] == 0).all(), "no SNP is null for either"

    def test_merging_nothing(self) -> None:
        with pytest.raises(DataError, match="no piece"):
            mtag.merge_best([])


class TestSummaries:
    def test_equivalent_n_is_unknown_without_signal(self) -> None:
        got = mtag.equivalent_n([1e5, 1e5], [1.5, 0.99], [1.75, 1.2])
        assert got[0] == pytest.approx(1.5e5)
        assert np.isnan(got[1])

    def test_parts_must_be_distinct_and_hold_something(self) -> None:
        z = scan()
        got = mtag.estimate(z, N, SIGMA, OMEGA)
        part = mtag.scan_sums(z, N, got.model.fit(z, N))
        with pytest.raises(DataError, match="twice"):
            mtag.merge_scan_sums([part, part])
        with pytest.raises(DataError, match="no SNPs"):
            mtag.merge_scan_sums([])
        with pytest.raises(DataError, match="comes twice"):
            mtag.merge_omega_sums([mtag.omega_sums(z, np.tile(N, (50, 1)))] * 2)
        empty = mtag.scan_sums(z[:0], N, got.model.fit(z[:0], np.zeros((0, 2))))
        with pytest.raises(DataError, match="no SNP has an MTAG estimate"):
            mtag.summary_table(empty, got.model)
        table = mtag.summary_table(part, got.model, lambda_gc=[[1.1, 1.2], [1.0, 1.3]])
        assert table["mtag_lambda_gc"].tolist() == [1.2, 1.3]

    def test_spike_slab_finds_a_mixture_again(self) -> None:
        rng = np.random.default_rng(5)
        n = rng.uniform(8e4, 1e5, 60_000)
        effects = np.where(rng.random(60_000) < 0.2, rng.normal(0, 6e-3, 60_000), 0.0)
        got = mtag.spike_slab(effects * np.sqrt(n) + rng.normal(size=60_000), n)
        assert got.causal_share == pytest.approx(0.2, abs=0.02)
        assert got.effect_sd == pytest.approx(6e-3, rel=0.05)
        assert got.converged
        with pytest.raises(DataError):
            mtag.spike_slab([np.nan], [1.0])

    def test_export_has_the_reference_programs_columns(self) -> None:
        rows = pd.DataFrame({name: [1] for name in (
            "snp", "chr", "bp", "a1", "a2", "eaf", "n", "z", "mtag_beta", "mtag_se", "mtag_z", "mtag_p", "neglog10p",
        )})  # fmt: skip
        assert list(mtag.reference_columns(rows)) == (
            ["SNP", "CHR", "BP", "A1", "A2", "Z", "N", "FRQ", "mtag_beta", "mtag_se", "mtag_z", "mtag_pval"]
        )
        assert list(mtag.reference_columns(rows.drop(columns=["n", "z"]), meta=True))[5:7] == ["meta_freq", "mtag_beta"]
        with pytest.raises(DataError, match="columns n are missing"):
            mtag.reference_columns(rows.drop(columns="n"))
