"""The shared memory of a block that runs in NumPy: races are found, bank conflicts counted."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


class Wrong(Exception):
    """What a device would do silently, or not at all: a race, a read outside."""


@dataclass
class Shared:
    """The shared memory of a block, with who touched what since the last barrier."""

    data: Array
    epoch: int = 0
    conflicts: dict[str, tuple[int, int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Begin with memory that nobody touched."""
        words = len(self.data) // 4 + 1
        self.written = np.full((2, words), -1)  # epoch, thread
        self.read = np.full((2, words), -1)  # epoch, thread; thread -2: several

    def touch(self, text: str, places: Array, threads: Array, size: int, writes: bool) -> None:
        """Check one access of `size` bytes a thread for races, and count its wavefronts."""
        if size > 4 and np.any(places % size):
            raise Wrong(f"misaligned: {text}")
        if np.any(places < 0) or np.any(places + size > len(self.data)):
            raise Wrong(f"outside shared memory: {text}")
        words = (places[:, None] + np.arange(0, size, 4)) // 4
        owner = np.broadcast_to(threads[:, None], words.shape)
        dirty = (self.written[0][words] == self.epoch) & (self.written[1][words] != owner)
        if writes:
            dirty |= (self.read[0][words] == self.epoch) & (self.read[1][words] != owner)
            if len(np.unique(words)) != words.size:
                raise Wrong(f"two threads write one word: {text}")
        if dirty.any():
            raise Wrong(f"a race: {text}")
        if writes:
            self.written[0][words], self.written[1][words] = self.epoch, owner
        else:
            others = (self.read[0][words] == self.epoch) & (self.read[1][words] != owner)
            self.read[0][words], self.read[1][words] = self.epoch, owner
            self.read[1][words[others]] = -2
            flat, first = np.unique(words, return_inverse=True)
            several = np.bincount(first.ravel(), minlength=len(flat)) > 1
            self.read[1][flat[several]] = -2
        self.count(text, words, threads, size)

    def count(self, text: str, words: Array, threads: Array, size: int) -> None:
        """Count how often the banks are asked, and how often they would be at least."""
        asked, least = self.conflicts.get(text, (0, 0))
        together = min(32, 128 // size)  # the lanes that are served at once
        for group in np.unique(threads // together):
            touched = np.unique(words[threads // together == group])
            asked += np.bincount(touched % 32).max()
            least += -(-len(touched) // 32)
        self.conflicts[text] = asked, least
