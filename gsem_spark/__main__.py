"""``python -m gsem_spark`` is ``gsem-spark``."""

from gsem_spark.cli import main

if __name__ == "__main__":
    main()
