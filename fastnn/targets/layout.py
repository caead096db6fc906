"""How numbers lie in memory: matrices in column panels (`cpu.plan` says why), aligned."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fastnn.sanitizer import CHECKED, GAP_LINES

CACHE_LINE = 64  # bytes

# Rows of a large batch whose gradient is summed apart: a sum of a million rows in single precision,
# one after another, is off by a hundredth where they are much alike. Nor is that of a larger batch
# added to W as it grows: most of what some rows add would be rounded away.
SUMMED_ROWS = 1024


@dataclass(frozen=True)
class Layout:
    """Panels of `panel` columns, the last one `lanes` wide where that is enough."""

    lanes: int
    panel: int

    def padded(self, columns: int) -> int:
        """Return the number of columns stored, padding included."""
        return -(-columns // self.lanes) * self.lanes

    def panels(self, columns: int) -> int:
        """Return the number of panels."""
        return -(-columns // self.panel)

    def begun(self, columns: int) -> int:
        """Return the number of panels at which a tile begins: a narrow last one goes with another.

        Products go over both at once, since a narrow panel alone costs one and a half vectors.
        """
        panels = self.panels(columns)
        return max(1, panels - (columns - (panels - 1) * self.panel <= self.lanes))

    def split(self, matrix: np.ndarray, flat: np.ndarray) -> None:
        """Write `matrix` (rows, columns) into `flat` in panels; padding becomes zero."""
        for part, panel in self._pairs(matrix, flat):
            panel[:, : part.shape[1]] = part
            panel[:, part.shape[1] :] = 0

    def join(self, flat: np.ndarray, matrix: np.ndarray) -> None:
        """Read `matrix` (rows, columns) back from its panels."""
        for part, panel in self._pairs(matrix, flat):
            part[:] = panel[:, : part.shape[1]]

    def _pairs(self, matrix: np.ndarray, flat: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
        rows, columns = matrix.shape
        pairs = []
        for start in range(0, columns, self.panel):
            part = matrix[:, start : start + self.panel]
            width = self.padded(part.shape[1])
            pairs.append((part, flat[start * rows :][: width * rows].reshape(rows, width)))
        return pairs


class Allocator:
    """Hands out offsets, each at the start of a cache line."""

    def __init__(self, line: int) -> None:
        self.line, self.used = line, 0
        self.buffers: list[tuple[int, int]] = []  # offset and count of each
        self._gap = line * GAP_LINES if CHECKED else 0  # between two buffers

    def round(self, count: int) -> int:
        """Return `count` filled up to whole cache lines."""
        return -(-count // self.line) * self.line

    def __call__(self, count: int) -> int:
        """Return the offset of `count` numbers."""
        at = self.used
        self.used += self.round(count) + self._gap
        self.buffers.append((at, count))
        return at

    def copy(self, copies: int) -> None:
        """Follow all so far with more of the same, so that there are so many."""
        size, own = self.used, list(self.buffers)
        for copy in range(1, copies):
            self.buffers += [(at + copy * size, count) for at, count in own]
        self.used = size * copies

    def like_first(self, size: int) -> int:
        """Return the offset of the same buffers again that the first `size` numbers have."""
        start, own = self.used, [each for each in self.buffers if each[0] < size]
        self.buffers += [(start + at, count) for at, count in own]
        self.used += size
        return start


def aligned_zeros(count: int, dtype: np.dtype) -> np.ndarray:
    """Return zeros that start on a cache line, so that no vector load touches two."""
    raw = np.zeros(count * dtype.itemsize + CACHE_LINE, np.uint8)
    start = -raw.__array_interface__["data"][0] % CACHE_LINE
    return raw[start : start + count * dtype.itemsize].view(dtype)
