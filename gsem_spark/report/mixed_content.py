"""What a report shows of mixed models: scans of individual-level data, and bootstraps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from gsem_spark.report.genotype_effect import GenotypeEffect
from gsem_spark.report.h2_profile import Profile


@dataclass(frozen=True)
class MixedTest:
    """Tests of one trait, design and test over the genome; thinned.

    Parameters
    ----------
    trait, design, test
        As in ``lmm_results``.
    points, qq
        What the Manhattan and the QQ plot draw.
    leads
        ``snp chr bp a1 a2 af n beta se p neglog10p`` of the strongest variants below genome-wide significance, none within a
        megabase of a stronger one.
    lambda_gc
        Genomic inflation; NaN where it is not known.
    effect
        The trait by the genotype of the strongest variant; None where there is no such figure.
    """

    trait: str
    design: str
    test: str
    points: pd.DataFrame
    qq: pd.DataFrame
    leads: pd.DataFrame
    lambda_gc: float
    effect: GenotypeEffect | None = None

    @property
    def title(self) -> str:
        """What its figures are called."""
        return title_of_test(self.trait, self.design, self.test)


@dataclass(frozen=True)
class MixedContent:
    """A scan under a mixed model.

    Parameters
    ----------
    run_id, kind
        The run, and the heading of its kind.
    settings
        ``cohort kinship loco formula`` as the section says them; empty texts are left out.
    notes
        What a reader must know.
    status
        Tests by status.
    models
        Rows of ``lmm_models``.
    components
        ``trait chr name variance se share stat p`` of models with random terms.
    figures
        Every trait, design and test: ``trait design test df tests lambda_gc hits top_snp top_neglog10p``.
    tests
        Those that are drawn, in the order to show.
    profiles
        Profile likelihoods of the heritabilities.
    correlations
        ``kind trait1 trait2 r se p neglog10p`` of a model of several traits.
    """

    run_id: str
    kind: str
    settings: Mapping[str, str]
    notes: tuple[str, ...]
    status: Mapping[str, int]
    models: pd.DataFrame
    components: pd.DataFrame
    figures: pd.DataFrame
    tests: tuple[MixedTest, ...]
    profiles: tuple[Profile, ...] = ()
    correlations: pd.DataFrame = field(default_factory=pd.DataFrame)

    @property
    def traits(self) -> list[str]:
        """Traits in the order of the figures."""
        return [str(t) for t in dict.fromkeys(self.figures["trait"])]


@dataclass(frozen=True)
class BootstrapContent:
    """A bootstrapped mixed model.

    Parameters
    ----------
    run_id, trait
        The run, and what it is of.
    summary
        ``n kind seed level samples failed``.
    notes
        What a reader must know.
    model, components
        As in :class:`MixedContent`.
    intervals
        Rows of ``lmm_intervals``, parameter by parameter.
    """

    run_id: str
    trait: str
    summary: Mapping[str, Any]
    notes: tuple[str, ...]
    model: pd.DataFrame
    components: pd.DataFrame
    intervals: pd.DataFrame


def title_of_test(trait: str, design: str, test: str) -> str:
    """How the tests of one trait, design and kind are called."""
    return f"{trait}: {test}" if design == "effect" else f"{trait}: {design} ({test})"
