"""What a step costs each family of kernels: the one place of all that the choice rests on.

Fitted to steps on an H100 and an H200 (2026-11-28) of 784-128-10 in batches of 64 and 512,
20-32-16-2 in batches of 32, and 2048-2048-2048-10 in batches of 4096, which they give to about a
tenth. They decide between ways that lie far apart. `benchmarks/gpu.py` prints the steps.
"""

from __future__ import annotations

# Products a second of one block: from shared memory, and from the second-level cache.
RESIDENT_RATE, DISTANT_RATE = 1e11, 2e10
# A phase of a block between two barriers, however little there is to do; a launch within a graph;
# and of a persistent grid what a step takes beside its work: two barriers of all blocks and a dozen
# waits for the second-level cache.
PHASE_SECONDS, LAUNCH_SECONDS, GRID_SECONDS = 6e-7, 4e-6, 9e-6
# What a launch of predictions may take: Ctrl-C waits for it, and some drivers end what takes two.
PREDICT_SECONDS = 0.2
# Of an SM; and what a grid makes of it, whose threads wait for each other half of the time.
CLOCK_HERTZ, GRID_HERTZ = 1.6e9, 0.9e9
# What an SM does in a clock: half of the products that float32 allows for, and its share of
# what the second-level cache gives.
CLOCK_PRODUCTS, CLOCK_BYTES = 64, 28
# Waits for that cache that a copy of all further parameters in shared memory spares.
DISTANT_CLOCKS = 1200
HIDDEN = 0.3  # part of the time of fetching X that the rest of a step does not hide
# Of tiles: products that an SM does in a clock; clocks that a turn of a block's loop takes at
# least, since it waits for memory; and how many blocks wait together.
TILE_PRODUCTS = {"float32": 128, "float64": 64, "tf32": 220, "bfloat16": 270}
TURN_CLOCKS, TURNS_AT_ONCE = 800, 2


def block_seconds(products: float, layers: int, resident: bool) -> float:
    """Return about what a step takes one block: its SM's arithmetic, and its barriers."""
    rate = RESIDENT_RATE if resident else DISTANT_RATE
    return products / rate + PHASE_SECONDS * (3 + 2 * layers)


def predicted_rows(products: float, sms: int) -> int:
    """Return how many rows a launch of blocks on all SMs predicts in `PREDICT_SECONDS`.

    `products` is how many there are for a row, of all networks together.
    """
    return int(PREDICT_SECONDS * DISTANT_RATE * sms / products)


def product_clocks(blocks: int, turns: int, products: int, sums: int, kind: str) -> float:
    """Return about how many clocks a product in tiles takes.

    Parameters
    ----------
    blocks
        That one SM works on.
    turns
        Of the loop of a block; `products` is how many a turn has.
    sums
        Of a thread: few of them want more loads a product.
    kind
        Of `TILE_PRODUCTS`.
    """
    arithmetic = blocks * products * (1 + 16 / sums) / TILE_PRODUCTS[kind]
    return turns * max(arithmetic, TURN_CLOCKS * -(-blocks // TURNS_AT_ONCE))


def tiled_seconds(clocks: float, layers: int) -> float:
    """Return about what a step takes in tiles: its products, and launches."""
    return clocks / CLOCK_HERTZ + LAUNCH_SECONDS * (5 + 4 * layers)


def grid_clocks(
    products: float, moved: float, fetched: float, ahead: bool, distant: bool, itemsize: int
) -> float:
    """Return about how many clocks a step takes a persistent grid, but for what every one takes.

    Parameters
    ----------
    products, moved, fetched
        Of one block: products with its slice of the first layer's weights, numbers that pass
        through the second-level cache, and numbers of X.
    ahead, distant
        Whether X is fetched while the step before is worked on, and whether all further parameters
        are read from the second-level cache.
    itemsize
        Bytes of a number.
    """
    waited = moved + fetched * (HIDDEN if ahead else 1.0)
    return (
        products / CLOCK_PRODUCTS * (itemsize / 4)
        + DISTANT_CLOCKS * distant
        + waited * itemsize / CLOCK_BYTES
    )


def grid_seconds(clocks: float, numbers: float, itemsize: int) -> float:
    """Return about what a step takes; `numbers` are those of further layers that a block reads."""
    return GRID_SECONDS + (clocks + numbers * itemsize / CLOCK_BYTES) / GRID_HERTZ
