"""Sections of a report on mixed models: null models, tests, figures; bootstrap intervals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from matplotlib.figure import Figure

from gsem_spark.report import mixed_tables, tables
from gsem_spark.report.genotype_effect import genotype_effect
from gsem_spark.report.h2_profile import h2_profile
from gsem_spark.report.manhattan import manhattan
from gsem_spark.report.mixed_content import BootstrapContent, MixedContent, MixedTest
from gsem_spark.report.qq import QQPanel, qq
from gsem_spark.report.wording import count, number, spelled, threshold
from gsem_spark.thresholds import GENOME_WIDE_P

LEADS: Final = 40
"""Leads that a Manhattan plot names."""
PROFILE_PANELS: Final = 6
_PER_ROW: Final = 3
"""Panels of a figure side by side."""


def manhattan_of_test(test: MixedTest) -> Figure:
    """Manhattan plot of one trait, design and test, leads named."""
    leads = test.leads.assign(signal="factor", factor_only=True, q_snp_p=1.0)
    return manhattan(test.points, None, leads, title=test.title, max_labels=LEADS)


def qq_of_tests(tests: Sequence[MixedTest]) -> Figure:
    """QQ plots side by side."""
    return qq([QQPanel(test.title, test.qq, test.lambda_gc) for test in tests])


def mixed_figures(runs: Sequence[MixedContent]) -> dict[str, Figure]:
    """Draw of every run ``mixed_1_h2_profile`` and of each of its tests ``mixed_1_1_manhattan``, ``…_qq``, ``…_effect``."""
    figures: dict[str, Figure] = {}
    for place, run in enumerate(runs, 1):
        if run.profiles:
            figures[f"mixed_{place}_h2_profile"] = h2_profile(_shown_profiles(run))
    for key, test in _keyed(runs):
        figures[f"{key}_manhattan"] = manhattan_of_test(test)
        figures[f"{key}_qq"] = qq_of_tests([test])
        if test.effect is not None:
            figures[f"{key}_effect"] = genotype_effect(test.effect)
    return figures


def mixed_sections(runs: Sequence[MixedContent]) -> list[dict[str, Any]]:
    """Prepare what the template shows of each scan."""
    return [
        {
            "key": f"mixed_{place}",
            "run": run,
            "models": mixed_tables.model_table(run.models),
            "components": mixed_tables.component_table(run.components) if len(run.components) else None,
            "effects": mixed_tables.fixed_effects_table(run.models),
            "covariances": mixed_tables.covariance_table(run.models) if len(run.correlations) else None,
            "correlations": mixed_tables.correlation_table(run.correlations) if len(run.correlations) else None,
            "figures": mixed_tables.tests_table(run.figures),
            "status": tables.statuses_table(run.status, mixed_tables.STATUS_MEANINGS, "Tests"),
            "profile": _profile_caption(run),
            "panels": min(len({p.title for p in run.profiles}), _PER_ROW),
            "left_out": len(run.figures) - len(run.tests),
            "tests": [_test_section(f"mixed_{place}_{n}", test) for n, test in enumerate(run.tests, 1)],
        }
        for place, run in enumerate(runs, 1)
    ]


def bootstrap_sections(runs: Sequence[BootstrapContent]) -> list[dict[str, Any]]:
    """Prepare what the template shows of each bootstrap."""
    return [
        {
            "key": f"bootstrap_{place}",
            "run": run,
            "models": mixed_tables.model_table(run.model),
            "components": mixed_tables.component_table(run.components) if len(run.components) else None,
            "estimates": mixed_tables.estimate_table(run.intervals),
            "intervals": mixed_tables.interval_table(run.intervals),
        }
        for place, run in enumerate(runs, 1)
    ]


def mixed_verdict(run: MixedContent) -> str:
    """One sentence on what a scan came to."""
    found = [f"{spelled(len(test.leads), 'locus', 'loci')} of {_named(test)}" for test in run.tests]
    several = ", ".join(found[:3]) + (f" and {len(found) - 3} more tests" if len(found) > 3 else "")
    tested = f"Of {count(_variants(run))} variants tested under a mixed model"
    return f"{tested}, p < {threshold(GENOME_WIDE_P)}: {several or 'no test was made'}."


def mixed_key_figures(run: MixedContent) -> list[tuple[str, str]]:
    """Numbers for the top of the page."""
    figures = [("variants tested", count(_variants(run))), ("samples", count(run.models["n"].max()))]
    first = run.models.dropna(subset=["hsq"]).drop_duplicates("trait")
    figures += [(f"h² of {r['trait']}", number(r["hsq"], 3)) for r in first.head(3).to_dict("records")]
    figures += [(f"λGC, {r['trait']}", number(r["lambda_gc"], 3)) for r in run.figures.head(2).to_dict("records")]
    return figures


def _variants(run: MixedContent) -> int:
    return int(run.figures["tests"].max()) if len(run.figures) else 0


def _named(test: MixedTest) -> str:
    return test.trait if test.design == "effect" else f"{test.trait} ({test.design})"


def _keyed(runs: Sequence[MixedContent]) -> list[tuple[str, MixedTest]]:
    return [(f"mixed_{i}_{n}", test) for i, run in enumerate(runs, 1) for n, test in enumerate(run.tests, 1)]


def _shown_profiles(run: MixedContent) -> list[Any]:
    titles = list(dict.fromkeys(p.title for p in run.profiles))[:PROFILE_PANELS]
    return [p for p in run.profiles if p.title in titles]


def _profile_caption(run: MixedContent) -> str:
    n = len({p.title for p in run.profiles})
    less = f" The first {PROFILE_PANELS} of {n} models." if n > PROFILE_PANELS else ""
    return ("Profile likelihood of the heritability: the log likelihood at each h², less its maximum. Shaded: the 95 % interval, "
            f"within 1.92 of it; the dot is the estimate.{less}")


def _test_section(key: str, test: MixedTest) -> dict[str, Any]:
    effect = test.effect
    return {
        "key": key,
        "title": test.title,
        "leads": mixed_tables.leads_table(test.leads) if len(test.leads) else None,
        "manhattan": f"{test.title}. Named are variants with p < {threshold(GENOME_WIDE_P)}, none within a megabase of a "
        "stronger one.",
        "qq": f"QQ plot of {test.title}. Grey: 95 % band of the null for independent variants.",
        "effect": "" if effect is None else (
            f"{effect.trait}, less covariates, by copies of {effect.a1} at {effect.snp}, the strongest variant: samples, their "
            "means with 95 % intervals, and the mixed model's line with its band."
        ),
    }  # fmt: skip

