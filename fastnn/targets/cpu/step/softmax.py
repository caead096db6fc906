"""Softmax of whole rows, as an activation and inside of the cross-entropy; and hardmax.

All arrays are panels in `memory` at the offsets of the plan (see `fastnn.targets.cpu.plan` for the
names).
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
from llvmlite import ir
from numba import config, types
from numba.extending import intrinsic

from fastnn.targets.cpu.llvm import pure_python
from fastnn.targets.cpu.llvm.inner import njit
from fastnn.targets.cpu.llvm.rule_loops import EXACT, MERGED, U
from fastnn.targets.cpu.llvm.vectors import INT64, Writer, data_pointer, loop, when
from fastnn.targets.cpu.plan import CAPACITY, CLASSES, PADDING, ROW_SCALE, ROW_SCRATCH, TARGETS
from fastnn.targets.cpu.products.gemm import ZERO
from fastnn.targets.cpu.views import (
    classes_of,
    head_of,
    layers_of,
    make_view,
    order_of,
    row_loss_of,
)
from fastnn.targets.fields import DELTA, LAYERS, OUTPUT, N


def make_softmax(
    dtype: np.dtype, panel: int, gemm: Any, lanes: Any, elementary: Any
) -> SimpleNamespace:
    """Return softmax_forward and _backward, hardmax_forward and the cross-entropies of a dtype."""
    real = dtype.type
    zero, one, lowest = real(0), real(1), real(-np.inf)
    width_of, exp, log = gemm.width_of, elementary.exp, elementary.log
    largest, total = lanes.largest, lanes.total
    shift_rows, scale_rows = lanes.shift_rows, lanes.scale_rows
    memory_of = make_view("memory", dtype)

    @njit(**EXACT)
    def exponentials(memory, to, at, rows, n, r0, r1, padding, scratch):
        """Write exp(z - max z), 1 in padding; `scratch` gets max z of each row, then the sums."""
        largest(memory, at, rows, n, r0, r1, padding, scratch)
        shift_rows(memory, to, at, rows, n, r0, r1, padding, scratch)
        for p in range((n + panel - 1) // panel):
            width = width_of(p, n)
            start = to + p * panel * rows
            for i in range(start + r0 * width, start + r1 * width):
                memory[U(i)] = exp(memory[U(i)])
        total(memory, to, rows, n, r0, r1, padding, scratch + rows)

    @njit(**EXACT)
    def softmax_forward(job, at, n, r0, r1):
        memory, head = memory_of(job), head_of(job)
        rows, scratch = head[CAPACITY], head[ROW_SCRATCH]
        exponentials(memory, at, at, rows, n, r0, r1, head[PADDING], scratch)
        for i in range(scratch + rows + r0, scratch + rows + r1):
            memory[U(i)] = one / memory[U(i)]
        scale_rows(memory, at, rows, n, r0, r1, head[PADDING], scratch + rows)

    @njit(**EXACT)
    def softmax_backward(job, a, d, n, r0, r1):
        """Turn dL/da into dL/dz = a dL/da - a sum_j a_j dL/da_j in place."""
        memory, head = memory_of(job), head_of(job)
        rows, sums = head[CAPACITY], head[ROW_SCRATCH]
        for p in range((n + panel - 1) // panel):
            width = width_of(p, n)
            start = p * panel * rows
            for i in range(start + r0 * width, start + r1 * width):
                memory[U(d + i)] *= memory[U(a + i)]
        total(memory, d, rows, n, r0, r1, head[PADDING], sums)
        for p in range((n + panel - 1) // panel):
            width = width_of(p, n)
            for r in range(r0, r1):
                at, share = p * panel * rows + r * width, memory[U(sums + r)]
                for c in range(width):
                    memory[U(d + at + c)] -= memory[U(a + at + c)] * share

    @njit(**MERGED)
    def hardmax_forward(job, at, n, r0, r1):
        """Write 1 for the first of the largest z of each row, 0 for the others; NaN stays NaN."""
        memory, rows = memory_of(job), head_of(job)[CAPACITY]
        for r in range(r0, r1):
            largest_z, place = lowest, 0
            for c in range(n):
                p = c // panel
                z = memory[U(at + p * panel * rows + r * width_of(p, n) + c - p * panel)]
                if z > largest_z:
                    largest_z, place = z, c
            for c in range(n):
                p = c // panel
                cell = at + p * panel * rows + r * width_of(p, n) + c - p * panel
                if memory[U(cell)] == memory[U(cell)]:
                    memory[U(cell)] = one if c == place else zero

    @njit(**EXACT)
    def cross_entropy_rows(job, first, r0, r1):
        memory, head, layers, order, classes, row_loss = (
            memory_of(job),
            head_of(job),
            layers_of(job),
            order_of(job),
            classes_of(job),
            row_loss_of(job),
        )
        last = head[LAYERS] - 1
        n, rows = layers[last, N], head[CAPACITY]
        z, d = layers[last, OUTPUT], layers[last, DELTA]
        scratch = head[ROW_SCRATCH]
        exponentials(memory, d, z, rows, n, r0, r1, head[PADDING], scratch)
        # scratch: largest z -> log-sum-exp;
        # sum of exponentials -> what turns exponentials into the gradient
        for i in range(scratch + r0, scratch + r1):
            memory[U(i)] += log(memory[U(i + rows)])
        for r in range(r0, r1):
            memory[U(scratch + rows + r)] = (
                memory[U(head[ROW_SCALE] + r)] / memory[U(scratch + rows + r)]
            )
        scale_rows(memory, d, rows, n, r0, r1, head[PADDING], scratch + rows)
        for r in range(r0, r1):
            label = classes[U(order[U(first + r)])]
            p = label // panel
            at = p * panel * rows + r * width_of(p, n) + label % panel
            memory[U(d + at)] -= memory[U(head[ROW_SCALE] + r)]
            row_loss[U(r)] = memory[U(scratch + r)] - memory[U(z + at)]

    @njit(**EXACT)
    def smooth_targets(job, first, r0, r1, smoothing):
        """Write (1 - s) t + s / K to the targets, t being soft labels or 1 for the label."""
        memory, head, layers, order, classes = (
            memory_of(job),
            head_of(job),
            layers_of(job),
            order_of(job),
            classes_of(job),
        )
        n, rows, targets = layers[head[LAYERS] - 1, N], head[CAPACITY], head[TARGETS]
        keep, base = one - smoothing, smoothing / real(n)
        for p in range((n + panel - 1) // panel):
            width, columns = width_of(p, n), min(panel, n - p * panel)
            for r in range(r0, r1):
                at = targets + p * panel * rows + r * width
                label = classes[U(order[U(first + r)])] - p * panel if head[CLASSES] == 1 else -1
                for c in range(columns):
                    t = one if c == label else zero
                    if head[CLASSES] == 0:
                        t = memory[U(at + c)]
                    memory[U(at + c)] = keep * t + base

    @njit(**EXACT)
    def soft_cross_entropy_rows(job, first, r0, r1, smoothing):
        """Take sum_k t_k (log sum_j exp(z_j) - z_k) for soft labels t, or labels, smoothed."""
        memory, head, layers, row_loss = (
            memory_of(job),
            head_of(job),
            layers_of(job),
            row_loss_of(job),
        )
        last = head[LAYERS] - 1
        n, rows, targets = layers[last, N], head[CAPACITY], head[TARGETS]
        z, d, scratch = layers[last, OUTPUT], layers[last, DELTA], head[ROW_SCRATCH]
        smooth_targets(job, first, r0, r1, smoothing)
        exponentials(memory, d, z, rows, n, r0, r1, head[PADDING], scratch)
        for r in range(r0, r1):
            log_sum = memory[U(scratch + r)] + log(memory[U(scratch + rows + r)])
            loss, whole = 0.0, zero
            for p in range((n + panel - 1) // panel):
                at = p * panel * rows + r * width_of(p, n)
                for c in range(min(panel, n - p * panel)):
                    t = memory[U(targets + at + c)]
                    whole += t
                    if t != zero:
                        loss += np.float64(t * (log_sum - memory[U(z + at + c)]))
            row_loss[U(r)] = loss
            share = memory[U(head[ROW_SCALE] + r)]
            memory[U(scratch + rows + r)] = share * whole / memory[U(scratch + rows + r)]
        scale_rows(memory, d, rows, n, r0, r1, head[PADDING], scratch + rows)
        for p in range((n + panel - 1) // panel):
            width, columns = width_of(p, n), min(panel, n - p * panel)
            for r in range(r0, r1):
                at, share = p * panel * rows + r * width, memory[U(head[ROW_SCALE] + r)]
                for c in range(columns):
                    memory[U(d + at + c)] -= share * memory[U(targets + at + c)]

    return SimpleNamespace(
        softmax_forward=softmax_forward,
        softmax_backward=softmax_backward,
        hardmax_forward=hardmax_forward,
        cross_entropy_rows=cross_entropy_rows,
        soft_cross_entropy_rows=soft_cross_entropy_rows,
    )


# A row of n numbers is spread over panels (see `fastnn.targets.cpu.plan`): vector v of it lies in
# panel v // 2. Rows are reduced several at a time, their vectors folded together: a third of the
# shuffles.

TOGETHER = 8  # rows reduced in one go


class _Writer(Writer):
    """Writes the functions of one dtype."""

    def larger(self, builder: Any, a: Any, b: Any) -> Any:
        return builder.select(builder.fcmp_ordered(">", a, b), a, b)

    def without_padding(self, builder: Any, value: Any, window: Any, instead: Any) -> Any:
        """Return `value` with that of `instead` in lanes where the window holds a 1."""
        flags = self.load(builder, window, self.lanes)
        real = builder.fcmp_ordered("==", flags, self.zeros(self.lanes))
        return builder.select(real, value, instead)

    def reduce(self, module: Any, name: str, operation: str, rows: int) -> Any:
        """Write the largest number, or the sum, of rows r, r + 1, ... of n numbers to `out`."""
        real, lanes = self.real.as_pointer(), self.lanes
        arguments = [real, INT64, INT64, INT64, real, real]
        function, builder = self.function(module, name, ir.VoidType(), arguments)
        matrix, panel_stride, r, n, padding, out = function.args
        wide = builder.udiv(builder.add(n, INT64(lanes - 1)), INT64(2 * lanes))

        def join(a: Any, b: Any) -> Any:
            return self.larger(builder, a, b) if operation == "max" else builder.fadd(a, b)

        def vectors(builder: Any, v: Any) -> list[Any]:
            p = builder.lshr(v, INT64(1))
            full = builder.icmp_unsigned("<", p, wide)
            stride = builder.select(full, INT64(2 * lanes), INT64(lanes))
            at = builder.add(builder.mul(p, panel_stride), builder.mul(r, stride))
            at = builder.add(at, builder.mul(builder.and_(v, INT64(1)), INT64(lanes)))
            start = builder.gep(matrix, [at])
            return [
                self.load(builder, builder.gep(start, [builder.mul(INT64(i), stride)]), lanes)
                for i in range(rows)
            ]

        def whole(builder: Any, v: Any, results: list[Any]) -> list[Any]:
            return [join(a, b) for a, b in zip(results, vectors(builder, v), strict=True)]

        def rest(builder: Any) -> list[Any]:
            window = builder.gep(padding, [builder.sub(INT64(lanes), left)])
            found = [
                self.without_padding(builder, each, window, start)
                for each in vectors(builder, count)
            ]
            return [join(a, b) for a, b in zip(results, found, strict=True)]

        begin = -np.inf if operation == "max" else 0.0
        start = ir.Constant(self.vector(lanes), [ir.Constant(self.real, begin)] * lanes)
        count, left = builder.udiv(n, INT64(lanes)), builder.urem(n, INT64(lanes))
        results = loop(builder, count, [start] * rows, whole)
        results = when(builder, builder.icmp_unsigned("!=", left, INT64(0)), results, rest)
        step = min(rows, lanes)
        for index, folded in enumerate(self.fold(builder, results, join)):
            value = self.shuffle(builder, folded, folded, list(range(step)))
            self.store(builder, value, builder.gep(out, [INT64(index * lanes)]))
        builder.ret_void()
        return function


def _make_reduce(dtype: np.dtype, operation: str, rows: int) -> Any:
    """Return ``reduce(memory, at, panel_stride, r, n, padding_at, out_at)``."""
    if config.DISABLE_JIT:
        return pure_python.reduce(operation, rows)
    name = f"fastnn_{operation}_{dtype.name}_{rows}"

    @intrinsic
    def reduce(typingctx, memory, at, panel_stride, r, n, padding_at, out_at):
        def codegen(context, builder, signature, args):
            kind, module = signature.args[0], builder.module
            matrix, padding, out = (
                data_pointer(context, builder, kind, args[0], args[i]) for i in (1, 5, 6)
            )
            callee = module.globals.get(name)
            callee = callee or _Writer(dtype).reduce(module, name, operation, rows)
            builder.call(callee, [matrix, *args[2:5], padding, out])
            return context.get_dummy_value()

        return types.void(memory, *[types.int64] * 6), codegen

    return reduce


def _make_scale(dtype: np.dtype) -> Any:
    """Return ``scale(memory, at, window, factor)``: one vector times a number, in place."""
    writer = _Writer(dtype)
    if config.DISABLE_JIT:
        return pure_python.scale(writer.lanes)

    @intrinsic
    def scale(typingctx, memory, at, window, factor):
        def codegen(context, builder, signature, args):
            kind, lanes = signature.args[0], writer.lanes
            pointer, flags = (data_pointer(context, builder, kind, args[0], i) for i in args[1:3])
            value = writer.load(builder, pointer, lanes)
            value = builder.fmul(value, writer.splat(builder, args[3], lanes))
            value = writer.without_padding(builder, value, flags, writer.zeros(lanes))
            writer.store(builder, value, pointer)
            return context.get_dummy_value()

        return types.void(memory, types.int64, types.int64, memory.dtype), codegen

    return scale


def _make_shift(dtype: np.dtype) -> Any:
    """Return ``shift(memory, to, at, window, amount)``: one vector minus a number."""
    writer = _Writer(dtype)
    if config.DISABLE_JIT:
        return pure_python.shift(writer.lanes)

    @intrinsic
    def shift(typingctx, memory, to, at, window, amount):
        def codegen(context, builder, signature, args):
            kind, lanes = signature.args[0], writer.lanes
            out, source, flags = (
                data_pointer(context, builder, kind, args[0], each) for each in args[1:4]
            )
            value = writer.load(builder, source, lanes)
            value = builder.fsub(value, writer.splat(builder, args[4], lanes))
            value = writer.without_padding(builder, value, flags, writer.zeros(lanes))
            writer.store(builder, value, out)
            return context.get_dummy_value()

        i = types.int64
        return types.void(memory, i, i, i, memory.dtype), codegen

    return shift


def make_lanes(dtype: np.dtype, panel: int) -> SimpleNamespace:
    """Return row operations on a matrix of n columns in panels; `rows` is the capacity.

    largest, total(memory, at, rows, n, r0, r1, padding, out): the largest number, or the sum, of
    rows r0..r1, to out + r0 and on.
    shift_rows(memory, to, at, rows, n, r0, r1, padding, amounts): row r minus the number at
    amounts + r.
    scale_rows(memory, at, rows, n, r0, r1, padding, factors): row r times that at factors + r.
    Columns beyond the last do not count, and become 0. `padding` is where a vector of zeros is
    followed by one of ones; a window on both tells which lanes of a row's last vector are padding.
    """
    lanes = panel // 2
    pairs = {
        operation: (_make_reduce(dtype, operation, TOGETHER), _make_reduce(dtype, operation, 1))
        for operation in ("max", "sum")
    }
    scale, shift = _make_scale(dtype), _make_shift(dtype)

    def reduction(operation: str) -> Any:
        several, single = pairs[operation]

        @njit(**EXACT)
        def reduce(memory, at, rows, n, r0, r1, padding, out):
            r = r0
            while r + TOGETHER <= r1:
                several(memory, at, rows * panel, r, n, padding, out + r)
                r += TOGETHER
            while r < r1:
                single(memory, at, rows * panel, r, n, padding, out + r)
                r += 1

        return reduce

    @njit(**EXACT)
    def shift_rows(memory, to, at, rows, n, r0, r1, padding, amounts):
        for c in range(0, n, lanes):
            p = c // panel
            width = lanes if n - p * panel <= lanes else panel
            start = p * panel * rows + c - p * panel
            window = padding + max(ZERO, lanes - (n - c))
            for r in range(r0, r1):
                cell = start + r * width
                shift(memory, to + cell, at + cell, window, memory[np.uint64(amounts + r)])

    @njit(**EXACT)
    def scale_rows(memory, at, rows, n, r0, r1, padding, factors):
        for c in range(0, n, lanes):
            p = c // panel
            width = lanes if n - p * panel <= lanes else panel
            start = at + p * panel * rows + c - p * panel
            window = padding + max(ZERO, lanes - (n - c))
            for r in range(r0, r1):
                scale(memory, start + r * width, window, memory[np.uint64(factors + r)])

    return SimpleNamespace(
        largest=reduction("max"),
        total=reduction("sum"),
        shift_rows=shift_rows,
        scale_rows=scale_rows,
    )
