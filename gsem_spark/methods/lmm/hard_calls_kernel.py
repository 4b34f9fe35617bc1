"""Compiled: genotypes 0, 1 and 2 times the rows of a matrix, by look-up of sums in place of multiplication.

Four samples have 81 combinations of calls. The sums of their four rows of the matrix are made once for all variants, for
``LANES`` columns at a time, so that the tables of ``PASS`` groups stay in a core's own cache; then a variant adds one table row
for every four samples. A group's table is made and a variant's rows are added in the order of the samples, so that a result
does not depend on the other variants or on the width of the machine's vectors.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, cast

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from gsem_spark.methods.lmm.compiled import jit, jit_in_order

GROUP: Final = 4
"""Samples a table: with five the tables leave the cache, with three a variant adds a third more rows."""
ROWS: Final = 3**GROUP
"""Rows of a table: the combinations of calls."""
LANES: Final = 16
"""Columns at a time: two vectors of 512 bits."""
PASS: Final = 16
"""Tables at a time: 162 KB, beside 128 KB of sums of 1,024 variants."""
UNROLLED: Final = 4
"""Table rows added a turn of the innermost loop; the number of groups is a multiple of it."""
WIDTH: Final = 128
"""Columns of the matrix that are copied together: a multiple of ``LANES``, long enough for memory to be read in stretches."""
SEGMENT: Final = 8192
"""Samples whose rows are copied together, a multiple of GROUP × PASS: 8 MB, within the cache that cores share."""
_VECTOR: Final = 8
_Kernel = Callable[..., Any]
_intrinsic = cast("Callable[[_Kernel], _Kernel]", intrinsic)
"""The first argument of the functions below, the typing context, is not given by callers."""


def _data(context: Any, builder: Any, kind: Any, array: Any) -> Any:
    return context.make_array(kind)(context, builder, array).data


def _load(builder: Any, base: Any, lane: int) -> Any:
    place = builder.gep(base, [ir.Constant(ir.IntType(64), lane)])
    value = builder.load(builder.bitcast(place, ir.VectorType(ir.DoubleType(), _VECTOR).as_pointer()))
    value.align = 8
    return value


def _store(builder: Any, value: Any, base: Any, lane: int) -> None:
    place = builder.gep(base, [ir.Constant(ir.IntType(64), lane)])
    builder.store(value, builder.bitcast(place, value.type.as_pointer())).align = 8


@_intrinsic
def put_sum(_: Any, to: Any, a: Any, left: Any, b: Any, right: Any, c: Any) -> Any:
    """Put ``LANES`` elements of ``left`` from b on plus those of ``right`` from c on into ``to`` from a on; flat arrays."""
    signature = types.void(to, types.intp, left, types.intp, right, types.intp)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        bases = [builder.gep(_data(context, builder, signature.args[k], arguments[k]), [arguments[k + 1]]) for k in (0, 2, 4)]
        for lane in range(0, LANES, _VECTOR):
            _store(builder, builder.fadd(_load(builder, bases[1], lane), _load(builder, bases[2], lane)), bases[0], lane)
        return context.get_dummy_value()

    return signature, generate


@_intrinsic
def add_table_rows(_: Any, sums: Any, a: Any, tables: Any, codes: Any, b: Any, groups: Any) -> Any:
    """Add to ``LANES`` elements of ``sums`` from a on, of each table in order, the row its code (from b on) names."""
    signature = types.void(sums, types.intp, tables, codes, types.intp, types.intp)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        word = ir.IntType(64)
        base = builder.gep(_data(context, builder, signature.args[0], arguments[0]), [arguments[1]])
        first_table = _data(context, builder, signature.args[2], arguments[2])
        first_code = builder.gep(_data(context, builder, signature.args[3], arguments[3]), [arguments[4]])
        lanes = range(0, LANES, _VECTOR)
        before = [_load(builder, base, lane) for lane in lanes]
        entry, loop, done = builder.block, builder.append_basic_block(), builder.append_basic_block()
        builder.branch(loop)
        builder.position_at_end(loop)
        group = builder.phi(word)
        group.add_incoming(ir.Constant(word, 0), entry)
        state = []
        for value in before:
            state.append(builder.phi(value.type))
            state[-1].add_incoming(value, entry)
        now: list[Any] = list(state)
        for turn in range(UNROLLED):
            at = builder.add(group, ir.Constant(word, turn))
            code = builder.zext(builder.load(builder.gep(first_code, [at])), word)
            row = builder.add(builder.mul(at, ir.Constant(word, ROWS)), code)
            place = builder.gep(first_table, [builder.mul(row, ir.Constant(word, LANES))])
            now = [builder.fadd(value, _load(builder, place, lane)) for value, lane in zip(now, lanes, strict=True)]
        after = builder.add(group, ir.Constant(word, UNROLLED))
        group.add_incoming(after, loop)
        for phi, value in zip(state, now, strict=True):
            phi.add_incoming(value, loop)
        builder.cbranch(builder.icmp_signed("<", after, arguments[5]), loop, done)
        builder.position_at_end(done)
        for value, lane in zip(now, lanes, strict=True):
            _store(builder, value, base, lane)
        return context.get_dummy_value()

    return signature, generate


@jit
def inspect_integers(block: Any, largest: Any, total: Any, missing: Any) -> None:
    """Largest call, sum of the calls, and number of missing calls of each row of an int8 block."""
    for s in range(block.shape[0]):
        high: Any = -1
        whole: Any = 0
        gone: Any = 0
        for i in range(block.shape[1]):
            g = np.int64(block[s, i])
            high = max(high, g)
            gone += g < 0
            whole += max(g, 0)
        largest[s], total[s], missing[s] = high, whole, gone


@jit
def inspect_numbers(block: Any, largest: Any, total: Any, missing: Any) -> None:
    """The same for floating-point numbers; rows that hold anything but 0, 1, 2 and missing calls have 3 for the largest."""
    for s in range(block.shape[0]):
        high, whole, gone, others = -1.0, 0.0, 0, 0
        for i in range(block.shape[1]):
            g = np.float64(block[s, i])
            call = (g == 0.0) | (g == 1.0) | (g == 2.0)
            value = g if call else 0.0
            high = max(high, g if call else -1.0)
            whole += value
            infinite = not np.isfinite(g)
            gone += infinite
            others += not (call | infinite)
        largest[s], total[s], missing[s] = 3 if others > 0 else np.int64(high), np.int64(whole), gone


@jit
def encode(block: Any, which: Any, turned: Any, groups: int, codes: Any, start: Any, gaps: Any) -> None:
    """Codes of the rows ``which`` of a block, and the places of their missing calls.

    ``codes`` (passes, rows, PASS) uint8; a missing call counts as 0, and where ``turned`` 2 - g is coded. A pass of h groups
    takes 4 h samples, its group k those k, h + k, 2 h + k and 3 h + k behind the first of them: neighbours stay neighbours, so
    that they are coded side by side. ``gaps`` from ``start[s]`` to ``start[s + 1]`` are the samples that row s misses.
    """
    n = block.shape[1]
    digits = np.zeros(groups * 4, dtype=np.uint8)
    for s in range(which.size):
        row = which[s]
        if turned[s]:
            for i in range(n):
                g = block[row, i]
                digits[i] = np.uint8(2 - g) if g >= 0 and g <= 2 else 0
        else:
            for i in range(n):
                g = block[row, i]
                digits[i] = np.uint8(g) if g >= 0 and g <= 2 else 0
        for c in range(codes.shape[0]):
            h = min(PASS, groups - c * PASS)
            i = c * PASS * 4
            for k in range(h):
                codes[c, s, k] = digits[i + k] + 3 * digits[i + h + k] + 9 * digits[i + 2 * h + k] + 27 * digits[i + 3 * h + k]
        at = start[s]
        if at < start[s + 1]:
            for i in range(n):
                g = block[row, i]
                if not (g >= 0 and g <= 2):
                    gaps[at] = i
                    at += 1


@jit_in_order
def add_columns(
    codes: Any, size: int, begin: int, end: int, panel: Any, origin: int, column: int, tables: Any, sums: Any, at: int
) -> None:
    """Add coded calls times ``LANES`` columns of a panel, from ``column`` on, to ``sums`` (size × LANES) from ``at`` on.

    ``panel`` is flat, of rows of ``WIDTH``, and begins with the samples of the group ``origin``; those of the groups from
    ``begin`` to ``end`` are added. ``begin`` and ``origin`` are multiples of PASS.
    """
    for first in range(begin, end, PASS):
        held = min(PASS, end - first)
        for k in range(held):
            table = k * ROWS * LANES
            for j in range(LANES):
                tables[table + j] = 0.0
            filled = LANES
            for r in range(GROUP):
                row = ((first - origin) * GROUP + r * held + k) * WIDTH + column
                for a in range(table, table + filled, LANES):
                    put_sum(tables, a + filled, tables, a, panel, row)
                    put_sum(tables, a + 2 * filled, tables, a + filled, panel, row)
                filled *= 3
        for s in range(size):
            add_table_rows(sums, at + s * LANES, tables, codes, (first // PASS * size + s) * PASS, held)


@jit_in_order
def add_panel(
    codes: Any, size: int, begin: Any, end: int, panel: Any, origin: int, width: int, tables: Any, sums: Any,
    start: Any, gaps: Any, reached: Any, lost: Any,
) -> None:
    """Add what the samples of a panel give to ``sums`` (WIDTH / LANES, size, LANES) and, where they miss, to ``lost``.

    ``begin`` (WIDTH / LANES,) is the first group that counts for each part of the panel. ``lost`` (size, WIDTH) is the sum of
    the panel's rows at the gaps of each variant, which are followed from ``reached`` (size,) on.
    """
    for part in range((width + LANES - 1) // LANES):
        add_columns(codes, size, max(begin[part], origin), end, panel, origin, part * LANES, tables, sums, part * size * LANES)
    for s in range(size):
        while reached[s] < start[s + 1] and gaps[reached[s]] < end * GROUP:
            row = (gaps[reached[s]] - origin * GROUP) * WIDTH
            for column in range(0, width, LANES):
                put_sum(lost, s * WIDTH + column, lost, s * WIDTH + column, panel, row + column)
            reached[s] += 1


@jit_in_order
def put_genotypes(
    sums: Any, lost: Any, total: Any, sign: Any, shift: Any, fill: Any, start: Any, out: Any, rows: Any, first: int, width: int,
) -> None:
    """Put genotypes times ``width`` columns of a matrix into ``rows`` (k,) of ``out`` and its columns from ``first`` on.

    A genotype is sign × (coded call) + shift, and fill where it is missing; ``total`` (WIDTH,) is the sum of the matrix' rows.
    """
    for part in range((width + LANES - 1) // LANES):
        column = part * LANES
        lanes = min(LANES, width - column)
        for s in range(rows.size):
            row, at, of = rows[s], first + column, (part * rows.size + s) * LANES
            for j in range(lanes):
                out[row, at + j] = sign[s] * sums[of + j] + shift[s] * total[column + j]
            if start[s] < start[s + 1]:
                for j in range(lanes):
                    out[row, at + j] += (fill[s] - shift[s]) * lost[s * WIDTH + column + j]


@jit
def add_squares(part: Any, width: int, rows: Any, out: Any) -> None:
    """Add to elements ``rows`` of ``out`` the sums of squares of the first ``width`` elements of the rows of ``part``."""
    for s in range(rows.size):
        whole = 0.0
        for j in range(width):
            whole += part[s, j] * part[s, j]
        out[rows[s]] += whole
