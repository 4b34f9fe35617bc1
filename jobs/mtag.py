"""MTAG of a study with reconciliation and review: ``spark-submit jobs/mtag.py STUDY.yaml [--set key=value …]``."""

import sys

from gsem_spark.cli import main

if __name__ == "__main__":
    main(["run", *sys.argv[1:], "--only", "mtag", "--only", "reconcile", "--only", "review"])
