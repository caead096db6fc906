"""What one thread of a team does, with all that it works on in its hands: see `fastnn.pool`.

Jobs are addresses. What they are the addresses of is kept alive by whoever runs these, as `kept`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np


def train_seat(
    train: Callable[..., None], jobs: np.ndarray, threads: tuple[int, ...], kept: Any, seat: int
) -> None:
    """Train the epochs of `jobs`; `threads` is their number, or () where code is for one alone."""
    if threads:
        train(jobs, len(jobs), seat, *threads)
    else:
        train(jobs, len(jobs))


def forward_seat(
    forward: Callable[..., None],
    jobs: list[np.ndarray],
    count: int,
    left: deque[int],
    outputs: np.ndarray,
    kept: Any,
    seat: int,
) -> None:
    """Predict `count` rows at a time, from those that `left` says, until none are left."""
    while left:
        try:
            start = left.popleft()
        except IndexError:  # another thread was quicker
            return
        forward(jobs[seat], start, min(start + count, len(outputs)), outputs)
