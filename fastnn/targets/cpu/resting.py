"""Outputs of a linear model on sparse rows that are at rest: their weights, which are to stay.

Where rows are sparse, what steps do to all weights alike is done to all outputs: those at rest, too
(see `step.sparse_outputs`).
"""

from __future__ import annotations

import numpy as np

from fastnn.rules import ends
from fastnn.targets.cpu.working_memory import Working
from fastnn.targets.fields import SIZE, WEIGHTS, K, N


class Resting:
    """Keeps weights of outputs, and their state, from when they come to rest."""

    def __init__(self, working: Working, ended: np.ndarray) -> None:
        """Begin where outputs are at rest as `ended` says, as `fastnn.rules.ends` describes."""
        self._working = working
        self._kept: dict[int, list[np.ndarray]] = {}
        self.keep(ended)

    def keep(self, ended: np.ndarray) -> np.ndarray:
        """Keep what has come to rest since the last time; return `ended`."""
        resting = ended[ends.HEAD + ends.RESTS :: ends.OF_OUTPUT]
        for output in np.flatnonzero(resting).tolist():
            if output not in self._kept:
                self._kept[output] = [column.copy() for column in self._columns(output)]
        return ended

    def put_back(self) -> None:
        """Have what is kept take the place of what training has made of it."""
        for output, kept in self._kept.items():
            for column, values in zip(self._columns(output), kept, strict=True):
                column[:] = values

    def _columns(self, output: int) -> list[np.ndarray]:
        """Return views of the weights of an output, and of each of their states."""
        working, plan = self._working, self._working.plan
        k, n, start = (int(each) for each in plan.layers[0, [K, N, WEIGHTS]])
        panel = plan.layout.panel
        first = output // panel * panel
        width = plan.layout.padded(min(panel, n - first))
        size = (k + 1) * width
        starts = [start + copy * int(plan.head[SIZE]) for copy in range(working.copies)]
        panels = [working.memory[at + first * (k + 1) :][:size] for at in starts]
        return [each.reshape(k + 1, width)[:, output - first] for each in panels]
