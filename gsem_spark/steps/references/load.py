"""Load what every study is held against: the variant reference and the LD scores of an ancestry panel."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from gsem_spark.errors import ConfigError, DataError
from gsem_spark.steps.progress import Progress
from gsem_spark.steps.references.ld_panel import LdScoresConfig, LoadLdScores
from gsem_spark.steps.references.text import LD_STEP, VARIANTS_STEP, loads
from gsem_spark.steps.references.variants import LoadVariants, VariantsConfig
from gsem_spark.steps.step import Report, Step, checked_config

if TYPE_CHECKING:
    from gsem_spark.catalog.workspace import Workspace


def load_references(
    ws: Workspace,
    variants: str | Path | None = None,
    ld_scores: str | Path | None = None,
    weights: str | Path | None = None,
    panel: str = "eur",
    *,
    hm3: str | Path | None = None,
    cohort: str | None = None,
    progress: Progress | None = None,
) -> list[Report]:
    """Load a variant reference and/or the LD scores of a panel into a workspace.

    Parameters
    ----------
    ws
        The workspace.
    variants
        Text file with columns SNP, A1, A2 and, for per-SNP models, CHR, BP, MAF.
    ld_scores
        Folder with ``<chr>.l2.ldscore.gz`` and ``<chr>.l2.M_5_50``.
    weights
        Folder with the LD scores of the regression weights, when it is another.
    panel
        Name of the panel.
    hm3
        List of HapMap 3 SNPs (SNP A1 A2); without it every reference variant with an LD score is used by LDSC.
    cohort
        Take the variants of a cohort of genotypes as the variant reference, in place of ``variants``.

    Raises
    ------
    DataError
        A file or folder is missing, lacks a column, or is empty.
    """
    if variants is None and ld_scores is None and cohort is None:
        raise ConfigError("nothing to load: give variants, ld_scores or both")
    steps: list[Step[Any]] = []
    if variants is not None or cohort is not None:
        settings = {"variants": str(variants) if variants else None, "hm3": str(hm3) if hm3 else None, "cohort": cohort}
        steps.append(LoadVariants(checked_config(VariantsConfig, "load-references", **settings)))
    if ld_scores is not None:
        steps.append(
            LoadLdScores(LdScoresConfig(ld_scores=str(ld_scores), weights=str(weights) if weights else None, panel=panel))
        )
    return [step.run(ws, progress) for step in steps]


def reference_version(ws: Workspace) -> str:
    """The run that loaded the variant reference; a :class:`DataError` says how to load one where there is none."""
    runs = loads(ws, VARIANTS_STEP)
    if not runs:
        raise DataError("no variant reference is loaded", where=ws.location, remedy="gsem-spark load-references --variants FILE")
    if runs[-1].status == "running":
        raise DataError(
            "loading the variant reference was interrupted, or is still going on",
            where=ws.location,
            remedy="wait for it, or load it again: gsem-spark load-references --variants FILE",
        )
    return runs[-1].run_id


def panel_version(ws: Workspace, panel: str | None) -> tuple[str, str]:
    """Name and loading run of an LD-score panel; the only panel when ``panel`` is None."""
    runs = {str(e.summary["panel"]): e.run_id for e in ws.runs.of_step(LD_STEP)}
    if not runs:
        raise DataError("no LD scores are loaded", where=ws.location, remedy="gsem-spark load-references --ld-scores FOLDER")
    if panel is None:
        if len(runs) > 1:
            raise ConfigError(f"there are several LD-score panels ({', '.join(sorted(runs))})", remedy="name one: panel=…")
        panel = next(iter(runs))
    if panel not in runs:
        raise ConfigError(f"there is no LD-score panel {panel!r}; loaded are {', '.join(sorted(runs))}")
    return panel, runs[panel]
