"""One case per registered step: how to make a tiny workspace that the step can run in, and ways to bend its input.

A new step registers by one more entry of :data:`CASES`; :mod:`test_step_contract` then holds it to every promise.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from genotype_files import Cohort, write_bed
from scipy import stats
from workspace_tools import emptied, scrambled

from gsem_spark.catalog.workspace import Workspace
from gsem_spark.errors import DataError, GsemError, ModelError
from gsem_spark.methods.ldsc.covstruct import CovStruct
from gsem_spark.steps.genotypes.kinship import KinshipStep
from gsem_spark.steps.genotypes.kinship_config import KinshipConfig
from gsem_spark.steps.genotypes.step import GenotypesConfig, GenotypesStep
from gsem_spark.steps.gwas.common_factor import GwasConfig, GwasStep
from gsem_spark.steps.gwas.panel import BuildPanel, PanelConfig
from gsem_spark.steps.gwas.user_gwas import UserGwasConfig, UserGwasStep
from gsem_spark.steps.gwas.wald import WaldConfig, WaldStep
from gsem_spark.steps.ldsc.inputs import LdscConfig
from gsem_spark.steps.ldsc.step import LdscStep
from gsem_spark.steps.ldsc.two_step import TwoStepLdscStep
from gsem_spark.steps.lmm.bootstrap import BootstrapStep
from gsem_spark.steps.lmm.config import BootstrapConfig, LmmConfig, MtlmmConfig
from gsem_spark.steps.lmm.multitrait import MtlmmStep
from gsem_spark.steps.lmm.step import LmmStep
from gsem_spark.steps.models.common_factor import FitConfig, FitStep
from gsem_spark.steps.models.user_model import UserModelConfig, UserModelStep
from gsem_spark.steps.mtag.fdr import FdrConfig, FdrStep
from gsem_spark.steps.mtag.step import MtagConfig, MtagStep
from gsem_spark.steps.munge.step import MungeConfig, MungeStep
from gsem_spark.steps.munge.traits import Trait
from gsem_spark.steps.reconcile.review import ReviewConfig, ReviewStep
from gsem_spark.steps.reconcile.step import ReconcileConfig, ReconcileStep
from gsem_spark.steps.references.ld_panel import LdScoresConfig, LoadLdScores
from gsem_spark.steps.references.variants import LoadVariants, VariantsConfig
from gsem_spark.steps.step import Step, StepConfig

TRAITS = ("AAA", "BBB", "CCC")
N_SNPS = 4_400
"""More than one chunk of LD score regression (4,096 SNPs), so that sums over chunks are put to the test too."""
CHROMOSOMES = (1, 2, 10)
N = 50_000
_PAIRS = (("A", "C"), ("T", "G"), ("G", "A"), ("C", "T"), ("A", "T"))
_COMPLEMENT = {"A": "T", "T": "A", "C": "G", "G": "C"}


@dataclass(frozen=True)
class StepCase:
    """What the contract suite must know of one step."""

    make: Callable[[Inputs], Step[Any]]
    """The step on ordinary input."""
    configs: Callable[[Inputs], list[StepConfig]]
    """Configs that between them use every setting."""
    empty: Callable[[Inputs, Workspace], Step[Any]]
    """Leaves the step no input row (in the tables, or in the files of the step that comes back)."""
    permuted: Callable[[Inputs, Workspace], Step[Any]] | None
    """The same input in another row order and other partitions; None where the input has no rows."""
    starts_from: str | None = None
    """The case whose finished workspace the step starts in; None for an empty one."""
    killed_after: str | None = None
    """The case whose finished workspace the step is killed in, when other than ``starts_from``: what the step would have another
    step do first is then done."""
    empty_error: type[GsemError] | None = None
    """The error that is the answer to empty input, where it has no meaning."""
    other: Callable[[Inputs], Step[Any]] | None = None
    """The step on other input, written to the same place; None where every input has a place of its own."""
    sizes: Mapping[str, int] = field(default_factory=dict)
    """Constants that cut the work into parts, as ``module.NAME``, with values that make many parts of the tiny input."""
    named_by_bytes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Per table the columns that tell which bytes the input had, or on which line: they may move with the order of lines."""
    figures: tuple[str, ...] = ()
    """Entries of the report's summary that are results."""


class Inputs:
    """Raw files of a small study: a reference, LD scores and three dirty GWAS, each also shuffled, empty, and different."""

    def __init__(self, root: Path) -> None:
        self.root = root
        rng = np.random.default_rng(20)
        reference = _reference(rng)
        ld = _ld_scores(rng, reference)
        self.cov = _covstruct()
        raw = _raw(rng, reference, ld)
        order = np.random.default_rng(21).permutation
        for variant, change in {
            "plain": lambda frame: frame,
            "shuffled": lambda frame: frame.iloc[order(len(frame))],
            "empty": lambda frame: frame.iloc[:0],
            "other": lambda frame: frame.iloc[: len(frame) // 2],
        }.items():
            folder = root / variant
            folder.mkdir(parents=True)
            change(reference).to_csv(folder / "reference.tsv", sep="\t", index=False)
            change(reference[["SNP", "A1", "A2"]].iloc[::2]).to_csv(folder / "hm3.tsv", sep="\t", index=False)
            for chromosome, part in ld.groupby("CHR"):
                with gzip.open(folder / f"{chromosome}.l2.ldscore.gz", "wt") as out:
                    change(part).to_csv(out, sep="\t", index=False)
                (folder / f"{chromosome}.l2.M_5_50").write_text(f"{40_000 + len(part)}\n")
            for (name, frame), separator in zip(raw.items(), ("\t", ",", " "), strict=True):
                change(frame).to_csv(folder / f"{name}.txt", sep=separator, index=False, na_rep="NA", float_format="%.12g")
            write_bed(folder / "mice", _mice(variant))
            change(_mouse_traits()).to_csv(folder / "mice.pheno", sep="\t", index=False, na_rep="NA")

    def folder(self, variant: str = "plain") -> str:
        """Folder of one variant of all files."""
        return str(self.root / variant)

    def traits(self, variant: str = "plain") -> tuple[Trait, ...]:
        """The three traits, each with other settings."""
        a, b, c = (f"{self.folder(variant)}/{t}.txt" for t in TRAITS)
        return (
            Trait("AAA", a),
            Trait("BBB", b, scale="logistic", sample_prevalence=0.5, population_prevalence=0.1),
            Trait("CCC", c, n=N, columns={"snp": "MarkerID"}),
        )


def _mice(variant: str) -> Cohort:
    """Genotypes of a few samples on three chromosomes; ``empty``: none of them varies; ``other``: fewer variants."""
    cohort = Cohort.draw(40, {1: 130, 2: 60, 19: 70, 23: 5}, missing=0.03, seed=30)
    if variant == "empty":
        return cohort.with_calls(np.zeros_like(cohort.G))
    return cohort.variants(slice(0, 150)) if variant == "other" else cohort


def _mouse_traits() -> pd.DataFrame:
    rng, cohort = np.random.default_rng(31), _mice("plain")
    weight = cohort.G[3] + rng.normal(size=40)
    return pd.DataFrame({"FID": cohort.fid, "IID": cohort.iid, "weight": np.where(np.arange(40) == 7, np.nan, weight),
                         "length": 0.5 * weight + rng.normal(size=40), "age": rng.uniform(1, 9, 40)})


def _reference(rng: np.random.Generator) -> pd.DataFrame:
    at = np.arange(N_SNPS)
    pairs = [_PAIRS[i % len(_PAIRS)] for i in at]
    return pd.DataFrame(
        {
            "SNP": [f"rs{i + 1}" for i in at],
            "CHR": np.repeat(CHROMOSOMES, [2_000, 1_400, 1_000]),
            "BP": (at + 1) * 50_000,
            "A1": [p[0] for p in pairs],
            "A2": [p[1] for p in pairs],
            "MAF": rng.uniform(0.02, 0.5, N_SNPS).round(4),
        }
    )


def _ld_scores(rng: np.random.Generator, reference: pd.DataFrame) -> pd.DataFrame:
    return reference[["CHR", "SNP", "BP"]].assign(CM=0.0, MAF=reference["MAF"], L2=rng.lognormal(3.5, 0.8, N_SNPS).round(3))


def _raw(rng: np.random.Generator, reference: pd.DataFrame, ld: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Three GWAS in three shapes: betas with everything, odds ratios, and Z alone; each with rows that a rule drops."""
    factor = rng.normal(size=N_SNPS) * np.sqrt(ld["L2"].to_numpy() / 40)
    factor[[100, 101, 2_500, 4_000]] += (12.0, 9.0, -11.0, 40.0)  # hits of the factor
    frames = {}
    for number, name in enumerate(TRAITS):
        z = factor + rng.normal(size=N_SNPS)
        z[3_000 + number] += 15.0  # a hit of this trait alone
        se = 1.0 / np.sqrt(2 * reference["MAF"] * (1 - reference["MAF"]) * N)
        common = reference[["SNP", "CHR", "BP", "A1", "A2"]].assign(P=2 * stats.norm.sf(np.abs(z)), FRQ=reference["MAF"])
        if name == "AAA":
            frame = common.assign(BETA=z * se, SE=se, INFO=rng.uniform(0.55, 1, N_SNPS).round(3), N=N)
            flip = np.arange(N_SNPS) % 7 == 3  # the other strand
            frame.loc[flip, ["A1", "A2"]] = frame.loc[flip, ["A1", "A2"]].replace(_COMPLEMENT)
        elif name == "BBB":
            frame = common.assign(OR=np.exp(z * 2 * se), SE=2 * se, N=rng.integers(N - 500, N, N_SNPS)).drop(columns="FRQ")
            frame[["A1", "A2"]] = frame[["A2", "A1"]].to_numpy()  # the other allele
            frame["OR"] = 1 / frame["OR"]
        else:
            frame = common.assign(Z=z).rename(columns={"SNP": "MarkerID"})
        frame.loc[rng.random(N_SNPS) < 0.01, "P"] = np.nan
        frame.loc[frame.index[20 + number], "P"] = 1.5
        frame.loc[frame.index[40 + number], ["A1", "A2"]] = ["A", "A"]
        frame.loc[frame.index[60 + number], frame.columns[0]] = f"rs_unknown_{number}"
        again = frame.iloc[[200, 300 + number]]  # lines that stand there twice
        frames[name] = pd.concat([frame, again], ignore_index=True)
    return frames


def _covstruct() -> CovStruct:
    loadings = np.array([0.6, 0.5, 0.55])
    S = np.outer(loadings, loadings) * 0.5 + np.diag([0.1, 0.12, 0.09])
    S[0, 1] = S[1, 0] = S[0, 1] + 0.003
    intercepts = np.array([[1.02, 0.1, 0.05], [0.1, 1.01, 0.08], [0.05, 0.08, 1.03]])
    return CovStruct.from_matrices(S, np.eye(6) * 4e-4, intercepts, TRAITS, M=1e6)


# --- the cases -----------------------------------------------------------------------------------------------------------------
def _variants(i: Inputs, variant: str = "plain", *, hm3: bool = True) -> LoadVariants:
    f = i.folder(variant)
    return LoadVariants(VariantsConfig(variants=f"{f}/reference.tsv", hm3=f"{f}/hm3.tsv" if hm3 else None))


def _ld(i: Inputs, variant: str = "plain") -> LoadLdScores:
    return LoadLdScores(LdScoresConfig(ld_scores=i.folder(variant), panel="toy"))


def _munge(i: Inputs, variant: str = "plain", **settings: Any) -> MungeStep:
    return MungeStep(MungeConfig(traits=i.traits(variant), **settings))


def _ldsc(i: Inputs) -> LdscStep:
    return LdscStep(LdscConfig(traits=TRAITS, panel="toy", n_blocks=20))


def _two_step(i: Inputs) -> TwoStepLdscStep:
    return TwoStepLdscStep(LdscConfig(traits=TRAITS, panel="toy", method="ldsc", n_blocks=20))


def _fit(i: Inputs) -> FitStep:
    return FitStep(FitConfig(traits=TRAITS), i.cov)


def _nothing() -> CovStruct:
    return CovStruct.from_matrices(np.empty((0, 0)), np.empty((0, 0)), np.empty((0, 0)), ())


def _no_traits(i: Inputs, ws: Workspace) -> FitStep:
    return FitStep(FitConfig(traits=TRAITS), _nothing())


def _user_model(i: Inputs, **settings: Any) -> UserModelStep:
    return UserModelStep(UserModelConfig(model=f"F1 =~ {' + '.join(TRAITS)}", **settings), i.cov)


def _genotypes(i: Inputs, variant: str = "plain", **settings: Any) -> GenotypesStep:
    return GenotypesStep(GenotypesConfig(files=(f"{i.folder(variant)}/mice.bed",), cohort="mice", **settings))


def _all_genotypes(i: Inputs) -> GenotypesConfig:
    return GenotypesConfig(
        files=("a.bed", "b.bed"), cohort="mice", maf=0.05, missing=0.1, hwe_p=1e-6, info=0.3, keep="keep.txt",
        remove=("a 1", "a 2"), chromosomes=(1, 19), autosomes=19, sex_chromosomes="refuse", multiallelic="refuse",
        keep_monomorphic=True, field="GT", sample_file="a.sample",
    )  # fmt: skip


def _lmm(i: Inputs, variant: str = "plain", **settings: Any) -> LmmStep:
    given = {"traits": ("weight",), "covar": ("age",), "test": ("wald_f", "lrt_ml"), "chromosomes": (2, 19),
             **settings}
    return LmmStep(LmmConfig(phenotypes=f"{i.folder(variant)}/mice.pheno", **given))


def _all_lmm(i: Inputs) -> LmmConfig:
    return LmmConfig(
        phenotypes="p.txt", covariates="c.txt", traits=("a", "b"), formula="~ age + (1|cage)", gaussianize=True, cohort="mice",
        kinship="kinship-1", loco=False, na=("-9",), chromosomes=(1, 2), exact=False, precision="float32", test=("score",),
        inter=("age",), inter0=("sex",), step=1, sets="sets.txt",
    )  # fmt: skip


def _mtlmm(i: Inputs, variant: str = "plain", **settings: Any) -> MtlmmStep:
    return MtlmmStep(MtlmmConfig(
        phenotypes=f"{i.folder(variant)}/mice.pheno", traits=("weight", "length"), chromosomes=(2, 19), **settings
    ))  # fmt: skip


def _all_mtlmm(i: Inputs) -> MtlmmConfig:
    return MtlmmConfig(
        phenotypes="p.txt", covariates="c.txt", covar=("age",), gaussianize=True, cohort="mice", kinship="kinship-1", loco=False,
        na=("-9",), exact=True, precision="float32", test=("score",), designs=("specific",), genetic="low_rank",
        residual="diagonal", rank=2, formula=None,
    )  # fmt: skip


def _bootstrap(i: Inputs, variant: str = "plain", **settings: Any) -> BootstrapStep:
    return BootstrapStep(BootstrapConfig(
        phenotypes=f"{i.folder(variant)}/mice.pheno", traits=("weight",), covar=("age",), n=150, **settings
    ))  # fmt: skip


def _all_bootstraps(i: Inputs) -> BootstrapConfig:
    return BootstrapConfig(
        phenotypes="p.txt", covariates="c.txt", formula="a ~ age", gaussianize=True, cohort="mice", kinship="kinship-1",
        loco=None, na=("-9",), n=20, kind="residual", seed=3, level=0.9, reml=False,
    )  # fmt: skip


def _all_kinships() -> list[KinshipConfig]:
    return [
        KinshipConfig(cohort="mice", kind="low_rank", rank=10, scale="gcta", seed=7, loco=False, snps=("rs1",), missing=0.1,
                      iterations=3),
        KinshipConfig(kind="given", file="k.txt", ids="k.fam", normalise=True),
        KinshipConfig(kind="pedigree", file="k.fam", unknown_parents="founders"),
    ]


def _panel(i: Inputs) -> BuildPanel:
    return BuildPanel(PanelConfig(traits=TRAITS))


def _gwas(i: Inputs) -> GwasStep:
    return GwasStep(GwasConfig(traits=TRAITS), i.cov)


def _user_gwas(i: Inputs, **settings: Any) -> UserGwasStep:
    model = f"F1 =~ {' + '.join(TRAITS)}\nF1 ~ SNP\n{TRAITS[2]} ~ own*SNP\ntwice := 2*own"
    return UserGwasStep(UserGwasConfig(model=model, **settings), i.cov)


def _all_user_gwas() -> UserGwasConfig:
    return UserGwasConfig(
        model="F1 =~ AAA + BBB + CCC\nF1 ~ SNP", name="one factor", sub=("F1~SNP",), q_snp=False, fix_measurement=False,
        std_lv=True, estimation="ML", gc="conserv", snp_se=1e-3, omnibus=True, info_min=0.9, maf_min=0.05, max_failed=0.5,
        toler=1e-12, smooth_check=False,
    )  # fmt: skip


def _wald(i: Inputs) -> WaldStep:
    return WaldStep(WaldConfig(traits=TRAITS, contrasts={"all": ((1.0, 0, 0), (0, 1, 0)), "A - B": {"AAA": 1, "BBB": -1}}), i.cov)


def _mtag(i: Inputs, **settings: Any) -> MtagStep:
    return MtagStep(MtagConfig(traits=TRAITS, **settings), i.cov)


def _all_mtag(i: Inputs) -> MtagConfig:
    matrix = ((1.0, 0.1), (0.1, 1.0))
    return MtagConfig(
        traits=("BBB", "AAA"), panel="toy", n_blocks=30, sigma=matrix, omega=matrix, no_overlap=True, perfect_gencov=True,
        equal_h2=True, numerical=True, time_limit_seconds=9.5, repair=False, maf_min=None, info_min=0.8, n_min=1_000.0,
        n_max=1e6, n_near_mode=0.5, n_near_mode_distance=None, drop_ambiguous=False,
    )  # fmt: skip


def _all_fdr(i: Inputs) -> FdrConfig:
    return FdrConfig(
        mtag_run="mtag-1", intervals=5, p_threshold=1e-6, states=("FF", "TT"), fit_causal_share=True, causal_share=(0.1, 0.2),
        refine=True,
    )


def _all_reconcile(i: Inputs) -> ReconcileConfig:
    return ReconcileConfig(
        gwas_run="common_factor_gwas-1", mtag_run="mtag-1", fdr_run="mtag_fdr-1", replication_traits=("DDD",), genome_wide_p=1e-7,
        q_alpha=0.01, window_bp=1_000_000, max_fdr=0.01, replication_alpha=0.01, replication_power=0.9,
    )  # fmt: skip


def _all_review(i: Inputs) -> ReviewConfig:
    return ReviewConfig(
        gwas_run="common_factor_gwas-1", reconcile_run="reconcile-1", ancestry="European", ld_reference="1000 Genomes",
        panel="toy", n_blocks=30, ldsc=False, leave_one_out=False,
    )  # fmt: skip


def _all_rules(i: Inputs) -> MungeConfig:
    return MungeConfig(
        traits=i.traits(),
        info_min=0.7,
        maf_min=0.02,
        ambiguous="drop",
        indels=True,
        direction_max_missing=0.5,
        compat="genomicsem",
    )


def _all_ldsc(chromosomes: Any, **of_method: Any) -> LdscConfig:
    return LdscConfig(
        traits=TRAITS,
        panel="toy",
        **of_method,
        n_blocks=30,
        chisq_max=100.0,
        chromosomes=chromosomes,
        info_min=0.8,
        maf_min=0.05,
        sample_prevalence={"AAA": 0.5, "BBB": None},
        population_prevalence={"AAA": 0.01},
    )


_STEPS_OF_LDSC = {"method": "ldsc", "two_step": 25.0, "two_step_pairs": 28.0}
CASES: dict[str, StepCase] = {
    "load_variants": StepCase(
        make=_variants,
        configs=lambda i: [_variants(i).config, _variants(i, hm3=False).config, VariantsConfig(cohort="mice")],
        empty=lambda i, ws: _variants(i, "empty"),
        empty_error=DataError,
        permuted=lambda i, ws: _variants(i, "shuffled"),
        other=lambda i: _variants(i, "other", hm3=False),
        figures=("placed", "with_maf", "hm3"),
    ),
    "load_ld_scores": StepCase(
        make=_ld,
        starts_from="load_variants",
        configs=lambda i: [_ld(i).config, LdScoresConfig(ld_scores="a", weights="b")],
        empty=lambda i, ws: _ld(i, "empty"),
        empty_error=DataError,
        permuted=lambda i, ws: _ld(i, "shuffled"),
        other=lambda i: _ld(i, "other"),
        figures=("M", "snps"),
    ),
    "munge": StepCase(
        make=_munge,
        starts_from="load_ld_scores",
        configs=lambda i: [_munge(i).config, _all_rules(i)],
        empty=lambda i, ws: _munge(i, "empty"),
        permuted=lambda i, ws: _munge(i, "shuffled"),
        other=lambda i: _munge(i, maf_min=0.2),
        sizes={"gsem_spark.steps.munge.step.BYTES_PER_PARTITION": 200_000},
        named_by_bytes={
            "sumstats": ("file_id",),
            "rejects": ("file_id", "row"),
            "qc_log": ("file_id", "examples"),
            "traits": ("file_id", "sha256"),
        },
    ),
    "ldsc": StepCase(
        make=_ldsc,
        starts_from="munge",
        configs=lambda i: [_ldsc(i).config, _all_ldsc("odd"), _all_ldsc((10, 1), **_STEPS_OF_LDSC)],
        empty=lambda i, ws: emptied(ws, "sumstats", _ldsc(i)),
        permuted=lambda i, ws: scrambled(ws, ("sumstats", "ld_scores", "traits"), _ldsc(i)),
        sizes={"gsem_spark.steps.ldsc.passes.PAIRS_PER_PASS": 4},
        figures=("traits", "M", "n_blocks"),
    ),
    "ldsc_two_step": StepCase(
        make=_two_step,
        starts_from="munge",
        configs=lambda i: [_two_step(i).config, _all_ldsc("even", **_STEPS_OF_LDSC)],
        empty=lambda i, ws: emptied(ws, "sumstats", _two_step(i)),
        permuted=lambda i, ws: scrambled(ws, ("sumstats", "ld_scores", "traits"), _two_step(i)),
        sizes={"gsem_spark.steps.ldsc.two_step.GROUP_TRAITS": 1},
        figures=("traits", "M", "n_blocks"),
    ),
    "common_factor": StepCase(
        make=_fit,
        configs=lambda i: [_fit(i).config, FitConfig(traits=TRAITS, estimation="ML", identification="marker")],
        empty=_no_traits,
        empty_error=ModelError,
        permuted=None,
        figures=("status", "chisq", "df", "cfi", "srmr"),
    ),
    "user_model": StepCase(
        make=_user_model,
        configs=lambda i: [
            _user_model(i).config,
            _user_model(i, estimation="ML", std_lv=True, bound_residuals=True, name="one factor").config,
        ],
        empty=lambda i, ws: UserModelStep(_user_model(i).config, _nothing()),
        empty_error=ModelError,
        permuted=None,
        figures=("status", "chisq", "df", "cfi", "srmr", "findings"),
    ),
    "panel": StepCase(
        make=_panel,
        starts_from="munge",
        configs=lambda i: [_panel(i).config, PanelConfig(traits=("BBB", "AAA"), info_min=0.9, maf_min=0.05)],
        empty=lambda i, ws: emptied(ws, "sumstats", _panel(i)),
        permuted=lambda i, ws: scrambled(ws, ("sumstats", "traits"), _panel(i)),
        figures=("panel_id", "rows_of_trait"),
    ),
    "common_factor_gwas": StepCase(
        make=_gwas,
        starts_from="munge",
        killed_after="panel",
        configs=lambda i: [
            _gwas(i).config,
            GwasConfig(
                traits=TRAITS, gc="conserv", estimation="ML", std_lv=True, snp_se=1e-3, info_min=0.9, maf_min=0.05, omnibus=True,
                max_failed=0.1, toler=1e-12, smooth_check=False,
            ),
        ],
        empty=lambda i, ws: emptied(ws, "sumstats", _gwas(i)),
        permuted=lambda i, ws: scrambled(ws, ("sumstats", "traits"), _gwas(i)),
        sizes={"gsem_spark.steps.gwas.scan.WAVE_SNPS": 1_500},
        figures=(
            "status",
            "lambda_gc",
            "lambda_gc_q",
            "mean_chisq",
            "effective_n",
            "factor_hits",
            "loci",
            "loci_factor_only",
            "loci_qsnp_sig",
            "q_loci",
            "panel_id",
            "covstruct",
        ),
    ),
    "user_gwas": StepCase(
        make=lambda i: _user_gwas(i, omnibus=True),
        starts_from="munge",
        killed_after="panel",
        configs=lambda i: [_user_gwas(i, sub="all").config, _all_user_gwas()],
        empty=lambda i, ws: emptied(ws, "sumstats", _user_gwas(i)),
        permuted=lambda i, ws: scrambled(ws, ("sumstats", "traits"), _user_gwas(i, omnibus=True)),
        sizes={"gsem_spark.steps.gwas.scan.WAVE_SNPS": 1_500, "gsem_spark.steps.gwas.rows.ROWS_AT_ONCE": 1_000},
        figures=("status", "paths", "route", "route_reason", "notes", "rows", "traits", "panel_id", "covstruct"),
    ),
    "multivariate_wald": StepCase(
        make=_wald,
        starts_from="munge",
        killed_after="panel",
        configs=lambda i: [
            _wald(i).config,
            WaldConfig(
                traits=TRAITS, gc="none", info_min=0.9, maf_min=0.05, max_failed=0.5, toler=1e-12,
                contrasts={"a": (1.0, -1.0, 0.0)},
            ),
        ],
        empty=lambda i, ws: emptied(ws, "sumstats", _wald(i)),
        permuted=lambda i, ws: scrambled(ws, ("sumstats", "traits"), _wald(i)),
        sizes={"gsem_spark.steps.gwas.scan.WAVE_SNPS": 1_500},
        figures=("status", "paths", "traits", "tests", "panel_id", "covstruct"),
    ),
    "mtag": StepCase(
        make=_mtag,
        starts_from="common_factor_gwas",
        configs=lambda i: [_mtag(i).config, _all_mtag(i)],
        empty=lambda i, ws: _mtag(i, n_max=1.0, n_min=None),
        empty_error=DataError,
        permuted=lambda i, ws: scrambled(ws, ("sumstats", "traits"), _mtag(i)),
        sizes={"gsem_spark.steps.mtag.write.WAVE_ROWS_PER_CORE": 2_250},
        figures=("snps", "omega_method", "traits", "weights", "filters"),
    ),
    "mtag_fdr": StepCase(
        make=lambda i: FdrStep(FdrConfig(intervals=4)),
        starts_from="mtag",
        configs=lambda i: [FdrConfig(intervals=4), _all_fdr(i)],
        empty=lambda i, ws: FdrStep(FdrConfig(mtag_run="mtag-nothing")),
        empty_error=DataError,
        permuted=lambda i, ws: scrambled(ws, ("mtag_models",), FdrStep(FdrConfig(intervals=4))),
        sizes={"gsem_spark.steps.mtag.fdr.PIECE_POINTS": 50, "gsem_spark.steps.mtag.fdr.PIECES_PER_JOB": 2},
        figures=("max_fdr", "searched", "feasible"),
    ),
    "reconcile": StepCase(
        make=lambda i: ReconcileStep(ReconcileConfig()),
        starts_from="mtag_fdr",
        configs=lambda i: [ReconcileConfig(), _all_reconcile(i)],
        empty=lambda i, ws: ReconcileStep(ReconcileConfig(gwas_run="nothing")),
        empty_error=DataError,
        permuted=lambda i, ws: scrambled(ws, ("sumstats", "gwas_results", "mtag_results"), ReconcileStep(ReconcileConfig())),
        figures=("loci", "patterns", "claims", "n_factor_snps", "rule", "max_fdr", "sign_concordance", "trait_claims"),
    ),
    "review": StepCase(
        make=lambda i: ReviewStep(ReviewConfig(n_blocks=20)),
        starts_from="reconcile",
        configs=lambda i: [ReviewConfig(n_blocks=20), _all_review(i)],
        empty=lambda i, ws: ReviewStep(ReviewConfig(gwas_run="nothing")),
        empty_error=DataError,
        permuted=lambda i, ws: scrambled(ws, ("gwas_panel", "gwas_results", "ld_scores"), ReviewStep(ReviewConfig(n_blocks=20))),
        figures=("overall", "verdicts", "factor_ldsc", "stable_loci"),
    ),
    "genotypes": StepCase(
        make=lambda i: _genotypes(i, maf=0.02),
        configs=lambda i: [_genotypes(i).config, _all_genotypes(i)],
        empty=lambda i, ws: _genotypes(i, "empty"),
        empty_error=DataError,
        permuted=None,
        other=lambda i: _genotypes(i, "other"),
        sizes={"gsem_spark.steps.genotypes.blocks.TASK_BYTES": 2_000},
        figures=("version", "samples", "variants_in", "kept", "dropped", "blocks"),
    ),
    "lmm": StepCase(
        make=_lmm,
        starts_from="kinship",
        configs=lambda i: [_lmm(i).config, _all_lmm(i)],
        empty=lambda i, ws: emptied(ws, "genotype_blocks", _lmm(i, chromosomes=None)),
        permuted=lambda i, ws: scrambled(ws, ("cohorts", "genotype_blocks"), _lmm(i, "shuffled")),
        sizes={"gsem_spark.steps.gwas.scan.WAVE_SNPS": 50},
        figures=("status", "tests", "variants", "effects"),
    ),
    "mtlmm": StepCase(
        make=_mtlmm,
        starts_from="kinship",
        configs=lambda i: [_mtlmm(i).config, _all_mtlmm(i)],
        empty=lambda i, ws: _mtlmm(i, "empty"),
        empty_error=DataError,
        permuted=lambda i, ws: scrambled(ws, ("cohorts", "genotype_blocks"), _mtlmm(i, "shuffled")),
        sizes={"gsem_spark.steps.gwas.scan.WAVE_SNPS": 50},
        figures=("status", "tests", "variants", "effects"),
    ),
    "lmm_bootstrap": StepCase(
        make=_bootstrap,
        starts_from="kinship",
        configs=lambda i: [_bootstrap(i).config, _all_bootstraps(i)],
        empty=lambda i, ws: _bootstrap(i, "empty"),
        empty_error=DataError,
        permuted=lambda i, ws: scrambled(ws, ("cohorts",), _bootstrap(i, "shuffled")),
        sizes={"gsem_spark.steps.lmm.bootstrap.TASKS_PER_CORE": 1},
        figures=("trait", "n", "samples", "failed"),
    ),
    "kinship": StepCase(
        make=lambda i: KinshipStep(KinshipConfig(kind="standardised", maf=0.03)),
        starts_from="genotypes",
        configs=lambda i: [KinshipConfig(kind="standardised", maf=0.03), *_all_kinships()],
        empty=lambda i, ws: KinshipStep(KinshipConfig(snps=("none of them",))),
        empty_error=DataError,
        permuted=lambda i, ws: scrambled(
            ws, ("cohorts", "genotype_blocks"), KinshipStep(KinshipConfig(kind="standardised", maf=0.03))
        ),
        sizes={"gsem_spark.steps.genotypes.kinship_sums.WAVE_BYTES": 30_000},
        figures=("samples", "rank", "variants", "mean_diagonal", "loco"),
    ),
}
