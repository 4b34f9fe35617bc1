"""Per-SNP results as other programs read them: column names, their order, and what stands for a missing value.

Sources: GenomicSEM 0.0.5 (what ``commonfactorGWAS`` and ``userGWAS`` return); GWAS-SSF 1.1 (Hayhurst et al. 2022, the GWAS
Catalog's standard); LDSC's ``.sumstats`` files; the input page of FUMA's SNP2GENE.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

Format = Literal["genomicsem", "gwas-ssf", "ldsc", "fuma"]
FORMATS: Final[tuple[Format, ...]] = ("genomicsem", "gwas-ssf", "ldsc", "fuma")

COMMON_FACTOR_COLUMNS: Final = (
    "SNP", "CHR", "BP", "MAF", "A1", "A2", "i", "lhs", "op", "rhs", "est", "se_c", "Z_Estimate", "Pval_Estimate", "Q", "Q_df",
    "Q_pval", "fail", "warning",
)
USER_COLUMNS: Final = (
    "SNP", "CHR", "BP", "MAF", "A1", "A2", "lhs", "op", "rhs", "free", "label", "est", "SE", "Z_Estimate", "Pval_Estimate",
    "chisq", "chisq_df", "chisq_pval", "AIC", "Q_SNP", "Q_SNP_df", "Q_SNP_pval", "error", "warning",
)
Z_SMOOTH: Final = "Z_smooth"
"""Last column of either where GenomicSEM's ``smooth_check`` is on."""
SSF_COLUMNS: Final = (
    "chromosome", "base_pair_location", "effect_allele", "other_allele", "beta", "standard_error", "effect_allele_frequency",
    "p_value", "rsid", "n",
)
"""The first eight in the standard's order, then what it encourages."""
SSF_HETEROGENEITY: Final = ("q_snp", "q_snp_df", "q_snp_p_value")
"""Further columns, as the standard allows: Q_SNP where the path has one."""
LDSC_COLUMNS: Final = ("SNP", "A1", "A2", "N", "Z")
FUMA_COLUMNS: Final = ("SNP", "CHR", "BP", "A1", "A2", "P", "BETA", "SE", "N")

FUMA_SMALLEST_P: Final = 1e-308
"""FUMA takes no p-value below this one for what it is; smaller ones are written so."""
SMALLEST_P_NEGLOG10: Final = 300.0
"""-log10 p above which a p-value is written from its logarithm: as a double it would lose digits or be 0."""
NAMES: Final[Mapping[Format, str]] = {"genomicsem": "NA", "gwas-ssf": "#NA", "ldsc": "NA", "fuma": "NA"}
"""What stands for a missing value."""


@dataclass(frozen=True)
class Layout:
    """How one path's results are written.

    Parameters
    ----------
    format
        Name of the format.
    common_factor
        Whether the run was a common-factor GWAS: GenomicSEM names its columns otherwise.
    has_q
        Whether the path has a Q_SNP.
    label
        The path's label in the model, if it has one.
    n
        Effective sample size, for the formats that hold one.
    free
        Number of the path among the model's free parameters, 0 where it is fixed or defined; None where the run does not tell.
    z_smooth
        Whether to write ``Z_smooth`` (format genomicsem).
    """

    format: Format
    common_factor: bool
    has_q: bool
    label: str = ""
    n: float | None = None
    free: int | None = None
    z_smooth: bool = False

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns, in order."""
        if self.format == "genomicsem":
            last = (Z_SMOOTH,) if self.z_smooth else ()
            if self.common_factor:
                return COMMON_FACTOR_COLUMNS + last
            return tuple(c for c in USER_COLUMNS if self.has_q or not c.startswith("Q_")) + last
        if self.format == "gwas-ssf":
            return SSF_COLUMNS + (SSF_HETEROGENEITY if self.has_q else ())
        return LDSC_COLUMNS if self.format == "ldsc" else FUMA_COLUMNS

    @property
    def places(self) -> tuple[int, int] | None:
        """Numbers of the columns of chromosome and position, from 1, where the format has them."""
        named = next((pair for pair in (("CHR", "BP"), ("chromosome", "base_pair_location")) if pair[0] in self.columns), None)
        return None if named is None else (self.columns.index(named[0]) + 1, self.columns.index(named[1]) + 1)

    def kept(self, rows: pa.Table) -> pa.Table:
        """Rows that the format can hold: GenomicSEM's all, the others those with an estimate and a standard error."""
        if self.format == "genomicsem":
            return rows
        known = pc.and_(pc.is_valid(rows.column("est")), pc.fill_null(pc.greater(rows.column("se"), 0.0), False))
        return rows.filter(known)

    def table(self, rows: pa.Table, before: int) -> pa.Table:
        """Rows of ``gwas_results`` (with ``eaf`` beside, for GWAS-SSF) as text columns; ``before`` rows went ahead of them."""
        make = {"genomicsem": self._genomicsem, "gwas-ssf": self._ssf, "ldsc": self._ldsc, "fuma": self._fuma}[self.format]
        made = make(rows, before)
        missing = NAMES[self.format]
        return pa.table({name: _text(made[name], missing) for name in self.columns})

    def _genomicsem(self, rows: pa.Table, before: int) -> dict[str, pa.ChunkedArray]:
        n = rows.num_rows
        said = pc.fill_null(rows.column("message"), "0")
        failed = pc.is_null(rows.column("est"))
        nothing = pa.chunked_array([pa.repeat("0", n)])
        shared = {
            "SNP": rows.column("snp"), "CHR": rows.column("chr"), "BP": rows.column("bp"), "MAF": rows.column("maf"),
            "A1": rows.column("a1"), "A2": rows.column("a2"), "lhs": rows.column("lhs"), "op": rows.column("op"),
            "rhs": rows.column("rhs"), "est": rows.column("est"), "Z_Estimate": rows.column("z"),
            "Pval_Estimate": _p_text(rows.column("p"), rows.column("neglog10p")), Z_SMOOTH: rows.column("z_smooth"),
        }
        q_p = _p_text(rows.column("q_snp_p"), rows.column("q_snp_neglog10p"))
        errors, others = pc.if_else(failed, said, nothing), pc.if_else(failed, nothing, said)
        if self.common_factor:
            number = pa.chunked_array([pa.array(np.arange(before + 1, before + n + 1))])
            return {
                **shared, "i": number, "se_c": rows.column("se"), "Q": rows.column("q_snp"), "Q_df": rows.column("q_snp_df"),
                "Q_pval": q_p, "fail": errors, "warning": others,
            }
        return {
            **shared, "SE": rows.column("se"), "free": self._free(rows, failed),
            "label": pa.chunked_array([pa.repeat(self.label, n)]), "chisq": rows.column("chisq"),
            "chisq_df": rows.column("chisq_df"), "chisq_pval": rows.column("chisq_p"), "AIC": rows.column("aic"),
            "Q_SNP": rows.column("q_snp"), "Q_SNP_df": rows.column("q_snp_df"), "Q_SNP_pval": q_p, "error": errors,
            "warning": others,
        }

    def _free(self, rows: pa.Table, failed: pa.ChunkedArray) -> pa.ChunkedArray:
        """Number of the parameter, missing where the SNP has no fit, as GenomicSEM has it."""
        if self.free is None:  # runs made before it was kept: whether the parameter is free
            return pc.cast(pc.is_valid(rows.column("se")), pa.int32())
        return pc.if_else(failed, pa.scalar(None, pa.int32()), pa.scalar(self.free, pa.int32()))

    def _ssf(self, rows: pa.Table, before: int) -> dict[str, pa.ChunkedArray]:
        named = pc.match_substring_regex(rows.column("snp"), "^rs[0-9]+$")
        return {
            "chromosome": rows.column("chr"), "base_pair_location": rows.column("bp"), "effect_allele": rows.column("a1"),
            "other_allele": rows.column("a2"), "beta": rows.column("est"), "standard_error": rows.column("se"),
            "effect_allele_frequency": rows.column("eaf"), "p_value": _p_text(rows.column("p"), rows.column("neglog10p")),
            "rsid": pc.if_else(named, rows.column("snp"), pa.scalar(None, pa.string())), "n": self._samples(rows.num_rows),
            "q_snp": rows.column("q_snp"), "q_snp_df": rows.column("q_snp_df"),
            "q_snp_p_value": _p_text(rows.column("q_snp_p"), rows.column("q_snp_neglog10p")),
        }

    def _ldsc(self, rows: pa.Table, before: int) -> dict[str, pa.ChunkedArray]:
        return {
            "SNP": rows.column("snp"), "A1": rows.column("a1"), "A2": rows.column("a2"), "N": self._samples(rows.num_rows),
            "Z": rows.column("z"),
        }

    def _fuma(self, rows: pa.Table, before: int) -> dict[str, pa.ChunkedArray]:
        return {
            "SNP": rows.column("snp"), "CHR": rows.column("chr"), "BP": rows.column("bp"), "A1": rows.column("a1"),
            "A2": rows.column("a2"), "P": pc.max_element_wise(rows.column("p"), FUMA_SMALLEST_P, skip_nulls=False),
            "BETA": rows.column("est"), "SE": rows.column("se"), "N": self._samples(rows.num_rows),
        }

    def _samples(self, rows: int) -> pa.ChunkedArray:
        return pa.chunked_array([pa.repeat(round(self.n or 0.0), rows)])


def _text(values: pa.ChunkedArray, missing: str) -> pa.ChunkedArray:
    """Values as text, numbers with as many digits as they need to be read back the same."""
    kind = values.type
    if pa.types.is_string(kind):
        values = pc.replace_substring_regex(values, r"[\t\r\n]+", " ")
    return pc.fill_null(values if pa.types.is_string(kind) else pc.cast(values, pa.string()), missing)


def _p_text(p: pa.ChunkedArray, neglog10p: pa.ChunkedArray) -> pa.ChunkedArray:
    """p-values as text; those that a double cannot hold from their logarithm, e.g. ``3.2e-412``."""
    text = pc.cast(p, pa.string())
    small = np.flatnonzero(neglog10p.to_numpy() > SMALLEST_P_NEGLOG10)
    if small.size == 0:
        return text
    words = text.to_numpy(zero_copy_only=False)
    for place, value in zip(small.tolist(), neglog10p.to_numpy()[small].tolist(), strict=True):
        whole = int(np.ceil(value))
        words[place] = "0" if np.isinf(value) else f"{10.0 ** (whole - value):.12g}e-{whole}"
    return pa.chunked_array([pa.array(words, pa.string())])
