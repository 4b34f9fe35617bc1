"""Mixed models of a study with genotypes: ``spark-submit jobs/lmm.py STUDY.yaml [--set key=value …]``."""

import sys

from gsem_spark.cli import main

if __name__ == "__main__":
    main(["run", *sys.argv[1:], "--only", "lmm"])
