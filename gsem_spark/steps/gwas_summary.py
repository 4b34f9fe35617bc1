"""What a GWAS run came to, by aggregates on executors: statuses, λGC, mean χ², effective N, and the loci.

Only genome-wide significant rows reach the driver.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final

import pandas as pd
from pyspark.sql import functions as F

from gsem_spark.methods.gwas.effective_n import EFFECTIVE_N_MAF, lambda_gc
from gsem_spark.methods.gwas.loci import find_loci
from gsem_spark.thresholds import GENOME_WIDE_P

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from gsem_spark.catalog.workspace import Workspace

_HIT_COLUMNS: Final = (
    "snp",
    "chr",
    "bp",
    "a1",
    "a2",
    "maf",
    "est",
    "se",
    "z",
    "p",
    "neglog10p",
    "q_snp",
    "q_snp_p",
    "q_snp_neglog10p",
)
_BIN: Final = 0.01
"""Width of the bins in which a median is first located; the values of its bin alone are then sorted."""
_TOP: Final = 100.0
FAILED_STATUSES: Final = ("not_converged", "not_pd", "singular", "missing")


def summarise(ws: Workspace, run_id: str, factor_variance: float) -> tuple[dict[str, Any], list[str]]:
    """Write the run's loci and return its figures with the warnings they give rise to.

    ``factor_variance`` is the factor's variance in the units of the effects, by which its effective N is scaled.
    """
    rows = ws.read("gwas_results").where(F.col("run_id") == run_id)
    chisq = F.col("z") * F.col("z")
    with ThreadPoolExecutor(max_workers=4) as pool:  # four small jobs; side by side their overheads overlap
        counts_job = pool.submit(_counts, rows)
        hits_job = pool.submit(_hits, rows)
        medians = [pool.submit(exact_median, rows.select(value.alias("value"))) for value in (chisq, F.col("q_snp"))]
        counts, hits = counts_job.result(), hits_job.result()
        median_chisq, median_q = (job.result() for job in medians)
    loci = find_loci(hits)
    ws.replace("loci", ws.frame("loci", loci.assign(run_id=run_id)), {"run_id": run_id}, metadata={"run_id": run_id})
    status = {r["status"]: int(r["n"]) for r in counts}
    fitted = sum(int(r["fitted"]) for r in counts)
    q_df = next((int(r["q_df"]) for r in counts if r["q_df"] is not None), 1)
    summary = {
        "status": status,
        "lambda_gc": _finite(_lambda(median_chisq, 1)),
        "lambda_gc_q": _finite(_lambda(median_q, q_df)),
        "mean_chisq": _finite(sum(r["chisq"] or 0.0 for r in counts) / fitted if fitted else None),
        "effective_n": _finite(_ratio(counts, "effective_sum", "effective_snps", factor_variance)),
        "factor_hits": int((hits["p"] < GENOME_WIDE_P).sum()),
        **_locus_counts(loci),
    }
    return summary, _warnings(status)


def exact_median(values: DataFrame) -> float | None:
    """Median of the column ``value`` (nulls aside): located by integer bins, then exact within the bin.

    Both passes are sums over integers, so the answer does not depend on how the rows are spread.
    """
    place = F.least(F.floor(F.col("value") / _BIN), F.lit(int(_TOP / _BIN))).alias("bin")
    known = values.where(F.col("value").isNotNull())
    bins = sorted((int(r["bin"]), int(r["n"])) for r in known.groupBy(place).agg(F.count("*").alias("n")).collect())
    total = sum(n for _, n in bins)
    if total == 0:
        return None
    wanted = [(total - 1) // 2, total // 2]  # 0-based ranks of the two middle values
    before = 0
    found: list[float] = []
    for number, n in bins:
        inside = [rank - before for rank in wanted if before <= rank < before + n]
        if inside:
            part = sorted(float(r["value"]) for r in known.where(place == number).collect())
            found += [part[rank] for rank in inside]
        before += n
    return (found[0] + found[1]) / 2.0


def _counts(rows: DataFrame) -> Sequence[Any]:
    """Per status and chromosome, summed on the driver in that order, so that the sums do not move with the partitions."""
    low, high = EFFECTIVE_N_MAF
    counted = F.col("maf").between(low, high) & (F.col("se") > 0)
    per_snp = 1.0 / (2.0 * F.col("maf") * (1.0 - F.col("maf")) * F.col("se") * F.col("se"))
    exact = "decimal(30,6)"  # decimal sums are associative: the same whatever the order
    grouped = rows.groupBy("status").agg(
        F.count("*").alias("n"),
        F.count("z").alias("fitted"),
        F.max("q_snp_df").alias("q_df"),
        F.sum((F.col("z") * F.col("z")).cast(exact)).cast("double").alias("chisq"),
        F.sum(F.when(counted, per_snp).cast(exact)).cast("double").alias("effective_sum"),
        F.count(F.when(counted, 1)).alias("effective_snps"),
    )
    return sorted(grouped.collect(), key=lambda r: r["status"])


def _hits(rows: DataFrame) -> pd.DataFrame:
    significant = (F.col("p") < GENOME_WIDE_P) | (F.col("q_snp_p") < GENOME_WIDE_P)
    frame = rows.where(significant).select(*_HIT_COLUMNS).toPandas()
    return frame.sort_values(["chr", "bp", "snp"], ignore_index=True)


def _lambda(median: float | None, df: int) -> float | None:
    return None if median is None else lambda_gc(median, df)


def _ratio(counts: Sequence[Any], total: str, number: str, scale: float) -> float | None:
    n = sum(int(r[number]) for r in counts)
    return scale * sum(r[total] or 0.0 for r in counts) / n if n else None


def _finite(value: float | None) -> float | None:
    return None if value is None or value != value else float(value)


def _locus_counts(loci: pd.DataFrame) -> dict[str, int]:
    factor = loci[loci["signal"] == "factor"] if len(loci) else loci
    return {
        "loci": len(factor),
        "loci_factor_only": int(factor["factor_only"].sum()) if len(factor) else 0,
        "loci_qsnp_sig": int(factor["qsnp_sig"].sum()) if len(factor) else 0,
        "q_loci": len(loci) - len(factor),
    }


def _warnings(status: dict[str, int]) -> list[str]:
    total = sum(status.values())
    said = []
    for name, meaning in (
        ("smoothed", "needed smoothing; see their z_smooth"),
        ("heywood", "have an inadmissible solution"),
        ("not_converged", "did not converge"),
        ("not_pd", "could not be made positive definite"),
        ("singular", "have a singular fit"),
        ("missing", "lack an effect, a standard error or a usable MAF"),
    ):
        if status.get(name):
            said.append(f"{status[name]:,} of {total:,} SNPs {meaning} (status {name})")
    return said
