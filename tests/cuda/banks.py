"""Memory that threads share, in NumPy: races are found, conflicts of shared memory's banks counted.

Two accesses of one word, of which one writes, want an order: within a block a barrier between them,
and between blocks a barrier of the grid, which is what its arrivals and waits are counted for.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

Array = np.ndarray[Any, Any]
NOBODY, SEVERAL = -1, -2


class Wrong(Exception):
    """What a device would do silently, or not at all: a race, a read outside."""


class Actor(Protocol):
    """The block that touches memory.

    `epoch` is another number after each of its barriers, which no other block has. `arrivals` and
    `waits` count barriers of all blocks that it has come to, and those that it has waited for.
    """

    index: int
    several: bool  # whether there are other blocks
    epoch: int
    arrivals: int
    waits: int


@dataclass
class Memory:
    """Bytes, with who touched which word last: thread, epoch, block, arrivals of the block.

    A word has 4 bytes, until fewer are touched at a time.
    """

    data: Array
    name: str = "shared memory"
    conflicts: dict[str, tuple[int, int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Begin with memory that nobody touched."""
        self._shift, words = 2, len(self.data) // 4 + 1
        self._views: dict[str, Array] = {}
        self._writer, self._reader = (np.full((4, words), NOBODY) for _ in range(2))

    def view(self, dtype: np.dtype[Any]) -> Array:
        """Return the bytes as numbers."""
        found = self._views.get(dtype.str)
        if found is None:
            whole = len(self.data) // dtype.itemsize * dtype.itemsize
            found = self._views[dtype.str] = self.data[:whole].view(dtype)
        return found

    def check(self, text: str, places: Array, size: int) -> None:
        """Check that accesses of `size` bytes lie within the memory, where such may begin."""
        if places.min() < 0 or places.max() + size > len(self.data):
            raise Wrong(f"outside {self.name}: {text}")
        if (places & (size - 1)).any():
            raise Wrong(f"misaligned: {text}")

    def touch(
        self, text: str, places: Array, block: Actor, threads: Array, size: int, writes: bool
    ) -> None:
        """Check one access of `size` bytes a thread, and that none of another thread hurts it."""
        self.check(text, places, size)
        while size < 1 << self._shift:
            self._shift -= 1
            self._writer, self._reader = (
                np.repeat(each, 2, axis=1) for each in (self._writer, self._reader)
            )
        words, owner, wide = places >> self._shift, threads, size >> self._shift
        if wide > 1:
            words = (words[:, None] + np.arange(wide)).ravel()
            owner = np.repeat(threads, wide)
        epoch, index = block.epoch, block.index
        writer, reader = self._writer, self._reader
        clash = (writer[1][words] == epoch) & (writer[0][words] != owner)
        seen = (reader[1][words] == epoch) & (reader[0][words] != owner)
        if block.several:
            clash |= (writer[2][words] != index) & (writer[3][words] >= block.waits)
            elsewhere = (reader[2][words] != index) & (reader[3][words] >= block.waits)
        if writes:
            clash |= seen
            if block.several:
                clash |= elsewhere
        if clash.any():
            raise Wrong(f"a race: {text}")
        last = writer if writes else reader
        last[0][words], last[1][words] = owner, epoch
        twice = last[0][words] != owner
        if writes and twice.any():
            raise Wrong(f"two threads write one word: {text}")
        last[2][words], last[3][words] = index, block.arrivals
        if not writes:
            reader[0][words[seen | twice]] = SEVERAL
            if block.several:
                reader[2][words[elsewhere]] = SEVERAL

    def count(self, text: str, places: Array, threads: Array, size: int) -> None:
        """Count how often the banks are asked, and how often they would be at least."""
        asked, least = self.conflicts.get(text, (0, 0))
        words = (places[:, None] + np.arange(0, size, 4)) // 4
        together = min(32, 128 // size)  # the lanes that are served at once
        for group in np.unique(threads // together):
            touched = np.unique(words[threads // together == group])
            asked += np.bincount(touched % 32).max()
            least += -(-len(touched) // 32)
        self.conflicts[text] = asked, least
