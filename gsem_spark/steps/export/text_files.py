"""Text files that appear when they are complete, plain or compressed."""

from __future__ import annotations

import gzip
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from gsem_spark.errors import StorageError
from gsem_spark.steps.export.bgzf import BgzfWriter

GZIP_LEVEL: Final = 4
_ENDINGS: Final = (".bgz", ".gz", ".tsv", ".txt", ".sumstats", ".csv")


@contextmanager
def text_file(target: Path, *, bgzip: bool = False) -> Iterator[Any]:
    """Open a file to write bytes to: gzip when its name ends in ``.gz``, BGZF on request or when it ends in ``.bgz``.

    Raises
    ------
    StorageError
        The file cannot be written. Whatever goes wrong, ``target`` is then as it was.
    """
    partial = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        with partial.open("wb") as raw:
            out: Any = raw
            if bgzip or target.suffix == ".bgz":
                out = BgzfWriter(raw)
            elif target.suffix == ".gz":
                out = gzip.GzipFile("", "wb", GZIP_LEVEL, raw, mtime=0)
            yield out
            if out is not raw:
                out.close()
        partial.replace(target)
    except OSError as error:
        raise StorageError(f"cannot be written: {error.strerror}", where=str(target), remedy="choose another file") from error
    finally:
        partial.unlink(missing_ok=True)


def named(target: Path, name: str) -> Path:
    """A file's name with another word before its endings: ``factor.tsv.gz`` and ``F1~SNP`` give ``factor.F1~SNP.tsv.gz``."""
    stem, endings = target.name, ""
    while (ending := Path(stem).suffix) in _ENDINGS and stem != ending:
        stem, endings = stem[: -len(ending)], ending + endings
    return target.with_name(f"{stem}.{name}{endings}")
