"""Ready-made designs, as the plain settings that a YAML file would hold."""

from __future__ import annotations

from typing import Any, Final

PRESETS: Final[dict[str, dict[str, Any]]] = {
    # Six traits in six raw formats, two factors that correlate by one half, three pairs of GWAS that share samples.
    "demo": {
        "traits": [
            {"name": "AAA", "kind": "OR", "n": 90_000, "h2": 0.25, "sample_prevalence": 0.35, "intercept": 1.01},
            {"name": "BBB", "kind": "LOGOR", "n": 60_000, "h2": 0.18, "sample_prevalence": 0.5, "intercept": 1.03},
            {"name": "CCC", "kind": "OLS", "n": 250_000, "h2": 0.12},
            {"name": "DDD", "kind": "ZN", "n": 120_000, "h2": 0.20, "intercept": 1.03},
            {"name": "EEE", "kind": "LPM", "n": 180_000, "h2": 0.30, "sample_prevalence": 0.2, "intercept": 1.01},
            {"name": "FFF", "kind": "SSF", "n": 300_000, "h2": 0.10, "intercept": 1.02},
        ],
        "loadings": [[0.8, 0.0], [0.7, 0.0], [0.6, 0.0], [0.0, 0.75], [0.0, 0.85], [0.0, 0.55]],
        "factor_cov": [[1.0, 0.5], [0.5, 1.0]],
        "overlap": [
            {"traits": ["AAA", "BBB"], "shared": 40_000, "correlation": 0.46},
            {"traits": ["CCC", "FFF"], "shared": 100_000, "correlation": 0.22},
            {"traits": ["DDD", "EEE"], "shared": 60_000, "correlation": 0.30},
        ],
        "planted": {"factor": [60, 0], "trait": {"AAA": 30, "FFF": 30}},
        "n_snps": 24_000,
        "dirt": True,
    },
    # Three clean traits on one factor; the set for timing and for the first look at a real panel.
    "three": {
        "traits": [
            {"name": "T1", "kind": "OR", "n": 150_000, "h2": 0.20, "sample_prevalence": 0.4, "intercept": 1.01},
            {"name": "T2", "kind": "OLS", "n": 250_000, "h2": 0.15},
            {"name": "T3", "kind": "SSF", "n": 100_000, "h2": 0.25, "intercept": 1.02},
        ],
        "loadings": [[0.8], [0.7], [0.75]],
        "overlap": [
            {"traits": ["T1", "T2"], "shared": 60_000, "correlation": 0.35},
            {"traits": ["T2", "T3"], "shared": 50_000, "correlation": 0.25},
        ],
        "planted": {"factor": [60], "trait": {"T1": 10, "T3": 10}},
        "n_snps": 100_000,
    },
}  # fmt: skip
