"""Omega and Sigma of an MTAG run: one pass of sums over the genome, Sigma from where it is to come, and the row kept."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from gsem_spark.errors import DataError
from gsem_spark.methods.ldsc.two_step import intercept_matrix
from gsem_spark.methods.mtag.assumptions import Finding, check_assumptions, told
from gsem_spark.methods.mtag.estimate import MtagModel, checked_sigma, fixed_omega, mtag_model
from gsem_spark.methods.mtag.numerical import Grouped, group_by_n, numerical_omega, searched_omega
from gsem_spark.methods.mtag.omega import OmegaEstimate, OmegaSums, estimate_omega, merge_omega_sums, omega_sums
from gsem_spark.steps.ldsc.inputs import panel_total_m
from gsem_spark.steps.ldsc.panel_arrays import with_ld_scores
from gsem_spark.steps.mtag.stretches import Stretch, WideRows
from gsem_spark.steps.mtag.wide import Alleles, check_alleles, matrix

if TYPE_CHECKING:
    from gsem_spark.catalog.workspace import Workspace
    from gsem_spark.steps.mtag.step import MtagConfig

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class PartSums:
    """What one stretch of genome adds to the model; stretches are added in their order."""

    part: int
    chromosome: int
    snps: int
    alleles: Alleles
    omega: OmegaSums
    n: Floats
    chisq: Floats
    grouped: Grouped | None


@dataclass(frozen=True)
class ModelFacts:
    """A run's model with what it rests on: everything that ``mtag_models`` keeps."""

    model: MtagModel
    omega_raw: Floats
    sigma_raw: Floats
    n_mean: Floats
    mean_chisq: Floats
    n_snps: int
    findings: tuple[Finding, ...]
    filters: Mapping[str, Mapping[str, int]]

    @property
    def sentences(self) -> tuple[str, ...]:
        """What a reader must know: repairs, then findings."""
        return (*self.model.notices, *told(self.findings, self.model.traits))


def part_sums(stretch: Stretch, alleles: Alleles, *, grouped: bool) -> PartSums:
    """Sums of a stretch for Omega, of N and of chi-squares; ``grouped`` for the numerical search."""
    z, n = matrix(stretch.rows, "z"), matrix(stretch.rows, "n")
    both = group_by_n(z, n) if grouped and len(z) else None
    sums = omega_sums(z, n, stretch.part)
    return PartSums(stretch.part, stretch.chromosome, len(z), alleles, sums, n.sum(axis=0), (z * z).sum(axis=0), both)


def counts_of(parts: Sequence[PartSums]) -> dict[int, int]:
    """SNPs by chromosome, in order."""
    counts: Counter[int] = Counter()
    for part in parts:
        counts[part.chromosome] += part.snps
    return {c: n for c, n in sorted(counts.items()) if n}


def make_model(
    config: MtagConfig, given_sigma: Floats, parts: Sequence[PartSums], filters: Mapping[str, Mapping[str, int]]
) -> ModelFacts:
    """Estimate (or take) Omega for a Sigma, and hold both against MTAG's assumptions.

    Raises
    ------
    DataError
        The traits share no SNP, or a trait's alleles follow another convention.
    ModelError
        A matrix is of the wrong shape, not symmetric, has a variance that is not positive, or is beyond repair.
    """
    traits = config.traits
    alleles = check_alleles(traits, [p.alleles for p in parts])
    total = sum(p.snps for p in parts)
    if not total:
        raise DataError(f"no SNP is in all of {', '.join(traits)}", where="table sumstats",
                        remedy="check that all traits name SNPs alike (rsIDs), and the filters: "
                        + "; ".join(f"{t} keeps {filters[t]['kept']:,} of {filters[t]['rows']:,} rows" for t in traits))
    sigma, notices = checked_sigma(given_sigma, traits, no_overlap=config.no_overlap, repair=config.repair)
    sums = merge_omega_sums([p.omega for p in parts])
    found, more = _omega(config, sums, sigma, parts)
    model = mtag_model(traits, found, sigma, (*notices, *more), repair=config.repair)
    mean_n, mean_chisq = (np.sum(np.stack(v), axis=0) / total for v in ([p.n for p in parts], [p.chisq for p in parts]))
    before = np.diag(np.diag(given_sigma)) if config.no_overlap else given_sigma
    findings = check_assumptions(traits, mean_chisq, before, found.raw, perfect_gencov=config.perfect_gencov)
    said = {t: {**filters[t], **alleles[t]} for t in traits}
    return ModelFacts(model, found.raw, given_sigma, mean_n, mean_chisq, total, tuple(findings), said)


def _omega(
    config: MtagConfig, sums: OmegaSums, sigma: Floats, parts: Sequence[PartSums]
) -> tuple[OmegaEstimate, tuple[str, ...]]:
    traits = config.traits
    if config.omega is not None:
        given = np.array(config.omega, np.float64)
        return fixed_omega(given, traits, perfect_gencov=config.perfect_gencov, equal_h2=config.equal_h2), ()
    found = estimate_omega(sums, sigma, traits, perfect_gencov=config.perfect_gencov, equal_h2=config.equal_h2)
    if not config.numerical or config.equal_h2:
        return found, ()
    groups = [p.grouped for p in parts if p.grouped is not None]
    data = Grouped(*(np.concatenate([getattr(g, name) for g in groups]) for name in ("n", "count", "zz")))
    search = numerical_omega(
        data, sigma, found.raw, perfect_gencov=config.perfect_gencov, time_limit_seconds=config.time_limit_seconds
    )
    said = () if search.converged else (f"Omega: {search.message}",)
    return searched_omega(search, found.raw, sums.count, perfect_gencov=config.perfect_gencov), said


def estimated_sigma(ws: Workspace, wide: WideRows, config: MtagConfig, run_id: str) -> Floats:
    """LD score intercepts of all pairs over the SNPs that MTAG uses, by ldsc's own estimator.

    Raises
    ------
    DataError
        Too few of the SNPs have LD scores.
    """
    k = len(config.traits)
    columns, wanted = [f"{kind}{t}" for kind in ("z", "n") for t in range(k)], wide.source()

    def tables(stretches: Iterable[Stretch]) -> Iterator[pa.Table]:
        for rows in (stretch.rows for stretch in stretches):
            both = np.column_stack([matrix(rows, "z"), matrix(rows, "n")])
            yield pa.table({"snp": rows.column("snp"), **{name: both[:, i].copy() for i, name in enumerate(columns)}})

    found = with_ld_scores(ws, config.panel, [(wanted.frame, wanted.then(tables))], columns, f"{run_id}-sigma")
    M = panel_total_m(ws, config.panel)
    z, n = found.columns[:, :k], found.columns[:, k:]
    return intercept_matrix(z, n, found.l2, found.wld, M, n_blocks=config.n_blocks, no_overlap=config.no_overlap)


def model_row(facts: ModelFacts, run_id: str) -> dict[str, Any]:
    """Write a model as a row of ``mtag_models``."""
    model = facts.model
    return {
        "run_id": run_id, "traits": list(model.traits), "omega": model.omega.ravel().tolist(),
        "omega_raw": facts.omega_raw.ravel().tolist(), "sigma": model.sigma.ravel().tolist(),
        "sigma_raw": facts.sigma_raw.ravel().tolist(), "method": model.method, "n_mean": facts.n_mean.tolist(),
        "mean_chisq": facts.mean_chisq.tolist(), "n_snps": facts.n_snps, "notices": list(model.notices),
        "findings": json.dumps([asdict(f) for f in facts.findings]), "filters": json.dumps(facts.filters),
    }


def read_model(ws: Workspace, run_id: str) -> ModelFacts | None:
    """A run's model; None where the run has none (yet)."""
    rows = ws.records("mtag_models", {"run_id": run_id})
    if not rows:
        return None
    row = rows[0]
    k = len(row["traits"])
    square = {name: np.array(row[name], np.float64).reshape(k, k) for name in ("omega", "omega_raw", "sigma", "sigma_raw")}
    model = MtagModel(tuple(row["traits"]), square["omega"], square["sigma"], row["method"], tuple(row["notices"]))
    findings = tuple(Finding(**{**f, "traits": tuple(f["traits"])}) for f in json.loads(row["findings"]))
    return ModelFacts(
        model, square["omega_raw"], square["sigma_raw"], np.array(row["n_mean"]), np.array(row["mean_chisq"]), row["n_snps"],
        findings, json.loads(row["filters"]),
    )
