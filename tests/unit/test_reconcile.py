"""Patterns, loci, publication rule, replication, effects and checklist, each on cases whose answer is plain."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from gsem_spark.errors import ConfigError, DataError
from gsem_spark.methods import reconcile as rc
from gsem_spark.methods.reconcile.patterns import BY_CODE, RUN_PATTERN
from gsem_spark.methods.reconcile.replication import _mean_beyond
from gsem_spark.steps.reconcile.files import given_panel

TRAITS = ("A", "B", "C")
HIGH, LOW = 9.0, 1.0


def classify_one(factor, q, mtag, gwas, opposite=False) -> tuple[str, str]:
    got = rc.classify([factor], [q], [mtag], [gwas], [opposite])
    return str(got.pattern[0]), got.also()[0]


class TestPatterns:
    @pytest.mark.parametrize(
        ("factor", "q", "mtag", "gwas", "opposite", "pattern", "also"),
        [
            (1, 0, (1, 1, 1), (1, 0, 0), 0, "common_factor", ""),
            (1, 1, (0, 1, 0), (0, 1, 0), 0, "one_trait_dominant", ""),
            (1, 0, (1, 1, 0), (0, 0, 0), 0, "common_factor_partly", ""),
            (1, 0, (0, 0, 0), (0, 0, 0), 0, "factor_only", ""),
            (1, 0, (0, 0, 0), (0, 1, 0), 0, "factor_without_mtag", ""),
            (1, 0, (1, 1, 1), (1, 1, 1), 1, "opposite", "common_factor"),
            (0, 1, (1, 1, 0), (1, 1, 0), 0, "trait_specific_mtag", ""),
            (0, 1, (1, 0, 0), (1, 0, 0), 0, "trait_specific_mtag", "one_trait_gwas"),
            (0, 0, (1, 0, 0), (1, 0, 0), 0, "one_trait_gwas", "mtag_only"),
            (0, 0, (1, 0, 0), (0, 0, 0), 0, "mtag_only", ""),
            (0, 0, (0, 0, 0), (1, 0, 0), 0, "power_lost", ""),
            (0, 0, (0, 0, 0), (1, 1, 0), 0, "power_lost", ""),
            (0, 1, (0, 0, 0), (1, 0, 0), 0, "one_trait_gwas", "power_lost"),
            (0, 1, (0, 0, 0), (0, 0, 0), 0, "q_only", ""),
            (0, 0, (0, 0, 0), (0, 0, 0), 0, "none", ""),
        ],
    )  # fmt: skip
    def test_each_row(self, factor, q, mtag, gwas, opposite, pattern, also) -> None:
        assert classify_one(factor, q, mtag, gwas, opposite) == (pattern, also)

    def test_every_locus_has_a_pattern_and_every_pattern_a_locus(self) -> None:
        rows = list(itertools.product([0, 1], repeat=8))
        flags = np.array(rows, dtype=bool)
        got = rc.classify(flags[:, 0], flags[:, 1], flags[:, 2:5], flags[:, 5:8], flags[:, 0] & flags[:, 1])
        assert got.holds.any(axis=1).all()
        assert set(got.pattern) == {p.code for p in rc.PATTERNS}
        assert all(p.seen and p.cause and p.action for p in (*rc.PATTERNS, RUN_PATTERN))
        assert len(BY_CODE) == len(rc.PATTERNS) + 1

    def test_the_run(self) -> None:
        assert rc.primary_analysis([0.01, 0.06], 0.05, q_snp_available=True) is RUN_PATTERN
        assert rc.primary_analysis([0.01, 0.06], 0.05, q_snp_available=False) is None
        assert rc.primary_analysis([0.01, 0.05], 0.05, q_snp_available=True) is None

    def test_shapes(self) -> None:
        with pytest.raises(DataError, match="disagree"):
            rc.classify([True], [True, False], [[1, 0]], [[1, 0]], [False])
        assert rc.classify([], [], np.zeros((0, 2)), np.zeros((0, 2)), []).pattern.size == 0


def table(**changes) -> rc.HitTable:
    """Five SNPs: two of one locus on chromosome 1, one far off there, two on chromosome 2."""
    m, k = 5, 3
    columns = {
        "snp": np.array([f"rs{i}" for i in range(m)], dtype=object), "chromosome": np.array([1, 1, 1, 2, 2]),
        "bp": np.array([1_000_000, 1_400_000, 5_000_000, 100, 600_101]), "factor_z": np.full(m, 6.0),
        "factor_neglog10p": np.array([9.0, 12.0, 1.0, 1.0, np.nan]), "q_neglog10p": np.array([0.1, 0.1, 3.0, 0.1, 0.1]),
        "mtag_z": np.full((m, k), 6.0), "mtag_neglog10p": np.full((m, k), HIGH), "gwas_z": np.full((m, k), 6.0),
        "gwas_neglog10p": np.full((m, k), LOW),
    } | changes  # fmt: skip
    return rc.HitTable(TRAITS, **columns)


class TestLoci:
    def test_leads_patterns_and_extent(self) -> None:
        got = rc.reconcile_loci(table(), np.array([0.5, 0.6, 0.7]), n_factor_snps=2).set_index("locus")
        assert got["snp"].tolist() == ["rs1", "rs2", "rs3", "rs4"]
        assert got["pattern"].tolist() == ["common_factor", "trait_specific_mtag", "mtag_only", "mtag_only"]
        assert got.loc[1, ["start", "end", "n_snps"]].tolist() == [1_000_000, 1_400_000, 2]
        assert got.loc[1, "mtag_traits"] == "A,B,C"
        assert got["factor_neglog10p"].isna().tolist() == [False, False, False, True]
        assert got.loc[2, "action"] == BY_CODE["trait_specific_mtag"].action

    def test_q_snp_is_held_against_the_number_of_factor_snps(self) -> None:
        q = np.array([0.1, 2.0, 0.1, 0.1, 0.1])
        few = rc.reconcile_loci(table(q_neglog10p=q), np.ones(3), n_factor_snps=1)
        many = rc.reconcile_loci(table(q_neglog10p=q), np.ones(3), n_factor_snps=100)
        assert (bool(few.loc[0, "q_sig"]), bool(many.loc[0, "q_sig"])) == (True, False)

    def test_q_snp_is_that_of_the_lead_where_there_is_a_factor_hit(self) -> None:
        got = rc.reconcile_loci(table(q_neglog10p=np.array([9.0, 0.2, 3.0, 0.1, 0.1])), np.ones(3), n_factor_snps=2)
        assert got.loc[:1, "snp"].tolist() == ["rs1", "rs2"]
        assert got.loc[:1, "q_neglog10p"].tolist() == [0.2, 3.0]
        assert not got.loc[0, "q_sig"]

    def test_directions_follow_the_loadings(self) -> None:
        z = np.full((5, 3), 6.0)
        z[:, 1] = -6.0
        agreeing = rc.reconcile_loci(table(mtag_z=z), np.array([0.5, -0.6, 0.7]), n_factor_snps=2)
        assert agreeing.loc[0, "pattern"] == "common_factor"
        against = rc.reconcile_loci(table(mtag_z=z), np.array([0.5, 0.6, 0.7]), n_factor_snps=2)
        assert against.loc[0, ["pattern", "opposite_traits", "also"]].tolist() == ["opposite", "B", "common_factor"]
        assert against.loc[1, "opposite_traits"] == "", "no direction where the factor is not significant"

    def test_a_lead_decides_the_direction_where_the_two_hits_are_different_snps(self) -> None:
        p = np.full((5, 3), LOW)
        p[0] = HIGH
        z = np.full((5, 3), -6.0)
        got = rc.reconcile_loci(table(mtag_neglog10p=p, mtag_z=z, factor_neglog10p=np.array([1.0, 12.0, 1, 1, 1])), np.ones(3), 1)
        assert got.loc[0, "pattern"] == "opposite"

    def test_blocks_instead_of_distance(self) -> None:
        blocks = rc.read_blocks("# header\nchr1\t0\t1200000\nchr1 1200000 6000000\nchrX\t1\t2\n")
        got = rc.reconcile_loci(table(), np.ones(3), 2, blocks=blocks)
        assert got["snp"].tolist() == ["rs0", "rs1", "rs3", "rs4"]
        assert blocks["chr"].tolist() == [1, 1, 23]

    def test_no_hits(self) -> None:
        none, no = np.zeros(0), np.zeros(0, dtype=np.int64)
        empty = rc.HitTable(TRAITS, np.array([], dtype=object), no, no, none, none, none, *(np.zeros((0, 3)),) * 4)
        got = rc.reconcile_loci(empty, np.ones(3), 0)
        assert len(got) == 0
        assert list(got.columns) == list(rc.reconcile_loci(table(), np.ones(3), 0).columns)

    def test_wrong_input(self) -> None:
        with pytest.raises(DataError, match="mtag_z has the shape"):
            table(mtag_z=np.zeros((5, 2)))
        with pytest.raises(DataError, match="repeat a SNP"):
            table(snp=np.array(["rs1"] * 5, dtype=object))
        with pytest.raises(DataError, match="2 loadings for 3 traits"):
            rc.reconcile_loci(table(), np.ones(2), 1)


class TestRegions:
    def test_the_strongest_takes_its_neighbours_at_the_window_included(self) -> None:
        got = rc.regions_by_distance([1, 1, 1, 1], [0, 500_000, 1_000_000, 1_500_001], [8.0, 9.0, 8.0, 10.0])
        assert got.tolist() == [0, 0, 0, 1]
        assert rc.regions_by_distance([1, 2], [5, 5], [8.0, 9.0]).tolist() == [0, 1]
        assert rc.regions_by_distance([], [], []).size == 0

    def test_row_order_does_not_matter(self) -> None:
        rng = np.random.default_rng(1)
        chromosome, bp, y = rng.integers(1, 4, 200), rng.integers(0, 20_000_000, 200), rng.choice([8.0, 9.0, 10.0], 200)
        order = rng.permutation(200)
        plain = rc.regions_by_distance(chromosome, bp, y)
        assert np.array_equal(rc.regions_by_distance(chromosome[order], bp[order], y[order]), plain[order])

    @pytest.mark.parametrize(
        ("text", "words"),
        [("", "no block"), ("chr1 5", "is not a chromosome"), ("1 a b", "is not a chromosome"), ("zz 1 2", "is not a chromosome"),
         ("1 9 9", "not behind its start"), ("1 0 10\n1 5 20", "overlap")],
    )  # fmt: skip
    def test_wrong_bed_files(self, text: str, words: str) -> None:
        with pytest.raises(DataError, match=words):
            rc.read_blocks(text)

    def test_bed_starts_count_from_zero(self) -> None:
        blocks = rc.read_blocks("1\t0\t10\n1\t10\t20\n")
        assert rc.regions_by_blocks([1, 1, 1], [10, 11, 21], [8.0, 8.0, 8.0], blocks).tolist() == [0, 1, 2]


class TestReplication:
    def leads(self) -> pd.DataFrame:
        return pd.DataFrame({
            "snp": ["r1", "r2", "r3", "r4", "r5"], "a1": list("AAAAA"), "a2": list("GGGGG"),
            "beta": [0.06, -0.06, 0.06, 0.06, 0.06], "se": 0.01,
        })  # fmt: skip

    def panel(self) -> pd.DataFrame:
        return pd.DataFrame({
            "snp": ["r2", "r1", "r3", "r4"], "a1": ["g", "A", "A", "A"], "a2": ["a", "G", "C", "G"],
            "beta": [0.05, 0.05, 0.05, -0.05], "se": [0.02, 0.02, 0.02, 0.02],
        })  # fmt: skip

    def test_directions_alleles_and_power(self) -> None:
        got = rc.replicate(self.leads(), self.panel()).set_index("snp")
        assert got["found"].tolist() == [True, True, False, True, False]
        assert got.loc["r2", "beta"] == -0.05
        assert got["replicated"].tolist() == [True, True, False, False, False]
        assert got.loc["r1", "p"] == pytest.approx(stats.norm.sf(2.5))
        assert got.loc["r4", "p"] == pytest.approx(stats.norm.cdf(2.5))
        assert got["same_direction"].isna().tolist() == [False, False, True, False, True]
        assert got.loc["r1", "power"] == pytest.approx(stats.norm.cdf(3 - stats.norm.isf(0.05)))
        assert got.loc["r1", "power_corrected"] < got.loc["r1", "power"]
        found = rc.sign_test(got["same_direction"])
        assert (found.same, found.tested) == (2, 3)
        assert found.p == pytest.approx(0.5)

    def test_sign_test_is_the_binomials(self) -> None:
        for same, n in ((0, 5), (3, 5), (20, 20), (60, 100)):
            got = rc.sign_test([True] * same + [False] * (n - same) + [None])
            assert got.p == pytest.approx(stats.binomtest(same, n, alternative="greater").pvalue)
        assert np.isnan(rc.sign_test([]).p)
        assert rc.sign_test([True] * 2000).neglog10p == pytest.approx(2000 * np.log10(2))

    def test_winners_curse(self) -> None:
        p = 5e-8
        c = stats.norm.isf(p / 2)
        z = np.array([c + 0.01, 6.0, -7.0, 20.0, 3.0, np.nan])
        got = rc.conditional_effect(z, p)
        assert got[3] == pytest.approx(20, abs=1e-6)
        assert got[4] == 3.0
        assert np.isnan(got[5])
        assert (np.abs(got[:3]) < np.abs(z[:3])).all()
        assert (np.sign(got[:3]) == np.sign(z[:3])).all()
        for mean in (0.0, 2.0, 6.0):
            draws = np.linspace(-15, 15, 300_001) + mean
            density = stats.norm.pdf(draws - mean) * (np.abs(draws) > c)
            wanted = (draws * density).sum() / density.sum()
            assert _mean_beyond(np.array([mean]), c)[0] == pytest.approx(wanted, rel=1e-3, abs=1e-6)
        assert _mean_beyond(np.abs(got[:2]), c) == pytest.approx(z[:2], rel=1e-9)

    def test_wrong_input(self) -> None:
        with pytest.raises(DataError, match="columns se are missing"):
            rc.replicate(self.leads().drop(columns="se"), self.panel())
        with pytest.raises(DataError, match="repeat a SNP"):
            rc.replicate(self.leads(), pd.concat([self.panel()] * 2))


class TestClaims:
    def leads(self) -> pd.DataFrame:
        return pd.DataFrame({
            "snp": ["r1", "r2", "r3", "r4", "r5"], "p": [1e-9, 1e-9, 1e-7, 1e-9, 1e-9], "q_snp_p": [0.5, 0.001, 0.5, np.nan, 0.5],
        })  # fmt: skip

    def test_without_a_panel_claims_await_replication(self) -> None:
        got = rc.factor_claims(self.leads(), n_factor_snps=10).set_index("snp")
        assert got["claim"].tolist() == [
            "awaiting replication", "not supported", "not supported", "not supported", "awaiting replication",
        ]  # fmt: skip
        assert "Q_SNP p is not above 0.005" in got.loc["r2", "why"]
        assert "5e-08" in got.loc["r3", "why"]
        assert "Q_SNP is missing" in got.loc["r4", "why"]

    def test_the_number_of_factor_snps_counts(self) -> None:
        assert rc.factor_claims(self.leads(), n_factor_snps=100).loc[1, "claim"] == "awaiting replication"

    def test_with_a_panel(self) -> None:
        panel = pd.DataFrame({
            "snp": ["r1", "r5", "r5"], "found": [True, True, False], "replicated": [True, False, False],
            "same_direction": [True, True, pd.NA], "power_corrected": [0.9, 0.9, np.nan],
        })  # fmt: skip
        got = rc.factor_claims(self.leads(), 10, panel).set_index("snp")
        assert got.loc["r1", "claim"] == "supported"
        assert got.loc["r5", "claim"] == "not supported"
        assert "not replicated" in got.loc["r5", "why"]
        two = pd.concat([panel, panel.iloc[:1].assign(snp="r5")])
        assert rc.factor_claims(self.leads(), 10, two).loc[4, "claim"] == "supported", "one of two panels replicates it"
        weak = rc.factor_claims(self.leads(), 10, panel.assign(power_corrected=0.3)).set_index("snp")
        assert weak.loc["r5", "claim"] == "awaiting replication"
        assert "power was 0.30, below 0.8" in weak.loc["r5", "why"]
        against = panel.assign(power_corrected=0.3, same_direction=False)
        assert rc.factor_claims(self.leads(), 10, against).loc[4, "claim"] == "not supported"

    def test_the_panels_own_table_fits(self) -> None:
        leads = TestReplication().leads().assign(p=1e-9, q_snp_p=0.5)
        got = rc.factor_claims(leads, 5, rc.replicate(leads, TestReplication().panel()))
        assert got["claim"].tolist() == [
            "supported", "supported", "awaiting replication", "not supported", "awaiting replication",
        ]  # fmt: skip
        assert rc.factor_claims(leads.iloc[:0], 0, rc.replicate(leads.iloc[:0], TestReplication().panel())).empty

    def test_trait_specific_claims(self) -> None:
        loci = pd.DataFrame({
            "locus": [1, 2, 3], "snp": ["r1", "r2", "r3"], "factor_sig": [True, False, False],
            "mtag_traits": ["A,B", "A,B,C", ""],
        })  # fmt: skip
        got = rc.trait_claims(loci, {"A": 0.01, "B": 0.05})
        assert list(zip(got["trait"], got["claim"], strict=True)) == [
            ("A", "supported"), ("B", "not supported"), ("C", "not assessed"),
        ]  # fmt: skip
        assert set(rc.trait_claims(loci, None)["claim"]) == {"not assessed"}

    def test_settings_are_printed_and_checked(self) -> None:
        text = rc.ClaimRule(q_alpha=0.01).text(20)
        assert "Q_SNP p > 0.0005 (0.01 over 20 factor SNPs)" in text
        assert "factor p < 5e-08" in text
        assert "maxFDR of the trait < 0.05" in text
        with pytest.raises(ConfigError, match="max_fdr is 2"):
            rc.ClaimRule(max_fdr=2)
        with pytest.raises(DataError, match="columns p, q_snp_p are missing"):
            rc.factor_claims(pd.DataFrame({"snp": ["r1"]}), 1)


class TestEffects:
    def test_three_effects_with_intervals(self) -> None:
        got = rc.effect_table(
            ["r1", "r2"], ["A", "B"], beta=[[0.1, -0.2], [0.1, np.nan]], se=np.full((2, 2), 0.01), factor_beta=[0.2, -0.2],
            factor_se=[0.02, 0.02], loadings=[0.5, -0.8], mtag_beta=[[0.1, 0.1], [0.1, 0.1]], mtag_se=np.full((2, 2), 0.005),
        )
        first = got.loc[0]
        assert (first["snp"], first["trait"]) == ("r1", "A")
        assert first["implied_beta"] == pytest.approx(0.1)
        assert first["implied_se"] == pytest.approx(0.01)
        assert first["mtag_high"] - first["mtag_low"] == pytest.approx(2 * 1.959963984540054 * 0.005)
        assert got["implied_same"].tolist()[:3] == [True, True, False]
        assert got["mtag_same"].isna().tolist() == [False, False, False, True]
        signs = rc.sign_concordance(got).set_index(["trait", "first", "second"])
        assert signs.loc[("all", "input", "implied"), ["tested", "same"]].tolist() == [3, 2]
        assert signs.loc[("B", "implied", "mtag"), "tested"] == 2

    def test_shapes(self) -> None:
        one = np.zeros((1, 1))
        known = {"beta": one, "se": one, "factor_beta": [0], "factor_se": [0], "mtag_se": one}
        with pytest.raises(DataError, match="2 loadings"):
            rc.effect_table(["r"], ["A"], loadings=[1, 2], mtag_beta=one, **known)
        with pytest.raises(DataError, match="mtag effects have the shape"):
            rc.effect_table(["r"], ["A"], loadings=[1], mtag_beta=[0], **known)


def good_facts() -> dict[str, object]:
    return {
        "sample_sizes": {"A": 1e5, "B": 2e5}, "ancestry": "EUR", "ld_reference": "1000 Genomes EUR", "overlap_in_v": True,
        "gc": "standard", "cfi": 0.98, "tli": 0.97, "rmsea": 0.03, "srmr": 0.04, "loadings": {"A": 0.6, "B": -0.8},
        "rg": {("A", "B"): -0.5}, "heywood": (), "v_min_eigenvalue": 1e-3, "smoothed_share": 0.0, "z_smooth_max": 0.0,
        "lambda_gc": 1.2, "intercept": 1.02, "intercept_se": 0.01, "factor_h2": 0.2, "factor_h2_se": 0.01,
        "factor_rg": {"A": 0.8, "B": -0.9}, "factor_loci": 12, "q_loci": 3, "factor_loci_heterogeneous": 1,
        "max_fdr": {"A": 0.01, "B": 0.02}, "stable_loci": {"A": 0.9, "B": 0.85}, "replicated_same": 11, "replicated_tested": 12,
        "replicated_p": 0.003,
    }  # fmt: skip


CHANGES = [
    ("inputs", {"sample_sizes": {"A": 1e5, "B": np.nan}}, "fail"), ("ancestry", {"ld_reference": None}, "warn"),
    ("overlap", {"overlap_in_v": False}, "fail"), ("rg", {"rg": {("A", "B"): 0.97}}, "warn"),
    ("rg", {"rg": {("A", "B"): -1.1}}, "fail"),
    ("v_definite", {"v_min_eigenvalue": 0.0}, "fail"), ("cfi", {"cfi": 0.92}, "warn"), ("tli", {"tli": 0.89}, "fail"),
    ("rmsea", {"rmsea": 0.08}, "warn"), ("srmr", {"srmr": 0.081}, "fail"), ("cfi", {"cfi": np.nan}, "not assessed"),
    ("loadings", {"loadings": {"A": 0.2, "B": -0.5}}, "warn"), ("loadings", {"loadings": {"A": 0.96, "B": -0.5}}, "warn"),
    ("loadings", {"loadings": {"A": 1.2, "B": -0.5}}, "fail"), ("heywood", {"heywood": ("A",)}, "fail"),
    ("smoothing", {"smoothed_share": 0.01, "z_smooth_max": 0.2}, "warn"),
    ("smoothing", {"smoothed_share": 0.01, "z_smooth_max": 2.0}, "fail"),
    ("inflation", {"intercept": 1.1}, "warn"),
    ("inflation", {"intercept": 1.3}, "fail"), ("inflation", {"intercept": None}, "warn"),
    ("factor_h2", {"factor_h2": 0.03}, "warn"), ("factor_h2", {"factor_h2": -0.1}, "fail"),
    ("factor_rg", {"factor_rg": {"A": 0.8, "B": 0.9}}, "fail"), ("factor_rg", {"factor_rg": {"A": 0.1, "B": -0.9}}, "warn"),
    ("hits", {"factor_loci_heterogeneous": 7}, "warn"), ("hits", {"factor_loci": 0}, "warn"),
    ("max_fdr", {"max_fdr": {"A": 0.05}}, "fail"), ("stability", {"stable_loci": {"A": 0.9, "B": 0.6}}, "warn"),
    ("stability", {"stable_loci": {"A": 0.1}}, "fail"), ("direction", {"replicated_same": 7, "replicated_p": 0.39}, "warn"),
    ("direction", {"replicated_same": 4, "replicated_p": 0.9}, "fail"),
]  # fmt: skip


class TestChecklist:
    def test_a_run_without_flaws_passes_everything(self) -> None:
        items = rc.review(rc.ReviewFacts(**good_facts()))
        assert {i.verdict for i in items} == {"pass"}, [i for i in items if i.verdict != "pass"]
        assert rc.overall(items) == "pass"
        assert len({i.key for i in items}) == len(items)
        assert all(i.number != "–" and i.question and i.place for i in items)

    def test_an_empty_run_assesses_nothing(self) -> None:
        items = rc.review(rc.ReviewFacts())
        assert {i.key: i.verdict for i in items if i.verdict != "not assessed"} == {"ancestry": "warn"}
        assert rc.overall([i for i in items if i.key != "ancestry"]) == "not assessed"

    @pytest.mark.parametrize(("key", "change", "verdict"), CHANGES)
    def test_each_flaw_is_seen_where_it_is_and_nowhere_else(self, key, change, verdict) -> None:
        items = {i.key: i for i in rc.review(rc.ReviewFacts(**{**good_facts(), **change}))}
        assert items[key].verdict == verdict
        assert {k for k, i in items.items() if i.verdict != "pass"} <= {key}
        if verdict in ("warn", "fail"):
            assert rc.overall(tuple(items.values())) == verdict

    def test_every_item_can_go_wrong(self) -> None:
        assert {key for key, _, verdict in CHANGES if verdict in ("warn", "fail")} == {i.key for i in rc.review(rc.ReviewFacts())}

    def test_the_table_has_a_row_an_item(self) -> None:
        items = rc.review(rc.ReviewFacts(**good_facts()))
        table = rc.checklist_table(items)
        assert list(table.columns) == ["key", "question", "verdict", "number", "place"]
        assert table["number"].tolist() == [i.number for i in items]
        assert len(rc.checklist_table([])) == 0

    def test_numbers_are_shown_and_limits_are_settings(self) -> None:
        facts = rc.ReviewFacts(**good_facts())
        items = {i.key: i for i in rc.review(facts, rc.ReviewLimits(max_fdr=0.015, cfi=(0.99, 0.95)))}
        assert items["max_fdr"].verdict == "fail"
        assert items["max_fdr"].number == "largest 0.02 (B)"
        assert "below 0.015" in items["max_fdr"].question
        assert (items["cfi"].verdict, items["cfi"].number) == ("warn", "0.980")
        assert items["direction"].number == "11 of 12 leads, p 0.003"


class TestStability:
    def leads(self, *places: tuple[int, int]) -> pd.DataFrame:
        names = [f"r{i}" for i in range(len(places))]
        return pd.DataFrame({"snp": names, "chr": [c for c, _ in places], "bp": [b for _, b in places]})

    def test_loci_are_found_again_by_position(self) -> None:
        whole = self.leads((1, 10**6), (1, 5 * 10**6), (2, 10**6))
        near = self.leads((1, 15 * 10**5), (2, 10**6), (1, 55 * 10**5 + 1))
        got = rc.stable_loci(whole, {"A": near, "B": whole, "C": whole.iloc[:0]})
        assert got["A"].tolist() == [True, False, True]
        assert got["B"].all()
        assert not got["C"].any()
        assert not got["stable"].any()
        assert rc.stable_loci(whole, {"A": whole})["stable"].all()
        assert rc.stable_loci(whole.iloc[:0], {"A": whole}).empty

    def test_columns(self) -> None:
        with pytest.raises(DataError, match="A: columns bp are missing"):
            rc.stable_loci(self.leads((1, 1)), {"A": self.leads((1, 1)).drop(columns="bp")})


class TestFiles:
    def test_a_cohort_s_file(self, tmp_path) -> None:
        file = tmp_path / "cohort.txt"
        file.write_text("snp a1 a2 beta se p\nrs1 a c 0.5 0.1 1\nrs2 A G NA 0.1 1\n", encoding="utf-8")
        rows = given_panel(file)
        assert rows.to_dict("records") == [{"snp": "rs1", "a1": "A", "a2": "C", "beta": 0.5, "se": 0.1}]

    @pytest.mark.parametrize(("text", "words"), [
        ("snp a1 a2 beta\nrs1 A C 1\n", "columns se are missing"), ("snp a1 a2 beta se\nrs1 A C x 1\n", "1 of 1 values of beta"),
        ("", "cannot be read"), (None, "cannot be read"),
    ])  # fmt: skip
    def test_what_is_wrong_with_it_is_told(self, tmp_path, text, words) -> None:
        file = tmp_path / "cohort.txt"
        if text is not None:
            file.write_text(text, encoding="utf-8")
        with pytest.raises(DataError, match=words):
            given_panel(file)
