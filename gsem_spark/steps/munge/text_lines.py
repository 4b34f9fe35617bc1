"""A stream of bytes, packed or not, as Arrow batches of numbered lines."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from typing import IO, Any, Final

import pyarrow as pa
import pyarrow.compute as pc

CHUNK_BYTES: Final = 1 << 20
TEXT_BYTES: Final = 4 << 20
"""Unpacked bytes of one batch of lines: some 40,000 lines of a GWAS."""


def unpacked(stream: IO[bytes] | pa.NativeFile, compression: str) -> Iterator[bytes]:
    """Bytes of a stream, unpacked (``gzip``, also of several members; ``zstd``; ``none``).

    Raises
    ------
    EOFError
        A gzip stream ends before its end.
    zlib.error, OSError
        The packed bytes are damaged.
    """
    if compression == "gzip":
        yield from _gunzipped(stream)
        return
    opened: Any = pa.CompressedInputStream(pa.PythonFile(stream, "r"), "zstd") if compression == "zstd" else stream
    while chunk := opened.read(CHUNK_BYTES):
        yield chunk


def _gunzipped(stream: IO[bytes] | pa.NativeFile) -> Iterator[bytes]:
    member = zlib.decompressobj(31)
    begun = False
    while rest := stream.read(CHUNK_BYTES):
        while rest:
            if member.eof:
                rest = rest.lstrip(b"\0")  # some writers pad the end of a file
                if not rest:
                    break
                member = zlib.decompressobj(31)
            begun = True
            if out := member.decompress(rest):
                yield out
            rest = member.unused_data if member.eof else b""
    if begun and not member.eof:
        raise EOFError("Compressed file ended before the end-of-stream marker was reached")


def data_lines(chunks: Iterable[bytes], first: int) -> Iterator[pa.RecordBatch]:
    """Lines after the first ``first`` as ``row`` (1-based line number) and ``value``; blank lines are counted and left out."""
    row = 0
    for lines in _split(chunks):
        rows = pa.array(range(row + 1, row + 1 + len(lines)), pa.int64())
        batch = pa.RecordBatch.from_arrays([rows, lines], names=["row", "value"])
        if row < first:
            batch = batch.slice(min(first - row, len(lines)))
        row += len(lines)
        blank = pc.equal(pc.binary_length(pc.utf8_trim_whitespace(batch.column("value"))), 0)
        yield batch.filter(pc.invert(blank)) if pc.any(blank).as_py() else batch


def _split(chunks: Iterable[bytes]) -> Iterator[pa.Array]:
    """Lines, whatever ends them (LF, CR LF, CR), in batches of about TEXT_BYTES."""
    held: list[bytes] = []
    size = 0
    for chunk in chunks:
        held.append(chunk)
        size += len(chunk)
        if size < TEXT_BYTES:
            continue
        text = b"".join(held)
        cut = text.rfind(b"\n") + 1
        if cut:
            yield _lines(text[: cut - 1])
        held, size = [text[cut:]], len(text) - cut
    if rest := b"".join(held):
        yield _lines(rest[:-1] if rest.endswith((b"\n", b"\r")) else rest)


def _lines(text: bytes) -> pa.Array:
    if b"\r" in text:
        text = text.removesuffix(b"\r").replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    try:
        whole = pa.array([text], pa.string())
    except (pa.ArrowInvalid, UnicodeDecodeError):  # not UTF-8: the odd byte in a comment must not stop a run
        whole = pa.array([text.decode("utf-8", errors="replace")], pa.string())
    return pc.split_pattern(whole, "\n")[0].values
