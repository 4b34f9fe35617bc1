"""A study's references under spark-submit: ``spark-submit jobs/references.py STUDY.yaml [--set key=value …]``."""

import sys

from gsem_spark.cli import main

if __name__ == "__main__":
    main(["run", *sys.argv[1:], "--only", "references"])
