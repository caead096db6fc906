"""Keys of counter-based random numbers: who draws what follows from seed, epoch and use alone."""

from __future__ import annotations

WORD = 2**64
# Constants of splitmix64 (Steele, Lea & Flood 2014, SplittableRandom).
GAMMA, FIRST_FACTOR, SECOND_FACTOR = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
# The shuffling of an epoch draws with this key, apart from those of layers, which count from 0.
ORDER = 0x6F72646572  # ASCII "order"
# So does that within windows: its blocks, the number after it for their offset, and the windows.
BLOCKS, WINDOWS = 0x626C6F636B73, 0x77696E646F77  # ASCII "blocks", "window"

# And whoever has rows that no other process has, with the number of the process for the epoch.
RANKS = 0x72616E6B73  # ASCII "ranks"


def splitmix64(x: int) -> int:
    """Return a 64-bit mix of a 64-bit number (Steele, Lea & Flood 2014, SplittableRandom)."""
    z = (x + GAMMA) % WORD
    z = (z ^ z >> 30) * FIRST_FACTOR % WORD
    z = (z ^ z >> 27) * SECOND_FACTOR % WORD
    return z ^ z >> 31


def random_key(seed: int, epoch: int, use: int) -> int:
    """Return the key of one use in one epoch, an integer below 2**64."""
    return splitmix64((splitmix64((splitmix64(seed) + epoch) % WORD) + use) % WORD)
