"""How a per-SNP run stands, from the ledger and the tables' metadata: for whoever asks while it runs, or after it stopped."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from gsem_spark.errors import DataError
from gsem_spark.steps.gwas.panel import panel_counts
from gsem_spark.steps.gwas.slices import chromosome_of, described

if TYPE_CHECKING:
    from gsem_spark.catalog.runs import RunEntry
    from gsem_spark.catalog.workspace import Workspace


@dataclass(frozen=True)
class RunStatus:
    """How a run stands.

    Parameters
    ----------
    run_id, step, state
        The run, and what the ledger says of it last: running, done, empty or failed.
    slices
        One row a slice of the panel, in genome order: ``slice``, ``chr``, ``place``, ``snps``, ``state`` (done or missing),
        ``rate`` (SNPs/s of the wave it was in; NaN where no session told), ``failed`` (SNPs that are not ok), ``reasons``.
    rate
        SNPs/s of all waves together while they ran; None before the first.
    reasons
        SNPs that are not ok, by message.
    """

    run_id: str
    step: str
    state: str
    slices: pd.DataFrame
    rate: float | None
    reasons: dict[str, int]

    @property
    def done_snps(self) -> int:
        """SNPs whose rows are in the table."""
        return int(self.slices.loc[self.slices["state"] == "done", "snps"].sum())

    @property
    def total_snps(self) -> int:
        """SNPs of the panel."""
        return int(self.slices["snps"].sum())

    @property
    def seconds_left(self) -> float | None:
        """Time that one session like those before needs for the rest; None where no wave has been timed."""
        return None if self.rate is None else (self.total_snps - self.done_snps) / self.rate

    def by_chromosome(self) -> pd.DataFrame:
        """One row a chromosome: ``chr``, ``slices``, ``done``, ``snps``, ``snps_done``, ``rate``, ``failed``."""
        rows = []
        for chromosome, part in self.slices.groupby("chr", sort=True):
            done = part[part["state"] == "done"]
            rows.append((
                int(str(chromosome)), len(part), len(done), int(part["snps"].sum()), int(done["snps"].sum()),
                float(part["rate"].mean()), int(part["failed"].sum()),
            ))  # fmt: skip
        return pd.DataFrame(rows, columns=["chr", "slices", "done", "snps", "snps_done", "rate", "failed"])


def run_status(ws: Workspace, run_id: str) -> RunStatus:
    """Gather how a run stands.

    Raises
    ------
    DataError
        The ledger does not have the run, or it is none that tests SNPs.
    """
    from gsem_spark.steps.gwas.run import PER_SNP_STEPS

    entries = ws.runs.entries(run_id)
    if not entries:
        raise DataError(f"run {run_id} is not in the ledger", where=ws.location, remedy=f"gsem-spark runs {ws.location}")
    last = entries[-1]
    if last.step not in PER_SNP_STEPS:
        raise DataError(f"run {run_id} is one of {last.step}, which tests no SNPs", where=ws.location,
                        remedy="name a run of gsem-spark gwas or wald")
    counts = panel_counts(ws, last.inputs["panel"])
    present = {int(str(number)) for (_, number, _), n in ws.count(PER_SNP_STEPS[last.step], {"run_id": run_id}).items() if n}
    told, rate = _waves(entries)
    rows = [
        (
            number, chromosome_of(number), described(number), snps, "done" if number in present else "missing",
            told.get(number, {}).get("rate", float("nan")), sum(told.get(number, {}).get("reasons", {}).values()),
            told.get(number, {}).get("reasons", {}),
        )
        for number, snps in counts.items()
    ]  # fmt: skip
    slices = pd.DataFrame(rows, columns=["slice", "chr", "place", "snps", "state", "rate", "failed", "reasons"])
    reasons: Counter[str] = Counter()
    for found in slices["reasons"]:
        reasons.update(found)
    return RunStatus(run_id, last.step, last.status, slices, rate, dict(reasons.most_common()))


def _waves(entries: list[RunEntry]) -> tuple[dict[int, dict[str, Any]], float | None]:
    """What sessions noted of each slice, the last note counting; and SNPs/s over all waves."""
    told: dict[int, dict[str, Any]] = {}
    snps = seconds = 0.0
    for entry in entries:
        wave = entry.summary.get("wave")
        if wave is None:
            continue
        of_wave = sum(int(n) for n in entry.state.values())
        snps, seconds = snps + of_wave, seconds + float(wave["seconds"])
        for number, record in wave["slices"].items():
            told[int(number)] = {"rate": of_wave / max(float(wave["seconds"]), 1e-9), **record}
    return told, snps / seconds if seconds and snps else None
