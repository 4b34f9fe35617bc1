"""What went wrong while Spark read raw files, said in terms of the file."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from gsem_spark.errors import DataError, GsemError, StorageError
from gsem_spark.steps.munge.text_source import TextSource

_CUT_OFF: Final = ("EOFException", "Unexpected end of", "EOFError", "Compressed file ended", "ended before the end-of-stream")
_BROKEN: Final = (
    "ZipException",
    "incorrect data check",
    "invalid stored block",
    "invalid block type",
    "invalid distance",
    "BadGzipFile",
    "zlib.error",
    "incorrect header check",
    "crc",
    "CRC",
)


def read_error(error: Exception, sources: Sequence[TextSource]) -> GsemError:
    """Translate a failed read; the file is named when the error, or its being the only one, tells it."""
    text = str(error)
    named = next((s for s in sources if s.path.rsplit("/", 1)[-1] in text), sources[0] if len(sources) == 1 else None)
    where = named.path if named else "one of " + ", ".join(s.name for s in sources)
    if any(mark in text for mark in _CUT_OFF):
        return DataError(
            "the compressed file is cut off before its end", where=where, remedy="fetch it again and compare its size or checksum"
        )
    if any(mark in text for mark in _BROKEN):
        return DataError("the compressed file is damaged", where=where, remedy="fetch it again and compare its checksum")
    if match := re.search(r"gsem_spark\.errors\.(\w+): (.+)", text):
        return DataError(match.group(2), where=where)
    cause = next(
        (line.strip() for line in text.splitlines() if "Error" in line or "Exception" in line),
        text.splitlines()[0] if text else "",
    )
    return StorageError(
        f"Spark could not read the files: {cause[:300]}",
        where=where,
        remedy="run again with GSEM_SPARK_DEBUG=1 for the whole trace",
    )
