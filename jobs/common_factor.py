"""Fit a study's common factor model under spark-submit: ``spark-submit jobs/common_factor.py STUDY.yaml [--set key=value …]``."""

import sys

from gsem_spark.cli import main

if __name__ == "__main__":
    main(["run", *sys.argv[1:], "--only", "common_factor"])
