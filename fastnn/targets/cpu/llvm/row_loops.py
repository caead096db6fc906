"""The loop of a user-defined loss of whole rows, which takes several rows side by side.

A row of n numbers is spread over panels (see `fastnn.targets.cpu.plan`), and few losses have rows
as long as a vector. So some rows are turned round first: number j of all of them is one vector, and
what is summed over a row is summed from vector to vector, in the order of j. What rows lie beside
one another thus changes no bit.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastnn.storage.kernels.machine import register_shape
from fastnn.targets.cpu.llvm.inner import njit
from fastnn.targets.cpu.llvm.rule_loops import EXACT, U


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
    shape = register_shape(np.dtype(real))
    panel, lanes = shape.panel, shape.lanes
    rows_together = njit(**EXACT)(rule(real, elementary, U))

    @njit(**EXACT)
    def row_losses(memory, p_at, y_at, d_at, to, scratch, rows, r0, r1, numbers):
        y_to, d_from = scratch + target_slot * together, scratch + gradient_slot * together
        for first in range(r0, r1, together):
            count = min(together, r1 - first)
            for j in range(n):
                left = n - j // panel * panel
                width = panel if left > lanes else lanes
                at = p_at + j // panel * panel * rows + first * width + j % panel
                for r in range(count):
                    memory[U(scratch + j * together + r)] = memory[U(at + r * width)]
            for j in range(targets):
                left = targets - j // panel * panel
                width = panel if left > lanes else lanes
                at = y_at + j // panel * panel * rows + first * width + j % panel
                for r in range(count):
                    memory[U(y_to + j * together + r)] = memory[U(at + r * width)]
            rows_together(memory, scratch, numbers)
            for r in range(count):
                memory[U(to + first + r)] = memory[U(scratch + loss_slot * together + r)]
            for j in range(n):
                left = n - j // panel * panel
                width = panel if left > lanes else lanes
                at = d_at + j // panel * panel * rows + first * width + j % panel
                for r in range(count):
                    memory[U(at + r * width)] = memory[U(d_from + j * together + r)]

    return row_losses
