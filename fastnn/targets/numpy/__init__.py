"""The NumPy target: the definition of every operation, and the oracle of every test.

Short and obvious rather than fast. Arrays stay in the problem's dtype; losses add up in float64.
"""

from __future__ import annotations

from fastnn.targets.numpy.epoch import Engine

__all__ = ["Engine"]
