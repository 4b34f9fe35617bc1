"""Blocked gzip files and their tabix index: what ``bgzip`` and ``tabix`` write, without them.

A BGZF file is a gzip file of members of at most 64 KB whose header says how long they are, so that a reader can start at any of
them; every gzip reader reads it. A ``.tbi`` index says at which members a stretch of a chromosome stands. Formats: SAM/BAM
format specification, section 4.1 (BGZF) and 5.3 (bins); the tabix index specification (samtools/hts-specs).
"""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import BinaryIO, Final

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]

BLOCK: Final = 0xFF00
"""Bytes of text of a member: what htslib takes, so that a member never outgrows its 16-bit length."""
_END: Final = bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000")
"""The empty member that ends a file: a reader that misses it knows that the file was cut off."""
_LEVEL: Final = 4
"""As plain gzip files here: half the time of level 6 for files larger by some per cent."""
_WINDOW_BITS: Final = 14
_BIN_LEVELS: Final = ((14, 4681), (17, 585), (20, 73), (23, 9), (26, 1))
_GENERIC_1_BASED: Final = 0


class BgzfWriter:
    """A binary file that takes text and writes it in blocks; :meth:`close` ends it, but leaves the file below open."""

    def __init__(self, raw: BinaryIO) -> None:
        self._raw, self._held, self._compressed = raw, bytearray(), 0
        self.written = 0
        self.starts: list[int] = []

    def write(self, data: bytes) -> int:
        """Take text; whole blocks go to the file."""
        view = memoryview(data).cast("B")
        self._held += view
        self.written += len(view)
        whole = len(self._held) // BLOCK * BLOCK
        for low in range(0, whole, BLOCK):
            self._member(bytes(self._held[low : low + BLOCK]))
        del self._held[:whole]
        return len(view)

    def close(self) -> None:
        """Write what is held and the empty last member."""
        if self._held:
            self._member(bytes(self._held))
            self._held.clear()
        self.starts.append(self._compressed)
        self._raw.write(_END)

    def flush(self) -> None:
        """Nothing to do: blocks are whole."""

    @property
    def closed(self) -> bool:
        """Whether the file below is closed (asked by Arrow's writers)."""
        return self._raw.closed

    def writable(self) -> bool:
        """Asked by Arrow's writers."""
        return True

    def readable(self) -> bool:
        """Asked by Arrow's writers."""
        return False

    def seekable(self) -> bool:
        """Asked by Arrow's writers."""
        return False

    def virtual(self, places: Ints) -> NDArray[np.uint64]:
        """Where bytes of the text stand: the member's place in the file and, in the lowest 16 bits, the place within it."""
        starts = np.array(self.starts, dtype=np.uint64)
        return (starts[places // BLOCK] << np.uint64(16)) | (places % BLOCK).astype(np.uint64)

    def _member(self, text: bytes) -> None:
        squeezed = zlib.compressobj(_LEVEL, zlib.DEFLATED, -15)
        body = squeezed.compress(text) + squeezed.flush()
        size = len(body) + 26
        self.starts.append(self._compressed)
        self._raw.write(
            b"\x1f\x8b\x08\x04\x00\x00\x00\x00\x00\xff\x06\x00BC\x02\x00" + struct.pack("<H", size - 1) + body
            + struct.pack("<II", zlib.crc32(text), len(text))
        )
        self._compressed += size


class TabixIndex:
    """The index of a sorted text file, gathered a chromosome at a time.

    Parameters
    ----------
    chromosome, position
        Numbers of the columns that hold them, from 1.
    """

    def __init__(self, chromosome: int, position: int) -> None:
        self._columns = chromosome, position
        self._names: list[str] = []
        self._chunks: list[tuple[Ints, Ints, Ints]] = []  # bin, first byte, byte after the last, in order of the file
        self._windows: list[Ints] = []  # first byte of each window of 16 kb

    def add(self, name: str, positions: Ints, places: Ints) -> None:
        """Add a chromosome's lines.

        Parameters
        ----------
        name
            As it stands in the file.
        positions
            (n,) 1-based base-pair positions, ascending.
        places
            (n + 1,) place in the text of each line's first byte, and of the byte after the last line.
        """
        at = positions.astype(np.int64) - 1
        bins = (at >> _BIN_LEVELS[0][0]) + _BIN_LEVELS[0][1]  # a position lies in one bin of the finest level
        firsts = np.flatnonzero(np.r_[True, bins[1:] != bins[:-1]])
        ends = np.r_[firsts[1:], at.size]
        self._names.append(name)
        self._chunks.append((bins[firsts], places[firsts], places[ends]))
        windows = at >> _WINDOW_BITS
        self._windows.append(places[np.searchsorted(windows, np.arange(windows[-1] + 1))])

    def write(self, path: Path, text: BgzfWriter) -> None:
        """Write the index of a file that has been closed."""
        names = b"".join(name.encode() + b"\0" for name in self._names)
        chromosome, position = self._columns
        parts = [
            b"TBI\x01", struct.pack("<4i", len(self._names), _GENERIC_1_BASED, chromosome, position),
            struct.pack("<4i", position, ord("#"), 1, len(names)), names,
        ]
        for (bins, first, after), windows in zip(self._chunks, self._windows, strict=True):
            begin, end = text.virtual(first).tolist(), text.virtual(after).tolist()
            parts.append(struct.pack("<i", len(bins)))
            for number, a, b in zip(bins.tolist(), begin, end, strict=True):
                parts.append(struct.pack("<Ii2Q", number, 1, a, b))
            parts += [struct.pack("<i", windows.size), text.virtual(windows).astype("<u8").tobytes()]
        with path.open("wb") as raw:
            index = BgzfWriter(raw)
            index.write(b"".join(parts))
            index.close()
