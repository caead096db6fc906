"""The loop of a user-defined loss of whole rows, which takes several rows side by side.

A row of n numbers is spread over panels (see `fastnn.targets.cpu.plan`), and few are as long as a
vector. So some rows are turned round first: number j of all of them is one vector, and
what is summed over a row is summed from vector to vector, in the order of j. What rows lie beside
one another thus changes no bit.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastnn.storage.kernels.machine import register_shape
from fastnn.targets.cpu.llvm.inner import njit
from fastnn.targets.cpu.llvm.rule_loops import EXACT, U
from fastnn.targets.cpu.llvm.transpose import make_transpose


def row_losses_loop(rule: Any, real: Any, elementary: Any) -> Any:
    """Return ``row_losses(memory, p_at, y_at, d_at, to, scratch, rows, r0, r1, numbers)``.

    It writes the loss of rows r0..r1 to `to` + r, and its derivatives by the outputs, which are at
    `p_at`, to `d_at`; the targets are at `y_at`. All three are matrices of `rows` rows in panels.

    Parameters
    ----------
    rule
        As `fastnn.graph.row_source` writes it: a function of (real, m, U), with a `layout`.
    real, elementary
        As for the loops of scalar rules.
    """
    n, targets, together, target_slot, gradient_slot, loss_slot = rule.layout
    dtype = np.dtype(real)
    shape = register_shape(dtype)
    panel, lanes, transpose = shape.panel, shape.lanes, make_transpose(dtype)
    loss_of_rows = njit(**EXACT)(rule(real, elementary, U))

    @njit(**EXACT)
    def turn_in(memory, at, columns, rows, first, count, to):
        """Copy rows `first` and on of a matrix in panels to slots, a column each."""
        for c in range(0, columns, lanes):
            start = c // panel * panel
            width = panel if columns - start > lanes else lanes
            block = at + start * rows + first * width + c - start
            for r in range(0, count, lanes):
                transpose(
                    memory, block + r * width, width, min(lanes, count - r),
                    to + c * together + r, together, min(lanes, columns - c),
                )  # fmt: skip

    @njit(**EXACT)
    def turn_out(memory, at, columns, rows, first, count, source):
        """Copy slots to rows `first` and on of a matrix in panels, and zeros behind the last."""
        for c in range(0, columns, lanes):
            start = c // panel * panel
            width = panel if columns - start > lanes else lanes
            block = at + start * rows + first * width + c - start
            for r in range(0, count, lanes):
                transpose(
                    memory, source + c * together + r, together, min(lanes, columns - c),
                    block + r * width, width, min(lanes, count - r),
                )  # fmt: skip

    @njit(**EXACT)
    def row_losses(memory, p_at, y_at, d_at, to, scratch, rows, r0, r1, numbers):
        for first in range(r0, r1, together):
            count = min(together, r1 - first)
            turn_in(memory, p_at, n, rows, first, count, scratch)
            turn_in(memory, y_at, targets, rows, first, count, scratch + target_slot * together)
            # Whole vectors: what is in the rows behind the last is not used.
            loss_of_rows(memory, scratch, (count + lanes - 1) // lanes * lanes, numbers)
            for r in range(count):
                memory[U(to + first + r)] = memory[U(scratch + loss_slot * together + r)]
            turn_out(memory, d_at, n, rows, first, count, scratch + gradient_slot * together)

    return row_losses
