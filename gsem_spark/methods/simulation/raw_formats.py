"""The raw formats of published GWAS, as data: column names in their order, the effect's scale, and how z becomes an effect."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from gsem_spark.errors import ConfigError

Floats = NDArray[np.float64]
Role = Literal["snp", "chr", "bp", "a1", "a2", "freq", "info", "effect", "se", "p", "n"]
Effect = Literal["odds_ratio", "odds_ratio_se", "log_odds", "beta", "z", "probability"]

SAMPLE_SIZE_SPREAD: Final = 0.07
"""In formats with an N of each SNP, N lies between (1 - this) N and N."""


@dataclass(frozen=True)
class RawFormat:
    """One raw format.

    Parameters
    ----------
    code
        Its name in settings, file names and truth.json.
    columns
        (header, role) pairs in file order.
    effect
        Scale of the effect column.
    scale
        What a study file calls the scale.
    n_spread
        Relative width of N over SNPs.
    """

    code: str
    columns: tuple[tuple[str, Role], ...]
    effect: Effect
    scale: str
    n_spread: float = 0.0

    @property
    def header(self) -> tuple[str, ...]:
        """Column names in file order."""
        return tuple(name for name, _ in self.columns)

    @property
    def case_control(self) -> bool:
        """Whether the format is of a case-control trait, which needs the share of cases."""
        return self.effect not in ("beta", "z")


def _columns(text: str) -> tuple[tuple[str, Role], ...]:
    pairs = (item.split("=") for item in text.split())
    return tuple((name, role) for name, role in pairs)  # type: ignore[misc]  # roles are checked by the unit tests


_OR = "SNP=snp CHR=chr BP=bp A1=a1 A2=a2 FRQ=freq INFO=info OR=effect SE=se P=p"
_BETA = "SNP=snp A1=a1 A2=a2 FRQ=freq INFO=info BETA=effect SE=se P=p N=n"
_LOG_OR = "rsid=snp effect_allele=a1 other_allele=a2 eaf=freq log_odds=effect SE=se pval=p"
_Z = "SNP=snp CHR=chr BP=bp A1=a1 A2=a2 FRQ=freq Z=effect P=p N=n"
_SSF = (
    "chromosome=chr base_pair_location=bp effect_allele=a1 other_allele=a2 beta=effect standard_error=se "
    "effect_allele_frequency=freq p_value=p rsid=snp n=n"
)
FORMATS: Final = MappingProxyType({
    f.code: f
    for f in (
        RawFormat("OR", _columns(_OR), "odds_ratio", "logistic"),
        RawFormat("ORSE", _columns(_OR), "odds_ratio_se", "logistic_or_se"),
        RawFormat("LOGOR", _columns(_LOG_OR), "log_odds", "logistic"),
        RawFormat("OLS", _columns(_BETA), "beta", "linear", SAMPLE_SIZE_SPREAD),
        RawFormat("ZN", _columns(_Z), "z", "linear", SAMPLE_SIZE_SPREAD),
        RawFormat("LPM", _columns(_BETA), "probability", "linear_probability"),
        RawFormat("SSF", _columns(_SSF), "beta", "linear", SAMPLE_SIZE_SPREAD),
    )
})  # fmt: skip
"""OR with SE of log OR; ORSE with SE on the OR scale; log odds; continuous; Z and N alone; linear probability; GWAS-SSF."""


def format_of(code: str) -> RawFormat:
    """Return the format of that code, or say which there are."""
    if code not in FORMATS:
        raise ConfigError(f"there is no raw format {code!r}; there are {', '.join(FORMATS)}", where="simulate/traits/kind")
    return FORMATS[code]


def effect_and_se(kind: RawFormat, z: Floats, freq: Floats, n: Floats, case_share: float = np.nan) -> tuple[Floats, Floats]:
    """Turn Z-scores into the effect and standard error that the format reports.

    Parameters
    ----------
    kind
        The format.
    z
        Z-scores of the effect allele, shape (r,).
    freq
        Its frequency, shape (r,), in (0, 1).
    n
        Samples, cases and controls together, shape (r,).
    case_share
        Share of cases s in the sample, in (0, 1); needed for case-control formats.

    Returns
    -------
    effect, se
        Shape (r,). With v = 2 f (1 - f): continuous se = 1 / sqrt(v n), in phenotypic standard deviations; log odds
        se = 1 / sqrt(v n s (1 - s)); linear probability se = sqrt(s (1 - s) / (v n)); effect = z se. OR is exp(log odds);
        its SE on the OR scale is OR times the SE of log odds. For ``z`` the effect is z itself and the SE is 1.

    Source
    ------
    The effects of small variants under linear and logistic regression, as GenomicSEM's wiki uses them backwards
    (standardised effects from z, N and MAF); Lloyd-Jones et al. (2018), Genetics 208:1397, for case-control traits.
    """
    if kind.case_control and not 0.0 < case_share < 1.0:
        raise ConfigError(
            f"format {kind.code} is of a case-control trait and needs the share of cases in (0, 1), got {case_share:g}",
            where="simulate/traits/sample_prevalence", remedy="Give sample_prevalence, such as 0.5.",
        )  # fmt: skip
    if kind.effect == "z":
        return z, np.ones_like(z)
    se = 1.0 / np.sqrt(2.0 * freq * (1.0 - freq) * n)
    if kind.effect == "beta":
        return z * se, se
    spread = np.sqrt(case_share * (1.0 - case_share))
    if kind.effect == "probability":
        return z * se * spread, se * spread
    se = se / spread
    log_odds = z * se
    if kind.effect == "log_odds":
        return log_odds, se
    odds_ratio = np.exp(log_odds)
    return odds_ratio, odds_ratio * se if kind.effect == "odds_ratio_se" else se
