"""The study file: traits, files, prevalences and settings in YAML, checked with line and key, and run step by step."""

from gsem_spark.study.model import STEP_NAMES, Study, load_study
from gsem_spark.study.run import PlannedStep, StudyReport, plan_study, run_study

__all__ = ["STEP_NAMES", "PlannedStep", "Study", "StudyReport", "load_study", "plan_study", "run_study"]
