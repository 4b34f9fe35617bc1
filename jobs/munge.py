"""Munge a study's raw GWAS files under spark-submit: ``spark-submit jobs/munge.py STUDY.yaml [--set key=value …]``."""

import sys

from gsem_spark.cli import main

if __name__ == "__main__":
    main(["run", *sys.argv[1:], "--only", "munge"])
