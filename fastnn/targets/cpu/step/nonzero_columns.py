"""Which inputs rows use: the columns of X that are not zero in all of them.

Where x is zero, so are its products: the first layer goes over the other columns alone, with the
same result as long as weights are finite. (Where one is infinite the loss is soon NaN; which step
says so first may then depend on which rows share a list.) Pictures with an empty margin and one-hot
codes have many such columns (MNIST: 39 % of 784 at 48 rows, 53 % at 8). Where there are none the
first rows say so, and looking costs next to nothing.

A list has the columns in rising order. LIST_SLACK numbers behind its longest end is its table: how
many there are before each panel, and last how many in all.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import config, types
from numba.extending import intrinsic

from fastnn.storage.kernels.machine import Shape
from fastnn.targets.cpu.arguments import FIRST_STEP
from fastnn.targets.cpu.llvm import pure_python
from fastnn.targets.cpu.llvm.inner import njit
from fastnn.targets.cpu.llvm.rule_loops import EXACT, U
from fastnn.targets.cpu.llvm.vectors import INT64, Writer, data_pointer, loop
from fastnn.targets.cpu.plan import (
    COPIED,
    IN_PLACE,
    LIST_SLACK,
    LOOK_ROWS,
    NONZERO_SIZE,
    OWN_INPUTS,
)
from fastnn.targets.cpu.products.gemm import ZERO, make_tile_rows
from fastnn.targets.cpu.tiling import LOOK_TILES
from fastnn.targets.cpu.views import (
    control_of,
    head_of,
    layers_of,
    nonzero_of,
)
from fastnn.targets.fields import BATCH, K

WORTHWHILE = 128  # columns; with fewer of them there is little to gain
PATIENCE = 16  # steps that go over all columns after one that uses them all
ALWAYS = np.int64(1 << 62)
LISTS_ALL = np.int64(-1)  # a thread's note that its first tile has a list of all columns
BYTE = 8  # bits that become numbers of a list together


class _Writer(Writer):
    """Writes the functions of one dtype."""

    def places(self, module: Any) -> Any:
        """Return a table: for each byte the places of its bits that are set, in rising order."""
        name, row = "fastnn_places_of_bits", ir.VectorType(ir.IntType(8), BYTE)
        found = module.globals.get(name)
        if found is not None:
            return found
        rows = []
        for byte in range(1 << BYTE):
            set_ = [i for i in range(BYTE) if byte >> i & 1]
            rows.append(ir.Constant(row, set_ + [0] * (BYTE - len(set_))))
        table = ir.GlobalVariable(module, ir.ArrayType(row, len(rows)), name)
        table.linkage, table.global_constant = "internal", True
        table.initializer = ir.Constant(table.type.pointee, rows)
        return table

    def append(self, builder: Any, bits: Any, column: Any, list_: Any, count: Any) -> Any:
        """Add the columns of a vector whose bits are set, from `column` on; return the new count.

        Eight numbers are written for every byte, of which as many as it has bits set count.
        """
        table, numbers = self.places(builder.module), ir.VectorType(INT64, BYTE)
        counting = builder.module.declare_intrinsic("llvm.ctpop", [INT64])
        for first in range(0, self.lanes, BYTE):
            byte = builder.and_(builder.lshr(bits, INT64(first)), INT64((1 << BYTE) - 1))
            places = builder.load(builder.gep(table, [INT64(0), byte]), align=BYTE)
            start = builder.add(column, INT64(first))
            undefined = ir.Constant(numbers, ir.Undefined)
            one = builder.insert_element(undefined, start, ir.IntType(32)(0))
            columns = builder.add(
                builder.zext(places, numbers), self.shuffle(builder, one, undefined, [0] * BYTE)
            )
            to = builder.bitcast(builder.gep(list_, [count]), numbers.as_pointer())
            builder.store(columns, to, align=8)
            count = builder.add(count, builder.call(counting, [byte]))
        return count

    def write_list(self, builder: Any, k: Any, list_: Any, bits_of: Any) -> Any:
        """Write the list and table of k columns, whose bits ``bits_of(builder, v, start)`` returns.

        They are those of vector v, from column `start` on; the last one ends with the last column.
        """
        panel = INT64(2 * self.lanes)
        table = builder.gep(list_, [builder.add(k, INT64(LIST_SLACK))])
        panels = builder.udiv(builder.add(k, builder.sub(panel, INT64(1))), panel)
        last = builder.sub(k, INT64(self.lanes))

        def of_panel(builder: Any, p: Any, carried: list[Any]) -> list[Any]:
            (count,) = carried
            builder.store(count, builder.gep(table, [p]))
            for half in range(2):
                v = builder.add(builder.mul(p, INT64(2)), INT64(half))
                column = builder.mul(v, INT64(self.lanes))
                inside = builder.icmp_unsigned("<", column, last)
                start = builder.select(inside, column, last)
                bits = bits_of(builder, v, start)
                bits = builder.lshr(bits, builder.sub(column, start))
                count = self.append(builder, bits, column, list_, count)
            return [count]

        (count,) = loop(builder, panels, [INT64(0)], of_panel)
        builder.store(count, builder.gep(table, [panels]))
        return count

    def look(self, module: Any, name: str, rows: int) -> Any:
        """Write the list of a tile of up to `rows` rows, and add its bits to those at `bits`."""
        number = INT64.as_pointer()
        arguments = [number, INT64, INT64, INT64, INT64, number, number]
        function, builder = self.function(module, name, INT64, arguments)
        order, address, stride, samples, k, list_, bits = function.args
        whole = ir.VectorType(ir.IntType(8 * self.itemsize), self.lanes)
        zero = ir.Constant(whole, [0] * self.lanes)
        starts = []
        for r in range(rows):  # a tile of fewer rows has its last one several times
            end = builder.sub(samples, INT64(1))
            inside = builder.icmp_signed("<", INT64(r), end)
            row = builder.load(builder.gep(order, [builder.select(inside, INT64(r), end)]))
            starts.append(builder.add(address, builder.mul(row, stride)))

        def bits_of(builder: Any, v: Any, start: Any) -> Any:
            offset = builder.mul(start, INT64(self.itemsize))
            seen = zero
            for each in starts:
                at = builder.inttoptr(builder.add(each, offset), whole.as_pointer())
                seen = builder.or_(seen, builder.load(at, align=self.itemsize))
            # Without the sign: -0.0 is zero too.
            shifted = builder.shl(seen, ir.Constant(whole, [1] * self.lanes))
            found = builder.icmp_unsigned("!=", shifted, zero)
            found = builder.zext(builder.bitcast(found, ir.IntType(self.lanes)), INT64)
            known = builder.gep(bits, [v])
            builder.store(builder.or_(builder.load(known), found), known)
            return found

        builder.ret(self.write_list(builder, k, list_, bits_of))
        return function

    def list_bits(self, module: Any, name: str) -> Any:
        """Write the list of the columns whose bits are set."""
        number = INT64.as_pointer()
        function, builder = self.function(module, name, INT64, [number, INT64, number])
        bits, k, list_ = function.args

        def bits_of(builder: Any, v: Any, start: Any) -> Any:
            return builder.load(builder.gep(bits, [v]))

        builder.ret(self.write_list(builder, k, list_, bits_of))
        return function


def _make_look(dtype: np.dtype, rows: int) -> Any:
    """Return ``look_tile(order, first, address, stride, samples, k, nonzero, list, bits)``.

    It lists the columns of `samples` <= `rows` rows, adds their bits to those of each vector at
    `bits`, and returns how many columns there are.
    """
    if config.DISABLE_JIT:
        return pure_python.look_tile(dtype, Writer(dtype).lanes, LIST_SLACK)
    name = f"fastnn_look_{dtype.name}"

    @intrinsic
    def look_tile(typingctx, order, first, address, stride, samples, k, nonzero, list_, bits):
        def codegen(context, builder, signature, args):
            module, kind = builder.module, signature.args
            rows_at = data_pointer(context, builder, kind[0], args[0], args[1])
            places = [data_pointer(context, builder, kind[6], args[6], at) for at in args[7:]]
            callee = module.globals.get(name) or _Writer(dtype).look(module, name, rows)
            return builder.call(callee, [rows_at, *args[2:6], *places])

        i = types.int64
        return i(order, i, i, i, i, i, nonzero, i, i), codegen

    return look_tile


def _make_list_bits(dtype: np.dtype) -> Any:
    """Return ``list_bits(nonzero, bits, k, list)``: how many columns it has listed."""
    if config.DISABLE_JIT:
        return pure_python.list_bits(Writer(dtype).lanes, LIST_SLACK)
    name = f"fastnn_list_bits_{dtype.name}"

    @intrinsic
    def list_bits(typingctx, nonzero, bits, k, list_):
        def codegen(context, builder, signature, args):
            module, kind = builder.module, signature.args[0]
            source, to = (data_pointer(context, builder, kind, args[0], args[n]) for n in (1, 3))
            callee = module.globals.get(name) or _Writer(dtype).list_bits(module, name)
            return builder.call(callee, [source, args[2], to])

        return types.int64(nonzero, *[types.int64] * 3), codegen

    return list_bits


def make_nonzero(dtype: np.dtype, shape: Shape, first_rows: Any) -> tuple[Any, Any]:
    """Return find_nonzero and find_tiles for a block of head[LOOK_ROWS] rows of the batch.

    find_nonzero(job, first, block, samples, me): where the list of the block is in `nonzero`.
    find_tiles(job, first, block, r0, r1, samples, me): the same for the tiles of rows r0..r1 of the
    block, of which there are no more than LOOK_TILES: where the list of the first is, how far apart
    they are, and the list of the block. Where r0..r1 is a part of the block, or all columns are
    nonzero, all tiles have the latter; but a part of copied rows has a list of all columns, for the
    other rows are perhaps not copied yet.
    Every thread has its own, made once a step, those of tiles for one block at a time.
    """
    panel, tile_rows = shape.panel, make_tile_rows(shape.rows)
    look_tile, list_bits = _make_look(dtype, shape.rows), _make_list_bits(dtype)

    @njit(**EXACT)
    def place_of(job, block, me):
        """Return where a block's list is, that of its first tile, and then the thread's notes."""
        head = head_of(job)
        size, blocks = head[NONZERO_SIZE], (head[BATCH] + head[LOOK_ROWS] - 1) // head[LOOK_ROWS]
        start = me * (blocks + LOOK_TILES + 1) * size
        tiles = start + blocks * size
        return start + block * size, tiles, tiles + LOOK_TILES * size

    @njit(**EXACT)
    def now(job, first):
        """Return a number that rises from step to step, also from epoch to epoch."""
        return control_of(job)[FIRST_STEP] * head_of(job)[BATCH] + first + 1

    @njit(**EXACT)
    def list_all(nonzero, k, start):
        table = start + k + LIST_SLACK
        for c in range(k):
            nonzero[U(start + c)] = c
        for p in range((k + panel - 1) // panel + 1):
            nonzero[U(table + p)] = min(k, p * panel)

    @njit(**EXACT)
    def look(job, first, r0, samples, me, start, tiles, notes):
        """Write the lists for rows r0 and on; return whether one of all columns does as well."""
        head, nonzero = head_of(job), nonzero_of(job)
        k = layers_of(job)[0, K]
        order, base, address, stride = first_rows(job, first, me * head[OWN_INPUTS])
        base += r0
        bits, r, most = notes + 1, ZERO, ZERO
        for v in range((k + panel - 1) // panel * 2):
            nonzero[U(bits + v)] = 0
        while r < samples:
            rows = tile_rows(samples - r)
            count = look_tile(order, base + r, address, stride, rows, k, nonzero, tiles, bits)
            if r == 0 and count == k:
                list_all(nonzero, k, start)
                return True
            r += rows
            tiles += head[NONZERO_SIZE]
            if r == rows:
                most = count
        return list_bits(nonzero, bits, k, start) == k and 8 * most > 7 * k

    @njit(**EXACT)
    def refresh(job, first, block, samples, me, need_tiles):
        head, nonzero = head_of(job), nonzero_of(job)
        k, size = layers_of(job)[0, K], head[LOOK_ROWS]
        start, tiles, notes = place_of(job, block, me)
        known, time = start + head[NONZERO_SIZE] - 1, now(job, first)
        # What a block is known to use until when; beyond this step: all columns.
        if nonzero[U(known)] > time or (nonzero[U(known)] == time and not need_tiles):
            return
        mark = time * size + block
        if nonzero[U(known)] == time and nonzero[U(notes)] == mark:
            return
        if k < WORTHWHILE:
            list_all(nonzero, k, start)
            nonzero[U(known)] = ALWAYS
            return
        r0 = block * size
        nonzero[U(notes)] = mark
        nonzero[U(known)] = time
        if look(job, first, r0, min(size, samples - r0), me, start, tiles, notes):
            nonzero[U(known)] = time + PATIENCE * head[BATCH]

    @njit(**EXACT)
    def find_nonzero(job, first, block, samples, me):
        refresh(job, first, block, samples, me, False)
        return place_of(job, block, me)[0]

    @njit(**EXACT)
    def find_tiles(job, first, block, r0, r1, samples, me):
        head, nonzero = head_of(job), nonzero_of(job)
        begin, (start, tiles, notes) = block * head[LOOK_ROWS], place_of(job, block, me)
        whole = r0 == begin and r1 == min(samples, begin + head[LOOK_ROWS])
        if not whole and head[IN_PLACE] == COPIED:
            if nonzero[U(notes)] != LISTS_ALL:
                list_all(nonzero, layers_of(job)[0, K], tiles)
                nonzero[U(notes)] = LISTS_ALL
            return tiles, ZERO, tiles
        refresh(job, first, block, samples, me, whole)
        if not whole or nonzero[U(start + head[NONZERO_SIZE] - 1)] > now(job, first):
            return start, ZERO, start
        return tiles, head[NONZERO_SIZE], start

    return find_nonzero, find_tiles
