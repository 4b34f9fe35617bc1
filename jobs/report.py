"""Write a study's HTML report under spark-submit: ``spark-submit jobs/report.py STUDY.yaml [--set key=value …]``."""

import sys

from gsem_spark.cli import main

if __name__ == "__main__":
    main(["run", *sys.argv[1:], "--only", "report"])
