"""How the demo's estimates compare with the truth that its data were simulated from.

The comparison is made where the truth is known: heritabilities on the observed scale, genetic correlations, LDSC intercepts,
and the planted variants by their kind. An estimate is right when it lies within its own error: z = (estimate − truth) / SE.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd

from gsem_spark.demo import data_folder
from gsem_spark.errors import DataError
from gsem_spark.methods.ldsc.covstruct import CovStruct
from gsem_spark.thresholds import GENOME_WIDE_P, Q_SNP_ALPHA

if TYPE_CHECKING:
    from gsem_spark.steps.gwas import Run

WITHIN: Final = 1.959963984540054
"""|z| below this: the truth lies in the estimate's 95 % interval."""
KINDS: Final[Mapping[str, str]] = {
    "factor1": "act through factor 1 (first three traits)",
    "factor2": "act through factor 2 (last three traits)",
    "first_only": "act on the first trait alone",
    "last_only": "act on the last trait alone",
}


@dataclass(frozen=True)
class Comparison:
    """Estimates beside the truth.

    Attributes
    ----------
    traits
        One row a trait: observed-scale h2 and univariate intercept with SE, truth and z of each.
    pairs
        One row a pair: genetic correlation and cross-trait intercept with SE, truth and z of each.
    hits
        One row a kind of planted variant: how many, how many were tested, found, and flagged by Q_SNP.
    """

    traits: pd.DataFrame
    pairs: pd.DataFrame
    hits: pd.DataFrame

    def agreement(self) -> list[tuple[str, int, int, float]]:
        """Per kind of estimate: its name, how many lie within 1.96 SE of the truth, of how many, and the largest |z|."""
        columns = [
            ("heritabilities", self.traits["h2 z"]), ("genetic correlations", self.pairs["rg z"]),
            ("intercepts", pd.concat([self.traits["intercept z"], self.pairs["intercept z"]])),
        ]
        return [(name, int((z.abs() <= WITHIN).sum()), len(z), float(z.abs().max())) for name, z in columns]


def read_truth(path: str | Path | None = None) -> dict[str, Any]:
    """Read the truth of the demo (or of another simulated set); a :class:`DataError` when it is not there."""
    path = Path(path) if path else data_folder() / "raw" / "truth.json"
    try:
        truth: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError("the truth of the simulated set is not there", where=str(path)) from None
    return truth


def planted_rows(run: Run, truth: Mapping[str, Any]) -> pd.DataFrame:
    """Fetch a run's results of the planted variants: a few rows."""
    names = sorted({name for kind in truth["hits"].values() for name in kind})
    rows = run.results()
    found: pd.DataFrame = rows.where(rows["snp"].isin(names)).select("snp", "est", "se", "p", "q_snp_p", "status").toPandas()
    return found


def compare(cov: CovStruct, planted: pd.DataFrame, n_factor_snps: int, truth: Mapping[str, Any]) -> Comparison:
    """Put estimates and truth side by side.

    Parameters
    ----------
    cov
        Estimated structure, with LDSC's diagnostics.
    planted
        GWAS results of the planted variants that were tested: snp, p, q_snp_p.
    n_factor_snps
        Genome-wide significant factor SNPs of the whole run; Q_SNP is tested at .05 over this number.
    truth
        Content of ``truth.json``.
    """
    at = [list(truth["names"]).index(name) for name in cov.traits]
    S, intercepts = (np.asarray(truth[key], dtype=np.float64)[np.ix_(at, at)] for key in ("S", "I"))
    return Comparison(_traits(cov, S, intercepts), _pairs(cov, S, intercepts), _hits(planted, n_factor_snps, truth["hits"]))


def _traits(cov: CovStruct, S: Any, intercepts: Any) -> pd.DataFrame:
    known = cov.h2().set_index("trait").loc[list(cov.traits)]
    return pd.DataFrame({
        "trait": list(cov.traits),
        "h2": known["h2_observed"].to_numpy(), "h2 SE": known["h2_observed_se"].to_numpy(), "h2 truth": np.diag(S),
        "h2 z": _z(known["h2_observed"], np.diag(S), known["h2_observed_se"]),
        "intercept": known["intercept"].to_numpy(), "intercept SE": known["intercept_se"].to_numpy(),
        "intercept truth": np.diag(intercepts), "intercept z": _z(known["intercept"], np.diag(intercepts), known["intercept_se"]),
    })


def _pairs(cov: CovStruct, S: Any, intercepts: Any) -> pd.DataFrame:
    """Correlations carry the delta-method SE, which lets the heritabilities vary too; cov.rg()'s ``se`` holds them fixed."""
    rg = cov.rg()
    cross = {frozenset((r["trait_1"], r["trait_2"])): r for r in cov.diagnostics.get("pairs", [])}
    rows = []
    for pair in rg.itertuples(index=False):
        i, j = cov.traits.index(pair.trait_1), cov.traits.index(pair.trait_2)
        true_rg = S[i, j] / np.sqrt(S[i, i] * S[j, j])
        known = cross[frozenset((pair.trait_1, pair.trait_2))]
        rows.append({
            "pair": f"{pair.trait_1}, {pair.trait_2}", "rg": pair.rg, "rg SE": pair.se_delta, "rg truth": true_rg,
            "rg z": (pair.rg - true_rg) / pair.se_delta,
            "intercept": known["intercept"], "intercept SE": known["intercept_se"], "intercept truth": intercepts[i, j],
            "intercept z": (known["intercept"] - intercepts[i, j]) / known["intercept_se"],
        })
    return pd.DataFrame(rows)


def _hits(planted: pd.DataFrame, n_factor_snps: int, kinds: Mapping[str, list[str]]) -> pd.DataFrame:
    by_snp = planted.drop_duplicates("snp").set_index("snp")
    q_level = Q_SNP_ALPHA / max(n_factor_snps, 1)
    rows = []
    for kind, names in kinds.items():
        tested = by_snp.loc[by_snp.index.intersection(names)]
        found = tested["p"] < GENOME_WIDE_P
        flagged = tested["q_snp_p"] < q_level
        rows.append({
            "planted variants that": KINDS.get(kind, kind), "planted": len(names), "tested": len(tested),
            "factor p < 5e-8": int(found.sum()), "of these Q_SNP flags": int((found & flagged).sum()),
            "Q_SNP p < 5e-8": int((tested["q_snp_p"] < GENOME_WIDE_P).sum()),
        })
    return pd.DataFrame(rows)


def _z(estimate: Any, truth: Any, se: Any) -> Any:
    return (np.asarray(estimate, dtype=np.float64) - truth) / np.asarray(se, dtype=np.float64)
