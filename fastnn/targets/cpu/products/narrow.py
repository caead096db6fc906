"""Products for a first layer of few outputs, whose W is kept transposed: a row of inputs an output.

    C[r, j] += sum_i x_r[i] W[j, i]                       (`forward`)
    W[j, i] = beta W[j, i] + alpha sum_r D[r, j] x_r[i]   (`gradient`)

With ten outputs a panel of W would leave six of sixteen lanes empty. Here the lanes run along the
inputs: a tile of rows and outputs is summed in registers, and its vectors are added up together,
two halves at a time. x_r are rows order[r] of an array with its numbers side by side.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
from llvmlite import ir
from numba import config, types
from numba.extending import intrinsic

from fastnn.storage.kernels.machine import few_registers
from fastnn.targets.cpu.llvm import pure_python
from fastnn.targets.cpu.llvm.inner import njit
from fastnn.targets.cpu.llvm.rule_loops import EXACT, U
from fastnn.targets.cpu.llvm.vectors import INT64, Writer, data_pointer, loop, prefetch, when
from fastnn.targets.cpu.products.gemm import ZERO

# Rows or vectors of inputs that a tile takes at most, beside 4 outputs: sums stay in registers.
TILE = 2 if few_registers() else 4
BLOCK_BYTES = 32 << 10  # of W: what stays in the first-level cache


class _Writer(Writer):
    """Writes the kernels of one dtype."""

    def row(self, builder: Any, order: Any, address: Any, stride: Any, index: Any) -> Any:
        """Return a pointer to row order[index]."""
        start = builder.mul(builder.load(builder.gep(order, [index])), stride)
        return builder.inttoptr(builder.add(address, start), self.real.as_pointer())

    def picked(self, builder: Any, mask: Any, r: Any, ahead: Any) -> Any:
        """Return `ahead` where the mask picks row r of each TILE rows, else 0."""
        bit = builder.lshr(mask, builder.and_(r, INT64(TILE - 1)))
        return builder.mul(builder.and_(bit, INT64(1)), ahead)

    def forward(self, module: Any, name: str, rows: int, outputs: int) -> Any:
        real = self.real.as_pointer()
        words = [INT64.as_pointer(), *[INT64] * 5]
        function, builder = self.function(
            module, name, ir.VoidType(), [*words, real, INT64, real, INT64]
        )
        order, ahead, mask, address, stride, count, w, w_stride, c, c_stride = function.args
        xs, later = [], []
        for r in range(rows):
            distant = builder.add(INT64(r), self.picked(builder, mask, INT64(r), ahead))
            xs.append(self.row(builder, order, address, stride, INT64(r)))
            later.append(self.row(builder, order, address, stride, distant))
        ws = [builder.gep(w, [builder.mul(INT64(j), w_stride)]) for j in range(outputs)]

        def products(builder: Any, at: Any, lanes: int, sums: list[Any]) -> list[Any]:
            right = [self.load(builder, builder.gep(each, [at]), lanes) for each in ws]
            right = [self.widen(builder, each) for each in right]
            result = []
            for r, x in enumerate(xs):
                left = self.widen(builder, self.load(builder, builder.gep(x, [at]), lanes))
                own = sums[r * outputs : (r + 1) * outputs]
                pairs = zip(right, own, strict=True)
                result += [self.fma(builder, left, each, total) for each, total in pairs]
            return result

        def whole(builder: Any, index: Any, sums: list[Any]) -> list[Any]:
            at = builder.mul(index, INT64(self.lanes))
            for row in later:
                prefetch(builder, builder.gep(row, [at]))
            return products(builder, at, self.lanes, sums)

        vectors = builder.udiv(count, INT64(self.lanes))
        sums = loop(builder, vectors, [self.zeros(self.lanes)] * (rows * outputs), whole)
        at, part = builder.mul(vectors, INT64(self.lanes)), self.lanes // 2
        while part:
            present = builder.icmp_unsigned("!=", builder.and_(count, INT64(part)), INT64(0))

            def rest(builder: Any, at: Any = at, part: int = part, sums: Any = sums) -> list[Any]:
                return [builder.add(at, INT64(part)), *products(builder, at, part, sums)]

            at, *sums = when(builder, present, [at, *sums], rest)
            part //= 2
        totals = self.fold(builder, sums, builder.fadd)
        step = min(outputs, self.lanes)
        for cell in range(0, rows * outputs, step):
            r, j = divmod(cell, outputs)
            source, lane = totals[cell // self.lanes], cell % self.lanes
            value = self.shuffle(builder, source, source, list(range(lane, lane + step)))
            at = builder.gep(c, [builder.add(builder.mul(INT64(r), c_stride), INT64(j))])
            self.store(builder, builder.fadd(self.load(builder, at, step), value), at)
        builder.ret_void()
        return function

    def gradient(self, module: Any, name: str, outputs: int) -> Any:
        real = self.real.as_pointer()
        words = [INT64.as_pointer(), INT64.as_pointer(), INT64, INT64]
        arguments = [*words, real, INT64, real, INT64, self.real, self.real]
        function, builder = self.function(module, name, ir.VoidType(), arguments)
        rows, asked, samples, count = function.args[:4]
        d, d_stride, w, w_stride, alpha, beta = function.args[4:]

        def block(builder: Any, at: Any, vectors: int, lanes: int) -> None:
            """Update `vectors` vectors of `lanes` inputs from `at` on, of all the outputs."""

            def sample(builder: Any, s: Any, sums: list[Any]) -> list[Any]:
                start = builder.load(builder.gep(rows, [s]))
                x = builder.gep(builder.inttoptr(start, real), [at])
                if vectors > 1:
                    start = builder.load(builder.gep(asked, [s]))
                    later = builder.gep(builder.inttoptr(start, real), [at])
                    for v in range(vectors):
                        prefetch(builder, builder.gep(later, [INT64(v * lanes)]))
                delta = builder.gep(d, [builder.mul(s, d_stride)])
                right = [
                    self.load(builder, builder.gep(x, [INT64(v * lanes)]), lanes)
                    for v in range(vectors)
                ]
                result = []
                for j in range(outputs):
                    scalar = builder.load(builder.gep(delta, [INT64(j)]))
                    left = self.splat(builder, scalar, lanes)
                    own = sums[j * vectors : (j + 1) * vectors]
                    pairs = zip(right, own, strict=True)
                    result += [self.fma(builder, left, each, total) for each, total in pairs]
                return result

            sums = loop(builder, samples, [self.zeros(lanes)] * (outputs * vectors), sample)
            scale, keep = self.splat(builder, alpha, lanes), self.splat(builder, beta, lanes)
            for cell, total in enumerate(sums):
                j, v = divmod(cell, vectors)
                offset = builder.add(builder.mul(INT64(j), w_stride), INT64(v * lanes))
                to = builder.gep(w, [builder.add(at, offset)])
                old = builder.fmul(keep, self.load(builder, to, lanes))
                self.store(builder, self.fma(builder, scale, total, old), to)

        at = INT64(0)
        for vectors in (TILE, 1):
            wide = vectors * self.lanes
            blocks = builder.udiv(builder.sub(count, at), INT64(wide))

            def whole(
                builder: Any, index: Any, carried: list[Any], at: Any = at, vectors: int = vectors
            ) -> list[Any]:
                start = builder.mul(index, INT64(vectors * self.lanes))
                block(builder, builder.add(at, start), vectors, self.lanes)
                return []

            loop(builder, blocks, [], whole)
            at = builder.add(at, builder.mul(blocks, INT64(wide)))
        part = self.lanes // 2
        while part:
            present = builder.icmp_unsigned("!=", builder.and_(count, INT64(part)), INT64(0))

            def rest(builder: Any, at: Any = at, part: int = part) -> list[Any]:
                block(builder, at, 1, part)
                return [builder.add(at, INT64(part))]

            (at,) = when(builder, present, [at], rest)
            part //= 2
        builder.ret_void()
        return function


def _make_forward(dtype: np.dtype, rows: int, outputs: int) -> Any:
    """Return the kernel of `forward` for a tile.

    ``kernel(order, first, ahead, mask, address, stride, count, w, w_at, w_stride, c_at, c_stride)``
    adds to C, which is in the same array as W. Rows are prefetched as in
    `fastnn.targets.cpu.products.kernels`.
    """
    if config.DISABLE_JIT:
        return pure_python.narrow_forward(dtype, rows, outputs)
    name = f"fastnn_narrow_forward_{dtype.name}_{rows}x{outputs}"

    @intrinsic
    def kernel(
        typingctx, order, first, ahead, mask, address, stride, count, w, w_at, w_stride, c_at,
        c_stride,
    ):  # fmt: skip
        def codegen(context, builder, signature, args):
            kinds, module = signature.args, builder.module
            rows_at = data_pointer(context, builder, kinds[0], args[0], args[1])
            right = data_pointer(context, builder, kinds[7], args[7], args[8])
            out = data_pointer(context, builder, kinds[7], args[7], args[10])
            callee = module.globals.get(name)
            callee = callee or _Writer(dtype).forward(module, name, rows, outputs)
            builder.call(callee, [rows_at, *args[2:7], right, args[9], out, args[11]])
            return context.get_dummy_value()

        i = types.int64
        return types.void(order, i, i, i, i, i, i, w, i, i, i, i), codegen

    return kernel


def _make_gradient(dtype: np.dtype, outputs: int) -> Any:
    """Return the kernel of `gradient` for a few outputs.

    ``kernel(addresses, at, asked, samples, count, d, d_at, d_stride, w_at, w_stride, alpha,
    beta)``; D and W are in the same array. Row r of X begins at addresses[at + r], what is asked
    for with it at addresses[asked + r].
    """
    if config.DISABLE_JIT:
        return pure_python.narrow_gradient(dtype, outputs)
    name = f"fastnn_narrow_gradient_{dtype.name}_{outputs}"

    @intrinsic
    def kernel(
        typingctx, addresses, at, asked, samples, count, d, d_at, d_stride, w_at, w_stride, alpha,
        beta,
    ):  # fmt: skip
        def codegen(context, builder, signature, args):
            kinds, module = signature.args, builder.module
            rows, later = (
                data_pointer(context, builder, kinds[0], args[0], each) for each in args[1:3]
            )
            left, out = (
                data_pointer(context, builder, kinds[5], args[5], each)
                for each in (args[6], args[8])
            )
            callee = module.globals.get(name)
            callee = callee or _Writer(dtype).gradient(module, name, outputs)
            builder.call(callee, [rows, later, *args[3:5], left, args[7], out, *args[9:]])
            return context.get_dummy_value()

        i = types.int64
        return types.void(addresses, *[i] * 4, d, i, i, i, i, d.dtype, d.dtype), codegen

    return kernel


def _rows_of(number: Any, n: Any) -> Any:
    """Return the mask of the rows that pass `number` asks for ahead of time.

    Each group of outputs is a pass, forward and in the gradient; the rows of a tile are dealt out
    to all of them, so that the requests come evenly.
    """
    passes, mask = 2 * ((n + 3) // 4), 0
    for r in range(TILE):
        if r * passes // TILE == number:
            mask |= 1 << r
    return mask


rows_of = njit(**EXACT)(_rows_of)


def _forward_tile(dtype: np.dtype, rows: int) -> Any:
    """Return C += X W^T for a tile of `rows` rows and all outputs."""
    four, two, one = (_make_forward(dtype, rows, outputs) for outputs in (4, 2, 1))

    @njit(**EXACT)
    def tile(memory, order, row, ahead, address, stride, count, w, w_stride, n, c, c_stride):
        j = ZERO
        while j < n:
            mask, at, out = rows_of(j // 4, n), w + j * w_stride, c + j
            if j + 4 <= n:
                four(order, row, ahead, mask, address, stride, count, memory, at, w_stride, out,
                     c_stride)  # fmt: skip
                j += 4
            elif j + 2 <= n:
                two(order, row, ahead, mask, address, stride, count, memory, at, w_stride, out,
                    c_stride)  # fmt: skip
                j += 2
            else:
                one(order, row, ahead, mask, address, stride, count, memory, at, w_stride, out,
                    c_stride)  # fmt: skip
                j += 1

    return tile


def make_narrow(dtype: np.dtype) -> SimpleNamespace:
    """Return both products for any number of outputs.

    forward(memory, order, first, ahead, address, stride, count, w, w_stride, n, c, c_stride, r0,
    r1): adds to rows r0..r1 of C from rows order[first + r] of X.
    gradient(memory, addresses, at, later, asked, samples, count, d, d_stride, n, w, w_stride,
    alpha, beta): the update from rows of X that begin at addresses[at:][:samples]. Those at
    addresses[later:] are asked for; there is room for as many more at addresses[asked:].
    X is at an address, with `stride` bytes from row to row; `count` of its columns are used.
    """
    tall, flat = _forward_tile(dtype, TILE), _forward_tile(dtype, 1)
    four, two, one = (_make_gradient(dtype, outputs) for outputs in (4, 2, 1))
    itemsize = dtype.itemsize

    @njit(**EXACT)
    def forward(
        memory, order, first, ahead, address, stride, count, w, w_stride, n, c, c_stride, r0, r1
    ):
        size = max(256, BLOCK_BYTES // (n * itemsize) // 64 * 64)
        for start in range(0, count, size):
            x, inner, r = address + start * itemsize, min(size, count - start), r0
            while r < r1:
                row, at, out = first + r, w + start, c + r * c_stride
                if r + TILE <= r1:
                    tall(
                        memory, order, row, ahead, x, stride, inner, at, w_stride, n, out, c_stride
                    )
                    r += TILE
                else:
                    flat(
                        memory, order, row, ahead, x, stride, inner, at, w_stride, n, out, c_stride
                    )
                    r += 1

    @njit(**EXACT)
    def gradient(
        memory, addresses, at, later, asked, samples, count, d, d_stride, n, w, w_stride, alpha,
        beta,
    ):  # fmt: skip
        j, ask = ZERO, at
        while j < n:
            delta, out = d + j, w + j * w_stride
            if later != at:
                mask, ask = rows_of((n + 3) // 4 + j // 4, n), asked
                for r in range(samples):
                    picked = mask >> (r & (TILE - 1)) & 1
                    addresses[U(asked + r)] = addresses[U((later if picked else at) + r)]
            if j + 4 <= n:
                four(addresses, at, ask, samples, count, memory, delta, d_stride, out, w_stride,
                     alpha, beta)  # fmt: skip
                j += 4
            elif j + 2 <= n:
                two(addresses, at, ask, samples, count, memory, delta, d_stride, out, w_stride,
                    alpha, beta)  # fmt: skip
                j += 2
            else:
                one(addresses, at, ask, samples, count, memory, delta, d_stride, out, w_stride,
                    alpha, beta)  # fmt: skip
                j += 1

    return SimpleNamespace(forward=forward, gradient=gradient)
