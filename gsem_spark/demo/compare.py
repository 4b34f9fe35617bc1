"""How estimates compare with the truth that the data were simulated from.

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
from scipy import stats
from scipy.linalg import cho_factor, cho_solve

from gsem_spark.errors import DataError
from gsem_spark.methods.ldsc.covstruct import CovStruct, vech
from gsem_spark.thresholds import GENOME_WIDE_P, Q_SNP_ALPHA

if TYPE_CHECKING:
    from gsem_spark.steps.gwas.run import Run

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
    joint_p
        p-value of all of S against the truth at once, by Hotelling's T² over the jackknife blocks. The single z's of one draw
        go together, because all traits share the same SNPs; this test takes that into account.
    """

    traits: pd.DataFrame
    pairs: pd.DataFrame
    hits: pd.DataFrame
    joint_p: float

    def agreement(self) -> list[tuple[str, int, int, float]]:
        """Per kind of estimate: its name, how many lie within 1.96 SE of the truth, of how many, and the largest |z|."""
        columns = [
            ("heritabilities", self.traits["h2 z"]),
            ("genetic correlations", self.pairs["rg z"]),
            ("intercepts", pd.concat([self.traits["intercept z"], self.pairs["intercept z"]])),
        ]
        return [(name, int((z.abs() <= WITHIN).sum()), len(z), float(z.abs().max())) for name, z in columns]

    def records(self) -> pd.DataFrame:
        """Every estimate as a row: quantity, truth, estimate, se."""
        parts = [(self.traits, "trait", "h2", "h2 (observed scale)"), (self.pairs, "pair", "rg", "genetic correlation")]
        parts += [(self.traits, "trait", "intercept", "intercept"), (self.pairs, "pair", "intercept", "cross-trait intercept")]
        return pd.concat(
            [
                pd.DataFrame(
                    {
                        "quantity": title + " of " + frame[name].astype(str),
                        "truth": frame[f"{key} truth"],
                        "estimate": frame[key],
                        "se": frame[f"{key} SE"],
                    }
                )
                for frame, name, key, title in parts
            ],
            ignore_index=True,
        )


def read_truth(path: str | Path) -> dict[str, Any]:
    """Read ``truth.json`` of a simulated set; a :class:`DataError` when it is not there."""
    path = Path(path)
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


def compare_run(cov: CovStruct, run: Run, truth: Mapping[str, Any]) -> Comparison:
    """Put the estimates of a study and its GWAS run beside the truth."""
    return compare(cov, planted_rows(run, truth), int(run.summary.get("factor_hits", 0)), truth)


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
    hits = _hits(planted, n_factor_snps, truth["hits"])
    return Comparison(_traits(cov, S, intercepts), _pairs(cov, S, intercepts), hits, _joint_p(cov, S))


def _traits(cov: CovStruct, S: Any, intercepts: Any) -> pd.DataFrame:
    known = cov.h2().set_index("trait").loc[list(cov.traits)]
    return pd.DataFrame(
        {
            "trait": list(cov.traits),
            "h2": known["h2_observed"].to_numpy(),
            "h2 SE": known["h2_observed_se"].to_numpy(),
            "h2 truth": np.diag(S),
            "h2 z": _z(known["h2_observed"], np.diag(S), known["h2_observed_se"]),
            "intercept": known["intercept"].to_numpy(),
            "intercept SE": known["intercept_se"].to_numpy(),
            "intercept truth": np.diag(intercepts),
            "intercept z": _z(known["intercept"], np.diag(intercepts), known["intercept_se"]),
        }
    )


def _pairs(cov: CovStruct, S: Any, intercepts: Any) -> pd.DataFrame:
    """Correlations carry the delta-method SE, which lets the heritabilities vary too; cov.rg()'s ``se`` holds them fixed."""
    rg = cov.rg()
    cross = {frozenset((r["trait_1"], r["trait_2"])): r for r in cov.diagnostics.get("pairs", [])}
    rows = []
    for pair in rg.itertuples(index=False):
        i, j = cov.traits.index(pair.trait_1), cov.traits.index(pair.trait_2)
        true_rg = S[i, j] / np.sqrt(S[i, i] * S[j, j])
        known = cross[frozenset((pair.trait_1, pair.trait_2))]
        rows.append(
            {
                "pair": f"{pair.trait_1}, {pair.trait_2}",
                "rg": pair.rg,
                "rg SE": pair.se_delta,
                "rg truth": true_rg,
                "rg z": (pair.rg - true_rg) / pair.se_delta,
                "intercept": known["intercept"],
                "intercept SE": known["intercept_se"],
                "intercept truth": intercepts[i, j],
                "intercept z": (known["intercept"] - intercepts[i, j]) / known["intercept_se"],
            }
        )
    return pd.DataFrame(rows)


def _joint_p(cov: CovStruct, S: Any) -> float:
    """Hotelling's T² of vech(S) against the truth, on the scale of ``cov``; V comes from n blocks, hence F(k*, n − k*)."""
    known = cov.h2().set_index("trait").loc[list(cov.traits)]
    to_scale = np.sqrt(np.diag(cov.S) / known["h2_observed"].to_numpy())
    off = vech(cov.S) - vech(S * np.outer(to_scale, to_scale))
    blocks, p = int(cov.settings["n_blocks"]), cov.k_star
    if blocks <= p:
        return float("nan")
    t2 = float(off @ cho_solve(cho_factor(cov.V), off))
    return float(stats.f.sf(t2 * (blocks - p) / (p * (blocks - 1)), p, blocks - p))


def _hits(planted: pd.DataFrame, n_factor_snps: int, kinds: Mapping[str, list[str]]) -> pd.DataFrame:
    by_snp = planted.drop_duplicates("snp").set_index("snp")
    q_level = Q_SNP_ALPHA / max(n_factor_snps, 1)
    rows = []
    for kind, names in kinds.items():
        tested = by_snp.loc[by_snp.index.intersection(names)]
        found = tested["p"] < GENOME_WIDE_P
        flagged = tested["q_snp_p"] < q_level
        rows.append(
            {
                "planted variants that": KINDS.get(kind, kind),
                "planted": len(names),
                "tested": len(tested),
                "factor p < 5e-8": int(found.sum()),
                "of these Q_SNP flags": int((found & flagged).sum()),
                "Q_SNP p < 5e-8": int((tested["q_snp_p"] < GENOME_WIDE_P).sum()),
            }
        )
    return pd.DataFrame(rows)


def _z(estimate: Any, truth: Any, se: Any) -> Any:
    return (np.asarray(estimate, dtype=np.float64) - truth) / np.asarray(se, dtype=np.float64)
