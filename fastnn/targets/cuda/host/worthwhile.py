"""Whether a device is worth its overhead: the rule by which target="auto" takes CUDA.

A step costs a device a fixed 7 to 12 us (measured on an H100 and an H200), however little there is
to do, and a processor about 10 us for each MFLOP on one core; so the two meet near 1 MFLOP, and
twice that leaves room for the copies of data and for the compilation. Networks trained side by side
share the fixed cost.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastnn.inputs.problem import Problem

# Floating-point operations of one step of all networks together, from which on CUDA is taken.
WORTHWHILE = 2_000_000


def step_operations(problem: Problem) -> int:
    """Return the floating-point operations of the products of one step with a full batch.

    2 m k n for each of X W, X^T dZ and dZ W^T; the first layer has no use for the last.
    """
    total, inputs = 0, problem.network.widths[0][0]
    for index, dense in enumerate(problem.network.dense):
        total += (3 if index else 2) * 2 * problem.batch_size * inputs * dense.units
        inputs = dense.units
    return total


def why_not(problem: Problem, restarts: int = 1) -> str:
    """Return "" if so many networks are worth a device, else why they are not."""
    if restarts * step_operations(problem) >= WORTHWHILE:
        return ""
    network = problem.network
    widths = network.widths[0][0], *(dense.units for dense in network.dense)
    weights = sum(k * n for k, n in zip(widths, widths[1:], strict=False))
    several = f" trained {restarts} at a time" if restarts > 1 else ""
    return (
        f"a network of {weights} weights in batches of {problem.batch_size}{several} is quicker "
        "on the processor"
    )
