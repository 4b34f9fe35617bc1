"""The demo: six simulated GWAS in six dirty raw formats on a simulated LD-score panel, with a known truth."""

from __future__ import annotations

from pathlib import Path


def data_folder() -> Path:
    """Folder of the packaged demo data: ``raw`` (GWAS, reference, truth) and ``ld`` (LD scores)."""
    return Path(__file__).parent / "data"
