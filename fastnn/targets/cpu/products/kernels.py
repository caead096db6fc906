"""The micro-kernels: a few rows of A times a panel of B, the result held in registers.

    C[r, :] = init[r, :] + sum_k A[r, k] B[k, :]               (`multiply`)
    C[r, :] = beta C[r, :] + alpha sum_s A[s, r] B[s, :]       (`accumulate`)

B and C are of one vector or two, or of three, of which the third is a narrow last panel that lies
apart, at offsets `b_odd`, `init_odd` and `c_odd` of memory: alone, it would have an A loaded for
each multiplication. Other tiles take no notice of those.

They are written as LLVM IR because neither Numba nor LLVM's vectoriser keeps an accumulator tile in
registers over the k-loop. Numbers of one product are summed in the order of k, whatever the tile.
Each exists for an A in panels, and for an A that is the caller's own array, of which the rows
order[0], order[1], ... are read where they lie (`scattered`). The first of them also reads the
caller's rows one after another, for predictions.
Where Numba is switched off (``NUMBA_DISABLE_JIT=1``) the same names are plain Python.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import config, types
from numba.extending import intrinsic

from fastnn.storage.kernels.machine import few_registers, on_x86, vector_bytes
from fastnn.targets.cpu.llvm import pure_python
from fastnn.targets.cpu.llvm.vectors import (
    INT64,
    Writer,
    data_pointer,
    llvm_real,
    loop,
    prefetch,
)

ADJACENT = 8  # at least so many inputs that follow one another are gone over together


class _Writer(Writer):
    """Writes one micro-kernel of `rows` x `vectors` vectors as a function of an LLVM module.

    Where something of B or C lies is a list of pointers: one of its panel, and with three vectors
    one of the narrow panel.
    """

    def __init__(self, dtype: np.dtype, rows: int, vectors: int) -> None:
        super().__init__(dtype)
        self.rows, self.vectors = rows, vectors
        self.tight = rows * vectors > (8 if few_registers() else 12)
        self.cells = [(r, v) for r in range(rows) for v in range(vectors)]
        self.widths = [min(vectors, 2) * self.lanes, self.lanes][: _panels(vectors)]

    def at(self, builder: Any, places: list[Any], v: int) -> Any:
        """Return a pointer to vector v of a row."""
        return builder.gep(places[v // 2], [INT64(v % 2 * self.lanes)])

    def further(self, builder: Any, places: list[Any], rows: Any) -> list[Any]:
        """Return where it lies so many rows further on, of panels as wide as these."""
        return [
            builder.gep(place, [builder.mul(rows, INT64(width))])
            for place, width in zip(places, self.widths, strict=True)
        ]

    def products(
        self,
        builder: Any,
        anchor: Any,
        address: Callable[..., Any],
        b: list[Any],
        carried: list[Any],
    ) -> list[Any]:
        """One k: add the outer product of a column of A and a row of B to the accumulators.

        ``address(builder, anchor, r)`` points at the number of A in row r of the tile.
        """
        vectors = [
            self.load(builder, self.at(builder, b, v), self.lanes) for v in range(self.vectors)
        ]
        results: list[Any] = []
        for r in range(self.rows):
            if r > 0 and self.tight:
                anchor = self.after(builder, anchor, results[-self.vectors :])
            scalar = self.splat(builder, builder.load(address(builder, anchor, r)), self.lanes)
            sums = carried[r * self.vectors : (r + 1) * self.vectors]
            results += [self.fma(builder, scalar, x, y) for x, y in zip(vectors, sums, strict=True)]
        return results

    def after(self, builder: Any, anchor: Any, values: list[Any]) -> Any:
        """Return `anchor`, known to the compiler only when the values have been computed.

        Where accumulators fill the registers, it would else load a whole column of A first and move
        the accumulators to memory and back.
        """
        if not on_x86():
            return anchor
        kind = ir.FunctionType(anchor.type, [anchor.type, *(value.type for value in values)])
        registers = [",v" if vector_bytes() == 64 else ",x"] * len(values)
        return builder.call(ir.InlineAsm(kind, "", f"=r,0{''.join(registers)}"), [anchor, *values])

    def row_start(self, builder: Any, scattered: tuple[Any, ...], index: Any) -> Any:
        """Return a pointer to the caller's row number order[index]."""
        order, address, stride = scattered
        row = builder.load(builder.gep(order, [index]))
        start = builder.add(address, builder.mul(row, stride))
        return builder.inttoptr(start, self.real.as_pointer())

    def multiply(self, module: Any, name: str, scattered: bool) -> Any:
        """C = init + A B, A in `chunks` of `inner` columns that lie `chunk_stride` apart."""
        real = self.real.as_pointer()
        left = [INT64.as_pointer(), *[INT64] * 5, INT64.as_pointer(), INT64]
        if not scattered:
            left = [real, INT64, INT64, INT64, INT64, INT64, INT64]
        panels = len(self.widths)
        arguments = [*left, *[real] * 3 * panels, INT64]
        function, builder = self.function(module, name, ir.VoidType(), arguments)
        left_args, (*pointers, init_stride) = function.args[: len(left)], function.args[len(left) :]
        b, init, c = (list(pointers[at::3]) for at in range(3))
        # Of the narrow panel, rows that are not all one lie half as far apart.
        strides = [builder.lshr(init_stride, INT64(at)) for at in range(panels)]
        start = []
        for r, v in self.cells:
            row = [
                builder.gep(place, [builder.mul(INT64(r), stride)])
                for place, stride in zip(init, strides, strict=True)
            ]
            start.append(self.load(builder, self.at(builder, row, v), self.lanes))

        over = self.over_inputs if scattered else self.over_chunks
        sums = over(builder, left_args, b, start)
        for value, (r, v) in zip(sums, self.cells, strict=True):
            row = self.further(builder, c, INT64(r))
            self.store(builder, value, self.at(builder, row, v))
        builder.ret_void()
        return function

    def over_inputs(self, builder: Any, left: Any, b: list[Any], sums: list[Any]) -> list[Any]:
        """Add the products of the caller's rows over the inputs of a list.

        With every k one of the rows `ahead` rows further on is asked for, one after another.
        """
        order, ahead, asked, ask_end, address, stride, nonzero, inner = left
        source = (order, address, stride)
        rows = [self.row_start(builder, source, INT64(r)) for r in range(self.rows)]
        slots = 1 << (self.rows - 1).bit_length()
        table = builder.alloca(INT64, slots)
        for r in range(slots):
            row = builder.add(ahead, INT64(r % self.rows))
            at = builder.add(builder.ptrtoint(self.row_start(builder, source, row), INT64), asked)
            builder.store(at, builder.gep(table, [INT64(r)]))
        bytes_ = builder.mul(builder.sub(ask_end, asked), INT64(slots))
        step = builder.udiv(bytes_, builder.or_(inner, INT64(1)))

        def ask(builder: Any, slot: Any, further: Any) -> None:
            later = builder.add(builder.load(builder.gep(table, [slot])), further)
            prefetch(builder, builder.inttoptr(later, self.real.as_pointer()), level=2)

        def add(builder: Any, k: Any, sums: list[Any]) -> list[Any]:
            return self.products(
                builder,
                k,
                lambda builder, k, r: builder.gep(rows[r], [k]),
                self.further(builder, b, k),
                sums,
            )

        def listed(builder: Any, index: Any, sums: list[Any]) -> list[Any]:
            index = builder.add(index, done)
            further = builder.lshr(builder.mul(index, step), INT64(slots.bit_length() - 1))
            ask(builder, builder.and_(index, INT64(slots - 1)), further)
            return add(builder, builder.load(builder.gep(nonzero, [index])), sums)

        def adjacent(builder: Any, index: Any, carried: list[Any]) -> list[Any]:
            further, k, *sums = carried
            for u in range(together):
                stretch = builder.mul(step, INT64(u // slots))
                ask(builder, INT64(u % slots), builder.add(further, stretch))
                sums = add(builder, k, sums)
                # The compiler is to do them one by one, too, or it runs out of registers.
                k = builder.add(self.after(builder, k, sums[-self.vectors :]), INT64(1))
            return [builder.add(further, builder.mul(step, INT64(together // slots))), k, *sums]

        done, together = INT64(0), max(ADJACENT, slots)
        if self.tight and on_x86():
            # Where all inputs of the list follow one another, they are counted instead of read from
            # it: what is not a multiplication would take a tenth of the time.
            some = builder.icmp_signed(">", inner, INT64(0))
            last = builder.select(some, builder.sub(inner, INT64(1)), INT64(0))
            first_k, last_k = (
                builder.load(builder.gep(nonzero, [each])) for each in (INT64(0), last)
            )
            all_follow = builder.icmp_signed("==", builder.sub(last_k, first_k), last)
            full = builder.udiv(inner, INT64(together))
            groups = builder.select(all_follow, full, INT64(0))
            sums = loop(builder, groups, [INT64(0), first_k, *sums], adjacent)[2:]
            done = builder.mul(groups, INT64(together))
        return loop(builder, builder.sub(inner, done), sums, listed)

    def over_chunks(self, builder: Any, left: Any, b: list[Any], sums: list[Any]) -> list[Any]:
        """Add the products of rows in panels, `chunks` of `inner` columns."""
        a, chunks, inner, chunk_stride, row_stride, ahead, step = left
        rows = [builder.gep(a, [builder.mul(INT64(r), row_stride)]) for r in range(self.rows)]
        panels = len(self.widths)

        def of_row(builder: Any, k: Any, r: int) -> Any:
            return builder.gep(rows[r], [k])

        def chunk(builder: Any, index: Any, carried: list[Any]) -> list[Any]:
            begin = builder.mul(index, chunk_stride)

            def column(builder: Any, k: Any, carried: list[Any]) -> list[Any]:
                later, rest = carried[0], list(carried[1:])
                b, sums = rest[:panels], rest[panels:]
                # The panel that follows comes from afar while this one is used.
                prefetch(builder, builder.inttoptr(later, self.real.as_pointer()), level=2)
                k = builder.add(begin, k)
                sums = self.products(builder, k, of_row, b, sums)
                return [builder.add(later, step), *self.further(builder, b, INT64(1)), *sums]

            return loop(builder, inner, carried, column)

        later = builder.add(builder.ptrtoint(b[0], INT64), ahead)
        return loop(builder, chunks, [later, *b, *sums], chunk)[1 + panels :]

    def accumulate(self, module: Any, name: str, scattered: bool) -> Any:
        """C = beta C + alpha A^T B, the samples in rows of A that lie `a_stride` apart."""
        real = self.real.as_pointer()
        left = [real, INT64, INT64]
        if scattered:
            left = [INT64.as_pointer(), INT64.as_pointer()]
        panels = len(self.widths)
        arguments = [*left, *[real] * 2 * panels, INT64, self.real, self.real]
        function, builder = self.function(module, name, ir.VoidType(), arguments)
        *pointers, samples, alpha, beta = function.args[len(left) :]
        b, c = (list(pointers[at::2]) for at in range(2))
        inputs = [INT64(r) for r in range(self.rows)]
        if scattered:
            inputs = [builder.load(builder.gep(function.args[1], [r])) for r in inputs]
        rows = [self.further(builder, c, r) for r in inputs]
        for row in rows:  # C is touched only after the loop: its misses hide behind the arithmetic
            for v in range(self.vectors):
                prefetch(builder, self.at(builder, row, v), to_write=True)
        zero = self.zeros(self.lanes)

        def of_input(builder: Any, sample: Any, r: int) -> Any:
            return builder.gep(sample, [inputs[r]])

        # Every sum is over the samples one by one, in all tiles: which tile an input falls into
        # depends on which others are used.
        def add(builder: Any, s: Any, cells: list[Any]) -> list[Any]:
            if scattered:
                sample = builder.load(builder.gep(function.args[0], [s]))
                sample = builder.inttoptr(sample, real)
                # Rows lie anywhere, so no hardware foresees which line the next tile will need.
                prefetch(builder, builder.gep(sample, [builder.add(inputs[-1], INT64(16))]))
            else:
                sample = builder.gep(function.args[0], [builder.mul(s, function.args[1])])
                prefetch(builder, builder.gep(sample, [function.args[2]]), level=2)
            return self.products(builder, sample, of_input, self.further(builder, b, s), cells)

        cells = loop(builder, samples, [zero] * len(self.cells), add)
        scale = self.splat(builder, alpha, self.lanes)
        keep = self.splat(builder, beta, self.lanes)
        for value, (r, v) in zip(cells, self.cells, strict=True):
            cell = self.at(builder, rows[r], v)
            old = builder.fmul(keep, self.load(builder, cell, self.lanes))
            self.store(builder, self.fma(builder, scale, value, old), cell)
        builder.ret_void()
        return function


def _callee(
    module: Any, dtype: np.dtype, kind: str, shape: tuple[int, int], scattered: bool
) -> Any:
    rows, vectors = shape
    name = f"fastnn_{kind}{'_scattered' if scattered else ''}_{dtype.name}_{rows}x{vectors}"
    found = module.globals.get(name)
    return found or getattr(_Writer(dtype, rows, vectors), kind)(module, name, scattered)


def _panels(vectors: int) -> int:
    """Return how many panels a tile of so many vectors goes over."""
    return 1 + (vectors > 2)


def _places(context: Any, builder: Any, kind: Any, memory: Any, offsets: list[Any]) -> list[Any]:
    return [data_pointer(context, builder, kind, memory, each) for each in offsets]


def make_multiply(dtype: np.dtype, rows: int, vectors: int) -> Any:
    """Return the product with an A in panels.

    ``multiply(memory, a, chunks, inner, chunk_stride, row_stride, ahead, step, b, init,
    init_stride, c, b_odd, init_odd, c_odd)``. What lies `ahead` bytes beyond B and on is asked for,
    `step` bytes further with every k. `init_stride` is the width of a panel, or 0.
    """
    if config.DISABLE_JIT:
        return pure_python.multiply(rows, vectors, vector_bytes() // dtype.itemsize)

    @intrinsic
    def multiply(
        typingctx, memory, a, chunks, inner, chunk_stride, row_stride, ahead, step,
        b, init, init_stride, c, b_odd, init_odd, c_odd,
    ):  # fmt: skip
        def codegen(context, builder, signature, args):
            own, (b, init, stride, c, *odd) = args[0], args[8:]
            offsets = [args[1], b, init, c, *odd][: 1 + 3 * _panels(vectors)]
            left, *places = _places(context, builder, signature.args[0], own, offsets)
            callee = _callee(builder.module, dtype, "multiply", (rows, vectors), False)
            builder.call(callee, [left, *args[2:8], *places, stride])
            return context.get_dummy_value()

        return types.void(memory, *[types.int64] * 14), codegen

    return multiply


def make_multiply_rows(dtype: np.dtype, rows: int, vectors: int) -> Any:
    """Return the product with rows of the caller's array that follow one another.

    ``multiply(address, stride, inner, ahead, step, memory, b, init, init_stride, c, b_odd,
    init_odd, c_odd)``; the address in bytes, the stride in numbers, and all else as above.
    """
    if config.DISABLE_JIT:
        return pure_python.multiply_rows(dtype, rows, vectors, vector_bytes() // dtype.itemsize)

    @intrinsic
    def multiply(
        typingctx, address, stride, inner, ahead, step,
        memory, b, init, init_stride, c, b_odd, init_odd, c_odd,
    ):  # fmt: skip
        def codegen(context, builder, signature, args):
            own, (b, init, stride, c, *odd) = args[5], args[6:]
            offsets = [b, init, c, *odd][: 3 * _panels(vectors)]
            places = _places(context, builder, signature.args[5], own, offsets)
            left = builder.inttoptr(args[0], llvm_real(dtype).as_pointer())
            sizes = [INT64(1), args[2], INT64(0), args[1], *args[3:5]]
            callee = _callee(builder.module, dtype, "multiply", (rows, vectors), False)
            builder.call(callee, [left, *sizes, *places, stride])
            return context.get_dummy_value()

        return types.void(*[types.int64] * 5, memory, *[types.int64] * 7), codegen

    return multiply


def make_multiply_scattered(dtype: np.dtype, rows: int, vectors: int) -> Any:
    """Return the product with rows of the caller's array, over the nonzero columns.

    ``multiply(order, first, ahead, asked, ask_end, address, row_stride, nonzero, nonzero_at, count,
    memory, b, init, init_stride, c, b_odd, init_odd, c_odd)``; address and row_stride in bytes.
    Bytes asked..ask_end of the rows `ahead` rows further on are prefetched.
    """
    if config.DISABLE_JIT:
        lanes = vector_bytes() // dtype.itemsize
        return pure_python.multiply_scattered(dtype, rows, vectors, lanes)

    @intrinsic
    def multiply(
        typingctx, order, first, ahead, asked, ask_end, address, row_stride, nonzero, nonzero_at,
        count, memory, b, init, init_stride, c, b_odd, init_odd, c_odd,
    ):  # fmt: skip
        def codegen(context, builder, signature, args):
            kind, own, (b, init, stride, c, *odd) = signature.args, args[10], args[11:]
            rows_at, columns = (
                data_pointer(context, builder, kind[n], args[n], args[n + 1]) for n in (0, 7)
            )
            offsets = [b, init, c, *odd][: 3 * _panels(vectors)]
            places = _places(context, builder, kind[10], own, offsets)
            left = [rows_at, *args[2:7], columns, args[9]]
            callee = _callee(builder.module, dtype, "multiply", (rows, vectors), True)
            builder.call(callee, [*left, *places, stride])
            return context.get_dummy_value()

        i = types.int64
        return types.void(order, *[i] * 6, nonzero, i, i, memory, *[i] * 7), codegen

    return multiply


def make_accumulate(dtype: np.dtype, rows: int, vectors: int) -> Any:
    """Return the transposed product with an A in panels.

    ``accumulate(memory, a, a_stride, ahead, b, samples, c, b_odd, c_odd, alpha, beta)``; what lies
    `ahead` numbers beyond those of a sample is asked for.
    """
    if config.DISABLE_JIT:
        return pure_python.accumulate(rows, vectors, vector_bytes() // dtype.itemsize)

    @intrinsic
    def accumulate(typingctx, memory, a, a_stride, ahead, b, samples, c, b_odd, c_odd, alpha, beta):
        def codegen(context, builder, signature, args):
            own, a, a_stride, ahead, b, samples, c, *odd, alpha, beta = args
            offsets = [a, b, c, *odd][: 1 + 2 * _panels(vectors)]
            left, *places = _places(context, builder, signature.args[0], own, offsets)
            callee = _callee(builder.module, dtype, "accumulate", (rows, vectors), False)
            builder.call(callee, [left, a_stride, ahead, *places, samples, alpha, beta])
            return context.get_dummy_value()

        real = memory.dtype
        return types.void(memory, *[types.int64] * 8, real, real), codegen

    return accumulate


def make_accumulate_scattered(dtype: np.dtype, rows: int, vectors: int) -> Any:
    """Return the same for rows of the caller's array, and for nonzero columns.

    ``accumulate(addresses, first, nonzero, nonzero_at, memory, b, samples, c, b_odd, c_odd, alpha,
    beta)``, with the address of each row. Column i goes to row i of C.
    """
    if config.DISABLE_JIT:
        lanes = vector_bytes() // dtype.itemsize
        return pure_python.accumulate_scattered(dtype, rows, vectors, lanes)

    @intrinsic
    def accumulate(
        typingctx, addresses, first, nonzero, nonzero_at, memory, b, samples, c, b_odd, c_odd,
        alpha, beta,
    ):  # fmt: skip
        def codegen(context, builder, signature, args):
            kind, (own, b, samples, c, *odd, alpha, beta) = signature.args, args[4:]
            left = [data_pointer(context, builder, kind[n], args[n], args[n + 1]) for n in (0, 2)]
            offsets = [b, c, *odd][: 2 * _panels(vectors)]
            places = _places(context, builder, kind[4], own, offsets)
            callee = _callee(builder.module, dtype, "accumulate", (rows, vectors), True)
            builder.call(callee, [*left, *places, samples, alpha, beta])
            return context.get_dummy_value()

        i, real = types.int64, memory.dtype
        return types.void(addresses, i, nonzero, i, memory, *[i] * 5, real, real), codegen

    return accumulate
