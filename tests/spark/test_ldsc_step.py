"""LDSC on Spark: the same bits as in memory, only the missing pairs made, errors that name what is missing."""

import json
from pathlib import Path

import golden_path  # noqa: F401 - makes the data modules of other folders findable
import numpy as np
import pandas as pd
import pytest
from mtag_golden_data import DATA, TRAITS, six, total_M

from gsem_spark.catalog.contracts import spark_schema
from gsem_spark.catalog.schemas import LD_SCORES, SUMSTATS
from gsem_spark.errors import ConfigError, DataError
from gsem_spark.methods.ldsc.arrays import LdscTrait, ldsc_from_arrays
from gsem_spark.methods.ldsc.two_step_covstruct import two_step_from_arrays
from gsem_spark.steps.ldsc.step import LdscConfig, LdscStep, ldsc
from gsem_spark.steps.ldsc.two_step import trait_groups

M_PER_CHROMOSOME = 50_000.0


def simulated(m=9000, k=3, seed=4):
    """A panel on two chromosomes and k traits, each on its own share of the SNPs."""
    rng = np.random.default_rng(seed)
    panel = pd.DataFrame({
        "panel": "toy", "chr": np.repeat([1, 2], [m - m // 3, m // 3]), "snp": [f"rs{i}" for i in range(m)],
        "bp": np.arange(m) * 100, "cm": np.nan,
        "maf": 0.3, "l2": rng.lognormal(3.5, 0.8, m), "wld": rng.lognormal(3, 0.5, m), "ord": np.arange(m),
        "m": M_PER_CHROMOSOME,
    })
    factor = rng.normal(size=m) * np.sqrt(panel.l2 / 100)
    frames = []
    for j in range(k):
        at = np.flatnonzero(rng.random(m) < 0.9)
        frames.append(pd.DataFrame({
            "trait": f"T{j}", "snp": panel.snp[at], "chr": panel.chr[at], "bp": panel.bp[at], "a1": "A", "a2": "G",
            "eaf": 0.3, "maf": 0.3, "info": np.nan,
            "n": rng.uniform(9e3, 1e4, at.size), "z": rng.normal(size=at.size) + factor[at], "beta": np.nan,
            "se": np.nan, "neglog10p": np.nan, "file_id": f"file{j}",
        }))
    return panel, frames


def fill(ws, panel, frames, shuffle=None, parts=2):
    """Write a simulated set into a workspace."""
    spark = ws.spark

    def make(data, schema):
        data = data if shuffle is None else data.sample(frac=1.0, random_state=shuffle)
        rows = data[list(schema.names)].astype(object).where(data[list(schema.names)].notna(), None)
        return spark.createDataFrame(list(rows.itertuples(index=False, name=None)), spark_schema(schema)).repartition(parts)

    rows = [trait_row(frame.trait.iloc[0], frame.file_id.iloc[0]) for frame in frames]
    scopes = [{"trait": row["trait"]} for row in rows]
    ws.replace("ld_scores", make(panel, LD_SCORES), {"panel": "toy"})
    ws.replace("sumstats", make(pd.concat(frames), SUMSTATS), scopes)
    ws.replace("traits", ws.frame("traits", rows), scopes)


def trait_row(name, file_id, settings="{}", sample=None, population=None):
    return {
        "trait": name, "file_id": file_id, "file": f"{name}.gz", "sha256": "0", "scale": "linear", "n": None, "columns": {},
        "sample_prevalence": sample, "population_prevalence": population, "settings": settings, "rows_in": 1, "rows_kept": 1,
    }


def in_memory(panel, frames, estimator=ldsc_from_arrays, **kwargs):
    place = panel.set_index("snp").ord
    traits = [LdscTrait(f.trait.iloc[0], place[f.snp].to_numpy(), f.z.to_numpy(), f.n.to_numpy()) for f in frames]
    return estimator(traits, panel.l2, panel.wld, panel.groupby("chr").m.max().sum(), **kwargs)


def assert_same_bits(a, b):
    for part in ("S", "V", "I", "N"):
        assert np.array_equal(getattr(a, part), getattr(b, part)), part
    assert a.M == b.M


@pytest.fixture(scope="module")
def data():
    return simulated()


@pytest.fixture(scope="module")
def filled(spark, tmp_path_factory, data):
    from gsem_spark.catalog.workspace import Workspace

    ws = Workspace.create(str(tmp_path_factory.mktemp("ldsc") / "ws"), "delta", spark)
    fill(ws, *data)
    return ws


def test_spark_gives_the_bits_of_memory_and_a_new_trait_costs_its_own_pairs(filled, data):
    panel, frames = data
    two = ldsc(filled, ["T0", "T1"], 50, panel="toy")
    assert_same_bits(two, in_memory(panel, frames[:2], n_blocks=50))
    step = LdscStep(LdscConfig(traits=("T2", "T0", "T1"), panel="toy", n_blocks=50))
    report = step.run(filled)
    assert report.status == "done"
    assert (report.summary["pairs_made"], report.summary["pairs_kept"]) == (3, 3)
    three = ldsc(filled, ["T2", "T0", "T1"], 50, panel="toy")
    assert_same_bits(three.subset(["T0", "T1"]), two)
    assert_same_bits(three, in_memory(panel, [frames[2], frames[0], frames[1]], n_blocks=50))
    assert {r["trait"] for r in three.diagnostics["traits"]} == {"T0", "T1", "T2"}
    assert three.diagnostics["traits"][0]["n_merged"] == len(frames[2])


def test_the_same_run_again_does_nothing(filled):
    ldsc(filled, ["T0"], 50, panel="toy")
    versions = {t: filled.version(t) for t in ("ldsc_blocks", "covstructs", "runs")}
    again = LdscStep(LdscConfig(traits=("T0",), panel="toy", n_blocks=50)).run(filled)
    assert again.status == "skipped"
    assert versions == {t: filled.version(t) for t in versions}


@pytest.mark.slow  # the contract suite's case of the step, on more rows
def test_partitions_and_row_order_leave_no_trace(filled, spark, tmp_path, data):
    from gsem_spark.catalog.workspace import Workspace

    other = Workspace.create(str(tmp_path / "other"), "parquet", spark)
    fill(other, *data, shuffle=3, parts=5)
    before = spark.conf.get("spark.sql.shuffle.partitions")
    spark.conf.set("spark.sql.shuffle.partitions", "7")
    spark.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", "777")
    try:
        mixed = ldsc(other, ["T0", "T1", "T2"], 50, panel="toy")
    finally:
        spark.conf.set("spark.sql.shuffle.partitions", before)
        spark.conf.unset("spark.sql.execution.arrow.maxRecordsPerBatch")
    plain = ldsc(filled, ["T0", "T1", "T2"], 50, panel="toy")
    assert_same_bits(plain, mixed)
    assert plain.diagnostics == mixed.diagnostics


def test_prevalences_come_from_the_table_or_the_call(filled, data):
    plain = ldsc(filled, ["T0", "T1"], 50, panel="toy")
    liability = ldsc(
        filled, ["T0", "T1"], 50, panel="toy", sample_prevalence={"T0": 0.5}, population_prevalence=[0.01, None]
    )
    assert list(liability.liability) == [True, False]
    assert liability.S[0, 0] / plain.S[0, 0] == pytest.approx(0.0099**2 / (0.25 * 0.0266521422**2), rel=1e-8)
    assert liability.S[1, 1] == plain.S[1, 1]


def test_chromosomes(filled, data):
    panel, frames = data
    odd = panel[panel.chr == 1]
    wanted = in_memory(odd, [f[f.chr == 1] for f in frames[:1]], n_blocks=20)
    assert_same_bits(ldsc(filled, ["T0"], 20, panel="toy", chromosomes="odd"), wanted)
    assert_same_bits(ldsc(filled, ["T0"], 20, panel="toy", chromosomes=[1]), wanted)


def test_readers_filters(tmp_workspace, data):
    panel, frames = data
    frame = frames[0].copy()
    frame.loc[frame.index[:500], "info"] = 0.89
    frame.loc[frame.index[500:900], "eaf"] = 0.995
    frame.loc[frame.index[900:1000], ["eaf", "maf"]] = [np.nan, 0.005]
    frame.loc[frame.index[1000:1100], "z"] = np.nan
    fill(tmp_workspace, panel, [frame])
    assert_same_bits(ldsc(tmp_workspace, ["T0"], 50, panel="toy"), in_memory(panel, [frame[1100:]], n_blocks=50))
    loose = ldsc(tmp_workspace, ["T0"], 50, panel="toy", info_min=0.0, maf_min=0.0)
    assert_same_bits(loose, in_memory(panel, [frame], n_blocks=50))


def test_what_is_missing_is_named(filled):
    with pytest.raises(DataError, match="no munged summary statistics of X; there are T0, T1, T2"):
        ldsc(filled, ["T0", "X"], panel="toy")
    with pytest.raises(DataError, match="no LD scores of panel 'eur'; there are toy"):
        ldsc(filled, ["T0"])
    with pytest.raises(DataError, match="no LD scores on chromosomes"):
        ldsc(filled, ["T0"], panel="toy", chromosomes=[9])
    with pytest.raises(ConfigError, match="traits named twice: T0"):
        ldsc(filled, ["T0", "T0"], panel="toy")
    with pytest.raises(ConfigError, match="sample_prevalence names X"):
        ldsc(filled, ["T0"], panel="toy", sample_prevalence={"X": 0.1})
    with pytest.raises(DataError, match="too few for 9000 jackknife blocks"):
        ldsc(filled, ["T0"], 9000, panel="toy")


def test_no_row_gives_a_status_and_a_clear_error(tmp_workspace, data):
    panel, frames = data
    frame = frames[0].assign(z=np.nan)
    fill(tmp_workspace, panel, [frame])
    report = LdscStep(LdscConfig(traits=("T0",), panel="toy")).run(tmp_workspace)
    assert report.status == "empty"
    for _ in range(2):
        with pytest.raises(DataError, match="no SNP of these traits"):
            ldsc(tmp_workspace, ["T0"], panel="toy")


def test_the_reference_through_spark(tmp_workspace, small, demo_data):
    """GenomicSEM's munged files, duplicates and all, through the distributed road: 1e-8 of its S, V, I, N."""
    names = ["AAA", "BBB", "CCC", "DDD", "EEE", "FFF"]
    prevalence = {"AAA": (0.35, 0.05), "BBB": (0.5, 0.01), "EEE": (0.2, 0.1)}
    ld = demo_data / "ld"
    panel = pd.concat([
        pd.read_csv(ld / f"{c}.l2.ldscore.gz", sep="\t").assign(m=float((ld / f"{c}.l2.M_5_50").read_text()))
        for c in range(1, 23)
    ], ignore_index=True).rename(columns=str.lower)
    panel = panel.assign(panel="toy", wld=panel.l2, ord=np.arange(len(panel)))
    munged = []
    for name in names:
        frame = pd.read_csv(small / "answers" / "munged" / f"{name}.sumstats.gz", sep="\t").dropna().rename(columns=str.lower)
        # A reference MAF below the reader's limit: under the reference's rules it must not matter.
        munged.append(frame.assign(trait=name, file_id=name, chr=1, bp=1, maf=0.001, n=frame.n.astype(float)))
    fill(tmp_workspace, panel, [f.reindex(columns=SUMSTATS.names) for f in munged])
    rules = json.dumps({"compat": "genomicsem"})
    rows = [trait_row(name, name, rules, *prevalence.get(name, (None, None))) for name in names]
    tmp_workspace.replace("traits", tmp_workspace.frame("traits", rows), [{"trait": name} for name in names])
    cov = ldsc(tmp_workspace, names, panel="toy")
    for part in "SVIN":
        wanted = np.loadtxt(Path(small) / "answers" / f"ldsc_{part}.tsv", skiprows=1, ndmin=2)
        np.testing.assert_allclose(getattr(cov, part).reshape(wanted.shape), wanted, rtol=1e-8, atol=0, err_msg=part)


# --- method "ldsc" -------------------------------------------------------------------------------------------------------------
def test_the_estimator_of_ldsc_gives_the_bits_of_memory(filled, data, monkeypatch):
    panel, frames = data
    names = ["T2", "T0", "T1"]
    wanted = in_memory(panel, [frames[2], frames[0], frames[1]], two_step_from_arrays, n_blocks=50)
    made = ldsc(filled, names, 50, panel="toy", method="ldsc")
    assert_same_bits(made, wanted)
    assert made.diagnostics["traits"] == wanted.diagnostics["traits"]
    assert made.diagnostics["pairs"] == wanted.diagnostics["pairs"]
    assert not np.array_equal(made.S, ldsc(filled, names, 50, panel="toy").S)
    limited = ldsc(filled, names, 50, panel="toy", method="ldsc", chisq_max=20, two_step=15, two_step_pairs=12)
    settings = {"chisq_max": 20, "cut": 15, "cut_pairs": 12}
    assert_same_bits(limited, in_memory(panel, [frames[2], frames[0], frames[1]], two_step_from_arrays, n_blocks=50, **settings))
    assert limited.diagnostics["traits"][0]["n_snps"] < made.diagnostics["traits"][0]["n_snps"]
    assert limited.settings["two_step"] == 15


def test_what_is_wrong_with_the_estimator_of_ldsc_is_named(filled):
    with pytest.raises(ConfigError, match="two_step: only method ldsc goes in two steps"):
        ldsc(filled, ["T0"], panel="toy", two_step=25)
    with pytest.raises(DataError, match=r"trait T0: .*too few for 9000 jackknife blocks"):
        ldsc(filled, ["T0"], 9000, panel="toy", method="ldsc")


def test_groups_of_traits_cover_all_pairs_and_stay_small():
    for k in (1, 2, 3, 6, 7, 50):
        for tasks in (1, 4, 16):
            groups = trait_groups(k, tasks)
            assert [t for group in groups for t in group] == list(range(k))
            assert max(len(group) for group in groups) <= 6
            assert len(groups) == k or len(groups) * (len(groups) + 1) // 2 >= tasks


@pytest.mark.slow
def test_the_program_ldsc_through_spark(parquet_workspace):
    """``--h2`` of six traits and ``--rg`` of their fifteen pairs by bulik/ldsc 1.0.1 (``tests/data/mtag/ldsc.json``): 1e-10."""
    answers, table = json.loads((DATA / "ldsc.json").read_text()), six()
    last = table["CHR"] == table["CHR"].max()
    panel = pd.DataFrame({
        "panel": "toy", "chr": table["CHR"], "snp": table["SNP"], "bp": table["BP"], "cm": np.nan, "maf": np.nan,
        "l2": table["L2"], "wld": table["L2"], "ord": np.arange(len(table)), "m": np.where(last, total_M(), 0.0),
    })  # fmt: skip
    frames = []
    for name in TRAITS:
        has = table[table[f"Z{name}"].notna() & ~table["ambiguous"]]
        frames.append(pd.DataFrame({
            "trait": name, "snp": has["SNP"], "chr": has["CHR"], "bp": has["BP"], "a1": has["A1"], "a2": has["A2"],
            "n": has[f"N{name}"].astype(float), "z": has[f"Z{name}"], "file_id": name,
        }).reindex(columns=SUMSTATS.names))  # fmt: skip
    fill(parquet_workspace, panel, frames)
    cov = ldsc(parquet_workspace, TRAITS, panel="toy", method="ldsc")
    for t, trait in enumerate(TRAITS):
        wanted, row = answers["h2"][trait], cov.diagnostics["traits"][t]
        np.testing.assert_allclose(cov.S[t, t], wanted["h2"], rtol=1e-10)
        np.testing.assert_allclose(row["h2_observed_se"], wanted["h2_se"], rtol=1e-10)
        np.testing.assert_allclose(row["intercept"], wanted["intercept"], rtol=1e-10)
        np.testing.assert_allclose(row["intercept_se"], wanted["intercept_se"], rtol=1e-10)
    assert len(cov.diagnostics["pairs"]) == len(answers["rg"]) == 15
    for row in cov.diagnostics["pairs"]:
        wanted = answers["rg"][f"{row['trait_1']}__{row['trait_2']}"]
        np.testing.assert_allclose([row["rg"], row["rg_se"]], [wanted["rg"], wanted["rg_se"]], rtol=1e-10)
        np.testing.assert_allclose(row["cov_g_observed_se"], wanted["gencov_se"], rtol=1e-10)
        np.testing.assert_allclose(row["intercept"], wanted["gencov_intercept"], rtol=0, atol=1e-12)
