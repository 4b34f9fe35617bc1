"""Genotype files of the field's formats: who the samples are, which variants there are, and ranges of genotypes.

Plain Python over a library a format; neither Spark nor tables. The driver asks a reader for samples and variants; tasks are
handed the reader, which is small, and read blocks of variants by themselves.
"""

from gsem_spark.readers.interface import GenotypeReader, Kind, index_table, sample_frame
from gsem_spark.readers.open_files import expand_files, open_reader

__all__ = ["GenotypeReader", "Kind", "expand_files", "index_table", "open_reader", "sample_frame"]
