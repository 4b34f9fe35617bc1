"""Sections of a report on GWAS of users' models and on Wald tests: one a run, with a part for each path or test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from gsem_spark.report import tables
from gsem_spark.report.figures import Q_SNP_BOLD
from gsem_spark.report.forest import loci_forest
from gsem_spark.report.manhattan import manhattan
from gsem_spark.report.qq import QQPanel, qq
from gsem_spark.report.wording import count, number, p_value
from gsem_spark.thresholds import GENOME_WIDE_P

_SIGNAL_WORDS: Mapping[str, str] = {
    "factor": "SNP effect on the factor", "effect": "SNP effect", "omnibus": "association with any of the traits",
    "contrast": "Wald test",
}


@dataclass(frozen=True)
class PathContent:
    """One path of a model, or one Wald test, over the genome; thinned.

    Parameters
    ----------
    label
        E.g. ``F1~SNP``.
    signal
        ``factor``, ``effect``, ``omnibus`` or ``contrast``.
    points, qq
        What the Manhattan and the QQ plot draw.
    loci
        Rows of table ``loci`` of this path.
    figures
        ``lambda_gc mean_chisq effective_n hits loci …``; missing ones are not shown.
    q_points, q_qq
        The same of its Q_SNP; None where it has none.
    effects
        ``snp trait beta se`` of lead SNPs, for the forest figure; may be empty.
    q_threshold
        p-value below which a factor SNP's Q_SNP is significant.
    """

    label: str
    signal: str
    points: pd.DataFrame
    qq: pd.DataFrame
    loci: pd.DataFrame
    figures: Mapping[str, float | None]
    q_points: pd.DataFrame | None = None
    q_qq: pd.DataFrame | None = None
    effects: pd.DataFrame = field(default_factory=pd.DataFrame)
    q_threshold: float | None = None


@dataclass(frozen=True)
class ScanContent:
    """A run that tested every SNP.

    Parameters
    ----------
    name, run_id, kind
        What the user calls it, its run, and the heading of its kind.
    traits
        Traits in the order of the panel.
    syntax
        The model as the user wrote it, or the hypotheses.
    route
        How the fits were made, in words; empty where there is one way.
    notes
        What a reader must know.
    status
        SNPs by fit status.
    paths
        In the order to show.
    """

    name: str
    run_id: str
    kind: str
    traits: tuple[str, ...]
    syntax: str
    route: str
    notes: tuple[str, ...]
    status: Mapping[str, int]
    paths: tuple[PathContent, ...]


def scan_figures(scans: Sequence[ScanContent]) -> dict[str, Figure]:
    """Draw of every path a Manhattan plot, QQ plots, and the forest of a factor's leads: ``scan_1_1_manhattan`` …."""
    figures: dict[str, Figure] = {}
    for key, path in _keyed(scans):
        loci = path.loci.assign(signal=path.loci["signal"].where(path.loci["signal"] == "q_snp", "factor"))
        figures[f"{key}_manhattan"] = manhattan(
            path.points, path.q_points, loci, title=f"{path.label}: {_SIGNAL_WORDS[path.signal]}", q_threshold=path.q_threshold
        )
        panels = [QQPanel(path.label, path.qq, _nan(path.figures.get("lambda_gc")))]
        if path.q_qq is not None:
            panels.append(QQPanel(Q_SNP_BOLD, path.q_qq, _nan(path.figures.get("lambda_gc_q"))))
        figures[f"{key}_qq"] = qq(panels)
        mine = loci[loci["signal"] == "factor"]
        if len(path.effects) and mine["snp"].isin(path.effects["snp"]).any():
            figures[f"{key}_forest"] = loci_forest(path.effects, mine, factor_name=path.label.split("~")[0])
    return figures


def scan_sections(scans: Sequence[ScanContent]) -> list[dict[str, Any]]:
    """Prepare what the template shows of each run."""
    return [
        {
            "key": f"scan_{place}",
            "scan": scan,
            "figures": _figures_table(scan),
            "status": tables.statuses_table(scan.status),
            "paths": [_path_section(f"scan_{place}_{n}", path) for n, path in enumerate(scan.paths, 1)],
        }
        for place, scan in enumerate(scans, 1)
    ]


def _keyed(scans: Sequence[ScanContent]) -> list[tuple[str, PathContent]]:
    return [(f"scan_{i}_{n}", path) for i, scan in enumerate(scans, 1) for n, path in enumerate(scan.paths, 1)]


def _path_section(key: str, path: PathContent) -> dict[str, Any]:
    main = path.loci[path.loci["signal"] != "q_snp"]
    q = path.loci[path.loci["signal"] == "q_snp"]
    below = ""
    if path.q_points is not None:
        line = "" if path.q_threshold is None else f" Lower line: p = {p_value(path.q_threshold)}, .05 / number of hits."
        below = f" Below, mirrored: Q_SNP, the heterogeneity that the factor does not explain.{line}"
    return {
        "key": key,
        "label": path.label,
        "what": _SIGNAL_WORDS[path.signal],
        "loci": tables.path_loci_table(main, "factor", tables.FIRST_LOCI) if len(main) else None,
        "q_loci": tables.path_loci_table(q, "q_snp", tables.FIRST_LOCI) if len(q) else None,
        "manhattan": f"{path.label}: {_SIGNAL_WORDS[path.signal]}. Named are lead SNPs of loci with p < "
        f"{p_value(GENOME_WIDE_P).replace('.0 ×', ' ×')}.{below}",
        "qq": f"QQ plot of {path.label}{' and of its Q_SNP' if path.q_qq is not None else ''}. Grey: 95 % band of the null for "
        "independent SNPs.",
        "forest": f"The strongest loci of {path.label}: effect of the lead SNP on each trait and on the factor.",
    }


def _figures_table(scan: ScanContent) -> tables.Table:
    heads = ("Path", "λGC", "λGC of Q_SNP", "Mean χ²", "Effective N", "SNPs p < 5 × 10⁻⁸", "Loci", "Factor only", "Loci of Q_SNP")
    rows = [
        (
            tables.Cell(path.label, "code"), number(f.get("lambda_gc"), 3), number(f.get("lambda_gc_q"), 3),
            number(f.get("mean_chisq"), 3), number(f.get("effective_n"), 0), count(f.get("hits")), count(f.get("loci")),
            count(f.get("loci_factor_only")), count(f.get("q_loci")),
        )
        for path in scan.paths
        for f in [path.figures]
    ]  # fmt: skip
    return tables.table(heads, rows)


def _nan(value: float | None) -> float:
    return float("nan") if value is None else float(value)
