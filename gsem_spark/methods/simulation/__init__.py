"""GWAS summary statistics with a known truth: designs, LD panels, Z-scores, planted variants, effect scales and dirt."""

from gsem_spark.methods.simulation.design import Design, factor_covariance, overlap_intercepts
from gsem_spark.methods.simulation.draw import Planted, draw_sample_sizes, draw_z, plant
from gsem_spark.methods.simulation.ld_panel import Panel, panel_from_ld_scores, simulate_panel
from gsem_spark.methods.simulation.truth import SimulationTruth

__all__ = [
    "Design", "Panel", "Planted", "SimulationTruth", "draw_sample_sizes", "draw_z", "factor_covariance", "overlap_intercepts",
    "panel_from_ld_scores", "plant", "simulate_panel",
]  # fmt: skip
