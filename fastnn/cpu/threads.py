"""How many threads train: as many as the work in a step keeps busy."""

from __future__ import annotations

from fastnn.problem import Problem
from fastnn.processors import available_threads

# A second thread pays from steps of 8 us on, as measured: handing over two phases takes about 1 us
# each. What more threads pay for has not been measured; they get steps of twice that length each.
FLOPS_FOR_TWO, FLOPS_PER_THREAD = 1.5e6, 1.5e6


def choose_threads(problem: Problem) -> int:
    """Return how many threads the work in one step keeps busy."""
    weights = sum(k * n for k, n in problem.network.shapes)
    flops = 6.0 * problem.batch_size * weights
    wanted = max(1 + (flops >= FLOPS_FOR_TWO), int(flops // FLOPS_PER_THREAD))
    return wanted if wanted == 1 else min(available_threads(), wanted)
