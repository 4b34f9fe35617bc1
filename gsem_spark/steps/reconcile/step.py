"""A factor GWAS and MTAG of the same traits side by side: loci with their patterns, effects, replication, and claims.

Only rows of SNPs that are significant in some analysis reach the driver, where the mathematics is small.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field

from gsem_spark.errors import ConfigError
from gsem_spark.methods.gwas.commonfactor import CommonFactorGwas
from gsem_spark.methods.reconcile.claims import ClaimRule, factor_claims, trait_claims
from gsem_spark.methods.reconcile.effects import sign_concordance
from gsem_spark.methods.reconcile.loci import LocusRule, reconcile_loci
from gsem_spark.methods.reconcile.patterns import primary_analysis
from gsem_spark.methods.reconcile.replication import replicate, sign_test
from gsem_spark.steps.found_runs import FinishedRun, finished, run_id_of
from gsem_spark.steps.gwas.common_factor import GwasStep
from gsem_spark.steps.gwas.panel import trait_rows
from gsem_spark.steps.hit_rows import few_rows, named
from gsem_spark.steps.ldsc.step import read_covstruct
from gsem_spark.steps.mtag.fdr import FdrStep
from gsem_spark.steps.mtag.model import read_model
from gsem_spark.steps.mtag.step import MtagStep
from gsem_spark.steps.progress import Progress
from gsem_spark.steps.reconcile.files import given_blocks, given_panel
from gsem_spark.steps.reconcile.hits import gather_hits, lead_effects
from gsem_spark.steps.step import Outcome, Plan, Step, StepConfig, checked_config, content_hash
from gsem_spark.thresholds import (
    CLUMP_WINDOW_BP,
    GENOME_WIDE_P,
    MAX_FDR_WARN,
    Q_SNP_ALPHA,
    REPLICATION_ALPHA,
    REPLICATION_POWER,
)

if TYPE_CHECKING:
    from gsem_spark.catalog.runs import RunEntry
    from gsem_spark.catalog.workspace import Workspace
    from gsem_spark.methods.ldsc.covstruct import CovStruct
    from gsem_spark.steps.gwas.run import Run
    from gsem_spark.steps.mtag.fdr import FdrRun
    from gsem_spark.steps.mtag.run import MtagRun

Floats = NDArray[np.float64]
_PANEL = ("snp", "a1", "a2", "beta", "se")


class ReconcileConfig(StepConfig):
    """Settings of a reconciliation: the runs, and the thresholds of patterns and claims."""

    gwas_run: str | None = Field(None, description="common-factor GWAS; the last one by default")
    mtag_run: str | None = Field(None, description="MTAG run; the last one by default")
    fdr_run: str | None = Field(None, description="maxFDR search; the last one of the MTAG run by default")
    replication_traits: tuple[str, ...] = Field((), description="independent munged traits in which leads are looked up")
    genome_wide_p: float = Field(GENOME_WIDE_P, gt=0, lt=1, description="significance of the factor, of MTAG and of each GWAS")
    q_alpha: float = Field(Q_SNP_ALPHA, gt=0, lt=1, description="family-wise level of Q_SNP over the factor SNPs")
    window_bp: int = Field(CLUMP_WINDOW_BP, ge=1, description="distance clumping, outside LD blocks where these are given")
    max_fdr: float = Field(MAX_FDR_WARN, gt=0, lt=1, description="a claim of a trait-specific SNP needs a maxFDR below it")
    replication_alpha: float = Field(REPLICATION_ALPHA, gt=0, lt=1, description="one-sided level of replication")
    replication_power: float = Field(REPLICATION_POWER, gt=0, lt=1, description="panels with less power do not speak against")

    @property
    def claim_rule(self) -> ClaimRule:
        """Thresholds of the publication rule."""
        return ClaimRule(self.genome_wide_p, self.q_alpha, self.max_fdr, self.replication_alpha, self.replication_power)


class ReconcileStep(Step[ReconcileConfig]):
    """Class each locus of both analyses by its pattern, and judge what may be claimed."""

    name: ClassVar[str] = "reconcile"
    revision: ClassVar[int] = 2
    reads: ClassVar[tuple[str, ...]] = (
        "gwas_results", "mtag_results", "mtag_models", "mtag_fdr", "sumstats", "traits", "covstructs",
    )  # fmt: skip
    writes: ClassVar[tuple[str, ...]] = ("reconciled_loci", "reconciled_effects")

    _gwas: RunEntry
    _mtag: RunEntry
    _fdr: RunEntry | None
    _cov: CovStruct

    def __init__(
        self, config: ReconcileConfig, replication: pd.DataFrame | None = None, blocks: pd.DataFrame | None = None
    ) -> None:
        super().__init__(config)
        self.replication, self.blocks = replication, blocks

    def inputs(self, ws: Workspace) -> dict[str, str]:
        """The runs, the replication panels and the LD blocks; raises where a run is not there or they do not fit together."""
        c = self.config
        self._gwas = finished(ws, GwasStep.name, c.gwas_run, "gwas")
        self._mtag = finished(ws, MtagStep.name, c.mtag_run, "mtag")
        self._fdr = _fdr_of(ws, self._mtag.run_id, c.fdr_run)
        self._cov = read_covstruct(ws, f"covstruct-{self._gwas.inputs['covstruct']}")
        facts = read_model(ws, self._mtag.run_id)
        traits = () if facts is None else facts.model.traits
        if facts is not None and facts.model.one_result:
            raise ConfigError("a meta-analysis (equal_h2) has no results by trait to hold against the factor",
                              where=f"run {self._mtag.run_id}", remedy="run mtag without equal_h2")
        if absent := [t for t in self._cov.traits if t not in traits]:
            raise ConfigError(f"the MTAG run lacks {', '.join(absent)}, traits of the factor", where=f"run {self._mtag.run_id}",
                              remedy=f"run mtag on {', '.join(self._cov.traits)}")
        if shared := [t for t in c.replication_traits if t in self._cov.traits]:
            raise ConfigError(f"{', '.join(shared)} cannot replicate a factor it is an indicator of", where="replication_traits",
                              remedy="name independent traits or cohorts")
        found = {"gwas_run": self._gwas.run_id, "mtag_run": self._mtag.run_id, "fdr_run": self._fdr.run_id if self._fdr else ""}
        traits = (*self._cov.traits, *c.replication_traits)
        found |= {f"sumstats/{t}": row["file_id"] for t, row in trait_rows(ws, traits).items()}
        for name, frame in (("replication", self.replication), ("blocks", self.blocks)):
            if frame is not None:
                found[name] = content_hash(json.loads(frame.to_json(orient="split", double_precision=15)))
        return found

    def is_present(self, ws: Workspace, run_id: str) -> bool:
        """Whether the loci are in ``reconciled_loci``."""
        entry = ws.runs.last(run_id)
        return entry is not None and (entry.status == "empty" or bool(ws.count("reconciled_loci", {"run_id": run_id})))

    def execute(self, ws: Workspace, plan: Plan, progress: Progress) -> Outcome:
        """Gather the hits, then do the rest on the driver."""
        c, run_id = self.config, plan.run_id
        with progress.stage("reconcile: significant SNPs of all analyses"):
            hits = gather_hits(ws, self._gwas.run_id, self._mtag.run_id, self._cov.traits, c.genome_wide_p)
        n_factor = int((hits.table.factor_neglog10p > -np.log10(c.genome_wide_p)).sum())
        loadings = factor_loadings(self._cov, json.loads(self._gwas.config))
        rule = LocusRule(c.genome_wide_p, c.q_alpha, c.window_bp)
        loci = reconcile_loci(hits.table, loadings, n_factor, rule, self.blocks)
        bounds = dict(self._fdr.summary["max_fdr"]) if self._fdr else {}
        with progress.stage("reconcile: effects, replication, claims"):
            effects = lead_effects(hits, loci, self._cov.traits, loadings)
            leads = hits.snps[hits.snps["snp"].isin(loci.loc[loci["factor_sig"], "snp"])].rename(columns={"est": "beta"})
            replication = self._replicated(ws, leads)
            claims = factor_claims(leads, n_factor, replication, c.claim_rule)
        of_traits = trait_claims(loci, bounds, c.claim_rule)
        rows = loci.merge(claims[["snp", "claim", "why"]], on="snp", how="left").merge(hits.snps[["snp", "a1", "a2"]], on="snp")
        said = {"run_id": run_id}
        ws.put("reconciled_effects", effects.assign(run_id=run_id), said, metadata=said)
        ws.put("reconciled_loci", rows.assign(run_id=run_id), said, metadata=said)
        primary = primary_analysis(list(bounds.values()), c.max_fdr, q_snp_available=True) if bounds else None
        summary = {
            **_runs(plan.inputs), "traits": list(self._cov.traits), "loci": len(loci),
            "patterns": _counts(loci["pattern"]), "claims": _counts(claims["claim"]),
            "n_factor_snps": n_factor, "rule": c.claim_rule.text(n_factor), "max_fdr": bounds,
            "primary": None if primary is None else asdict(primary),
            "sign_concordance": _plain(sign_concordance(effects)), "trait_claims": _plain(of_traits),
            "replication": None if replication is None else _plain(replication), "sign_test": _sign_test(replication),
        }
        warnings = [] if bounds else ["no maxFDR search of the MTAG run: claims of trait-specific SNPs are not assessed"]
        if primary is not None:
            warnings.append(f"{primary.seen}: {primary.action}")
        return Outcome(len(loci), summary=summary, warnings=tuple(warnings))

    def _replicated(self, ws: Workspace, leads: pd.DataFrame) -> pd.DataFrame | None:
        """Leads in every panel, one below the other; None where there is no panel."""
        c, panels = self.config, {}
        if self.replication is not None:
            panels["given"] = self.replication
        if c.replication_traits:
            rows = few_rows(ws, "sumstats", ("trait", *_PANEL), {"trait": list(c.replication_traits)}, named(set(leads["snp"])))
            known = rows.dropna(subset=["beta", "se"])
            panels |= {t: known.loc[known["trait"] == t, list(_PANEL)] for t in c.replication_traits}
        if not panels:
            return None
        found = [
            replicate(leads, panel, alpha=c.replication_alpha, discovery_p=c.genome_wide_p).assign(panel=name)
            for name, panel in panels.items()
        ]
        return pd.concat(found, ignore_index=True)


def _fdr_of(ws: Workspace, mtag_run: str, chosen: str | None) -> RunEntry | None:
    if chosen is not None:
        entry = finished(ws, FdrStep.name, chosen, "max_fdr")
        if entry.inputs.get("mtag_run") != mtag_run:
            raise ConfigError(f"the maxFDR search {chosen} is of run {entry.inputs.get('mtag_run')}", where="fdr_run",
                              remedy=f"name a search of {mtag_run}")
        return entry
    mine = [e for e in ws.runs.of_step(FdrStep.name) if e.inputs.get("mtag_run") == mtag_run]
    return mine[-1] if mine else None


def factor_loadings(cov: CovStruct, gwas_config: Mapping[str, Any]) -> Floats:
    """Loadings (k,) in the units in which the GWAS gives the factor's effects."""
    kernel = CommonFactorGwas.prepare(
        cov, gwas_config["gc"], gwas_config["snp_se"], gwas_config["estimation"], gwas_config["std_lv"]
    )
    return kernel.start if kernel.std_lv else kernel.start / kernel.start[0]


def _sign_test(replication: pd.DataFrame | None) -> dict[str, Any] | None:
    if replication is None:
        return None
    known = replication.loc[replication["found"].astype(bool), "same_direction"]
    return {name: _number(value) for name, value in asdict(sign_test(known.to_numpy())).items()}


def _runs(inputs: Mapping[str, str]) -> dict[str, str]:
    return {name: inputs[name] for name in ("gwas_run", "mtag_run", "fdr_run")}


def _counts(values: pd.Series) -> dict[str, int]:
    return {str(k): int(n) for k, n in sorted(values.value_counts().items())}


def _plain(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(name): _number(value) for name, value in row.items()} for row in table.to_dict("records")]


def _number(value: Any) -> Any:
    if value is pd.NA or (isinstance(value, float) and value != value):
        return None
    return value.item() if isinstance(value, np.generic) else value


@dataclass(frozen=True)
class ReconcileRun(FinishedRun):
    """A finished reconciliation."""

    @property
    def summary(self) -> Mapping[str, Any]:
        """Counts of patterns and claims, the rule with its numbers, the primary analysis."""
        return self.report.summary

    @property
    def rule(self) -> str:
        """The publication rule with its thresholds."""
        return str(self.summary["rule"])

    def loci(self) -> pd.DataFrame:
        """One row a locus: who finds it, its pattern, cause and action, and the verdict of the publication rule."""
        return reconciled_loci(self.workspace, self.run_id)

    def effects(self) -> pd.DataFrame:
        """Effects of lead SNPs on each trait: input, implied by the factor, MTAG's; with 95 % intervals."""
        return reconciled_effects(self.workspace, self.run_id)

    def sign_concordance(self) -> pd.DataFrame:
        """Agreement in direction of each two sources of effects."""
        return pd.DataFrame(self.summary["sign_concordance"])

    def trait_claims(self) -> pd.DataFrame:
        """Verdicts on trait-specific SNPs by MTAG."""
        return pd.DataFrame(self.summary["trait_claims"], columns=["locus", "snp", "trait", "max_fdr", "claim", "why"])

    def replication(self) -> pd.DataFrame | None:
        """Leads in the replication panels; None where there is none."""
        found = self.summary["replication"]
        return None if found is None else pd.DataFrame(found)


def reconciled_loci(ws: Workspace, run_id: str) -> pd.DataFrame:
    """Loci of a reconciliation in genome order."""
    rows: pd.DataFrame = ws.rows("reconciled_loci", {"run_id": run_id}).to_pandas()
    return rows.sort_values("locus", ignore_index=True)


def reconciled_effects(ws: Workspace, run_id: str) -> pd.DataFrame:
    """Effects of a reconciliation, SNPs in genome order, traits in that of the model."""
    rows: pd.DataFrame = ws.rows("reconciled_effects", {"run_id": run_id}).to_pandas()
    leads = pd.Index(reconciled_loci(ws, run_id)["snp"])
    entry = ws.runs.last(run_id)
    place = {"snp": leads, "trait": pd.Index(entry.summary["traits"] if entry else [])}
    return rows.sort_values(["snp", "trait"], key=lambda c: pd.Series(place[str(c.name)].get_indexer(c)), ignore_index=True)


def reconcile(
    ws: Workspace,
    gwas_run: Run | str | None = None,
    mtag_run: MtagRun | str | None = None,
    replication: pd.DataFrame | str | Sequence[str] | None = None,
    blocks: pd.DataFrame | str | Path | None = None,
    *,
    replication_file: str | Path | None = None,
    fdr_run: FdrRun | str | None = None,
    progress: Progress | None = None,
    **settings: Any,
) -> ReconcileRun:
    """Hold a common-factor GWAS and MTAG of the same traits against each other, locus by locus.

    Parameters
    ----------
    ws
        Workspace of both runs.
    gwas_run, mtag_run
        The runs, or their ids; the last ones by default.
    replication
        An independent panel: a frame ``snp a1 a2 beta se``, or the names of munged traits. Without it claims of
        common-factor SNPs await replication.
    blocks
        LD blocks: a BED file, or a frame ``chr start end``. Loci are made by distance when None.
    replication_file
        That panel as a text file with the columns ``snp a1 a2 beta se``; may stand beside the names of traits.
    fdr_run
        maxFDR search of the MTAG run; its last one by default.
    progress
        Where to show progress; silent by default.
    **settings
        Thresholds of :class:`ReconcileConfig`: ``genome_wide_p q_alpha window_bp max_fdr replication_alpha
        replication_power``.

    Returns
    -------
    ReconcileRun
        Kept in ``reconciled_loci`` and ``reconciled_effects``.

    Raises
    ------
    DataError
        A run or trait is not there, or the blocks or the panel cannot be used.
    ConfigError
        The runs do not have the same traits, or a setting is wrong.
    """
    names: tuple[str, ...] = ()
    frame = given_panel(replication_file)
    if isinstance(replication, pd.DataFrame):
        frame = replication
    elif replication is not None:
        names = (replication,) if isinstance(replication, str) else tuple(replication)
    config = checked_config(
        ReconcileConfig, "reconcile", gwas_run=run_id_of(gwas_run), mtag_run=run_id_of(mtag_run), fdr_run=run_id_of(fdr_run),
        replication_traits=names, **settings,
    )
    return ReconcileRun(ws, ReconcileStep(config, frame, given_blocks(blocks)).run(ws, progress))
