"""How many threads the work in a step is shared by."""

from __future__ import annotations

from fastnn.threads.processors import available_threads

# A second thread pays from steps of 8 us on, as measured: handing over two phases takes about 1 us
# each. What more threads pay for has not been measured; they get steps of twice that length each.
FLOPS_FOR_TWO, FLOPS_PER_THREAD = 1.5e6, 1.5e6
# From so many processors on one is left for sums over processes: an eighth of the time of computing
# is less than what a sum at 10 Gbit/s takes then.
PROCESSORS_FOR_SUMS = 8
FLOPS_OF_UPDATE = 20  # of a weight that is updated without a gradient


def choose_threads(flops: float, sums: bool = False) -> int:
    """Return how many threads the work in one step keeps busy.

    With `sums`, a thread more makes sums over processes meanwhile.
    """
    wanted = max(1 + (flops >= FLOPS_FOR_TWO), int(flops // FLOPS_PER_THREAD))
    if wanted == 1:
        return 1
    available = available_threads()
    return min(available - (sums and available >= PROCESSORS_FOR_SUMS), wanted)
