"""Lines of one raw file to named text columns, a batch at a time, by Arrow's own parser."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from gsem_spark.methods.sumstats.sniff import RawFormat


@dataclass(frozen=True)
class FieldReader:
    """How the lines of one file are cut, and which column plays which role. Picklable.

    Parameters
    ----------
    delimiter
        One character; white space that is no tab stands for runs of white space.
    quoted
        Whether fields may stand in double quotes.
    n_fields
        Number of columns of the header.
    roles
        Role → place of its column.
    """

    delimiter: str
    quoted: bool
    n_fields: int
    roles: Mapping[str, int]

    @classmethod
    def of(cls, form: RawFormat, roles: Mapping[str, int]) -> FieldReader:
        """The reader of a file's format."""
        return cls(form.delimiter, form.quoted, len(form.header), dict(roles))

    @property
    def runs(self) -> bool:
        """Whether fields are parted by runs of white space."""
        return self.delimiter.isspace() and self.delimiter != "\t"

    def fits(self, lines: pa.Array) -> pa.Array:
        """Which lines have as many fields as the header (a boolean array); lines with too few or too many are no rows."""
        if self.quoted:
            lines = pc.replace_substring_regex(lines, pattern=r'"[^"]*"', replacement="q")
        if self.runs:
            lines = pc.replace_substring_regex(pc.utf8_trim_whitespace(lines), pattern=r"[ \t]+", replacement="\t")
        return pc.equal(pc.count_substring(lines, pattern="\t" if self.runs else self.delimiter), self.n_fields - 1)

    def read(self, lines: pa.Array) -> dict[str, pa.Array]:
        """Cut lines that fit; role → text, without surrounding quotes and blanks."""
        if len(lines) == 0:
            return {role: pa.array([], pa.string()) for role in self.roles}
        delimiter = self.delimiter
        if self.runs:
            delimiter = "\t"
            lines = pc.replace_substring_regex(pc.utf8_trim_whitespace(lines), pattern=r"[ \t]+", replacement="\t")
        offsets = pa.array([0, len(lines)], pa.int32())
        text = pc.binary_join(pa.ListArray.from_arrays(offsets, lines), "\n")[0].as_buffer()
        names = [str(i) for i in range(self.n_fields)]
        wanted = sorted({str(i) for i in self.roles.values()}, key=int)
        table = csv.read_csv(
            pa.BufferReader(text),
            read_options=csv.ReadOptions(use_threads=False, column_names=names, block_size=max(len(text) + 1, 1 << 16)),
            parse_options=csv.ParseOptions(
                delimiter=delimiter, quote_char='"' if self.quoted else False, ignore_empty_lines=False
            ),
            convert_options=csv.ConvertOptions(
                include_columns=wanted, column_types=dict.fromkeys(wanted, pa.string()), strings_can_be_null=False
            ),
        )
        columns = {name: table.column(name).combine_chunks() for name in wanted}
        return {role: columns[str(i)] for role, i in self.roles.items()}
