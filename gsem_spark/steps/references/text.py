"""What loading the variant reference and loading LD scores share: their names in the ledger, and how their text is read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from gsem_spark.catalog.schemas import CHROMOSOME_CODES
from gsem_spark.errors import DataError
from gsem_spark.methods.sumstats.text import parse_floats
from gsem_spark.steps.munge.raw_fields import FieldReader
from gsem_spark.steps.step import Plan, Step

if TYPE_CHECKING:
    from gsem_spark.catalog.files import HadoopFiles
    from gsem_spark.catalog.runs import RunEntry
    from gsem_spark.catalog.workspace import Workspace

VARIANTS_STEP: Final = "load_variants"
LD_STEP: Final = "load_ld_scores"
_CODES: Final = pa.array(list(CHROMOSOME_CODES.values()), pa.int32())
_CODE_NAMES: Final = pa.array(list(CHROMOSOME_CODES), pa.string())


def announce(step: Step[Any], ws: Workspace, plan: Plan, summary: dict[str, Any]) -> None:
    """Put the coming replacement of an earlier load into the ledger first: should this run die, that one counts no more."""
    if loads(ws, step.name):
        step.begin(ws, plan, summary)


def loads(ws: Workspace, step: str) -> list[RunEntry]:
    """Runs of a loading step by their start, also those that died on the way; a run that failed has changed nothing."""
    return [entry for entry in ws.runs.all() if entry.step == step and entry.status != "failed"]


def require_file(files: HadoopFiles, path: str) -> None:
    """Raise a :class:`DataError` for a file that is not there, or is empty."""
    if not files.exists(path):
        raise DataError("the file does not exist", where=path, remedy="correct the path")
    if files.size(path) == 0:
        raise DataError("the file is empty (0 bytes)", where=path, remedy="fetch it again")


def text_columns(lines: pa.Array, reader: FieldReader) -> Mapping[str, pa.Array]:
    """Cut lines into the reader's columns, blanks taken off; lines that do not fit the header are left out."""
    fits = reader.fits(lines)
    columns = reader.read(lines if pc.all(fits).as_py() else lines.filter(fits))
    return {role: pc.utf8_trim_whitespace(text) for role, text in columns.items()}


def chromosome_codes(text: pa.Array) -> pa.Array:
    """PLINK's numeric codes of chromosome names, with or without ``chr``; null where there is none of that name."""
    bare = pc.replace_substring_regex(pc.utf8_upper(text), pattern="^CHR", replacement="")
    return _CODES.take(pc.index_in(bare, value_set=_CODE_NAMES))


def numbers(text: pa.Array) -> pa.Array:
    """Numbers of a column, null where there is none."""
    return pa.array(parse_floats(text)[0], from_pandas=True)


def positions(text: pa.Array) -> pa.Array:
    """Base-pair positions, null where there is none."""
    return pc.cast(pc.trunc(numbers(text)), pa.int64())


def minor_frequency(text: pa.Array) -> pa.Array:
    """Minor allele frequency from the frequency of either allele; null outside 0 to 1."""
    values: NDArray[np.float64] = parse_floats(text)[0]
    inside = np.where((values >= 0) & (values <= 1), values, np.nan)
    return pa.array(np.minimum(inside, 1.0 - inside), from_pandas=True)
