"""Outputs of a model of one layer side by side in the lanes of vectors: when, and what it takes."""

from __future__ import annotations

# Fields of a block: what is added to the weights of an output, for each number of the row; not 0
# where it is trained; z of the next row; the bias, and its mean. Where an update is done in the
# pass of the next one: change and factor of the last, and the product of the next row with W as it
# is after that; and the factor that goes with `CHANGE`, where a call ends before that.
CHANGE, TRAINED, Z, BIASES, MEANS, LAST_CHANGE, LAST_KEEP, PRODUCT, FACTOR, FIELDS = range(10)
VECTOR_BYTES = 64  # of the widest vectors that there are, for which memory is planned


def padded(outputs: int, itemsize: int) -> int:
    """Return how many lanes so many outputs take at most."""
    lanes = VECTOR_BYTES // itemsize
    return -(-outputs // lanes) * lanes


def fit_lanes(inputs: int, outputs: int, itemsize: int) -> bool:
    """Return whether outputs side by side take less time than one after another.

    In nanoseconds, about: side by side derivatives are waited for once, and each number of a row
    costs half a nanosecond for each vector of outputs; one after another each has a call, and its
    sums to fold.

    >>> fit_lanes(30, 10, 4), fit_lanes(784, 10, 4), fit_lanes(30, 3, 4), fit_lanes(9, 1, 8)
    (True, False, False, False)
    """
    vectors = padded(outputs, itemsize) * itemsize // VECTOR_BYTES
    return 45 + 0.5 * inputs * vectors < outputs * (7.5 + 0.01 * inputs * itemsize)


def memory_for(inputs: int, outputs: int, itemsize: int) -> int:
    """Return how many numbers weights, their means, the block and two rows take."""
    return (2 * inputs + FIELDS) * padded(outputs, itemsize) + 2 * inputs
