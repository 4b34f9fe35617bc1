"""Which reader a genotype file needs, by its name; and what a pattern of files stands for."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from gsem_spark.errors import ConfigError, DataError
from gsem_spark.readers.bgen_file import BgenFileReader
from gsem_spark.readers.plink_bed import BedReader
from gsem_spark.readers.plink_pgen import PgenFileReader
from gsem_spark.readers.vcf import SUFFIXES, Field, VcfReader

if TYPE_CHECKING:
    from gsem_spark.readers.interface import GenotypeReader

CHROMOSOME_FIELD: Final = "{chr}"
_REMOTE: Final = re.compile(r"^(?!file:)[A-Za-z][A-Za-z0-9+.-]*://|^dbfs:")


def open_reader(path: str, field: Field = "auto", sample_file: str | None = None) -> GenotypeReader:
    """Open a genotype file by its name's ending, or a PLINK fileset by its prefix.

    Parameters
    ----------
    path
        .bed, .pgen, .bgen, .vcf, .vcf.gz, .vcf.bgz, .bcf, or the prefix of a PLINK 1 or 2 fileset.
    field
        Field of a VCF file that is read.
    sample_file
        The .sample file of a BGEN file, where it has another name.

    Raises
    ------
    ConfigError
        The ending is not known, the place is no mounted folder, or the format's library is not installed.
    DataError
        The file does not exist or is damaged.
    """
    if _REMOTE.match(path):
        raise ConfigError("genotype files are read by libraries that need a mounted folder", where=path,
                          remedy="mount the place on every node (on Databricks: /Volumes/… or /dbfs/…), or copy the files")
    local = str(Path(path.removeprefix("file://").removeprefix("file:")).expanduser().absolute())
    if local.endswith(SUFFIXES):
        return VcfReader.open(local, field)
    if local.endswith(".bgen"):
        return BgenFileReader.open(local, sample_file)
    prefix = not Path(local).exists()
    if local.endswith(".pgen") or (prefix and Path(f"{local}.pgen").exists()):
        return PgenFileReader.open(local)
    if local.endswith(".bed") or (prefix and Path(f"{local}.bed").exists()):
        return BedReader.open(local)
    if prefix:
        raise DataError("the file does not exist", where=path,
                        remedy="correct the path; a PLINK fileset is named by its prefix, .bed or .pgen file")
    raise ConfigError("the format is not known by the file's name", where=path,
                      remedy=f"name the file with its format's ending: .bed .pgen .bgen {' '.join(SUFFIXES)}")


def expand_files(patterns: Sequence[str]) -> list[str]:
    """Files that patterns stand for, in order: ``chr{chr}.bed`` for chromosomes 1 to 26 and X that are there, ``*`` and ``?``.

    Raises
    ------
    DataError
        A pattern fits no file.
    """
    found: list[str] = []
    for given in patterns:
        pattern = str(Path(given).expanduser()) if given.startswith("~") else given
        if CHROMOSOME_FIELD in pattern:
            names = [pattern.replace(CHROMOSOME_FIELD, str(c)) for c in (*range(1, 27), "X")]
            fitting = [n for n in names if any(Path(f"{n}{suffix}").exists() for suffix in ("", ".bed", ".pgen"))]
        elif any(c in pattern for c in "*?[") and not Path(pattern).exists():
            path = Path(pattern)
            fitting = sorted(map(str, Path(path.anchor or ".").glob(str(path.relative_to(path.anchor)))), key=_natural)
        else:
            fitting = [pattern]
        if not fitting:
            raise DataError("no file fits the pattern", where=pattern, remedy="correct the path")
        found += fitting
    return found


def _natural(name: str) -> list[tuple[int, int | str]]:
    """Order in which chr2 comes before chr10."""
    return [(0, int(part)) if part.isdigit() else (1, part) for part in re.split(r"(\d+)", name) if part]
