"""Models of one layer that `step.linear` is for, by one thread."""

from __future__ import annotations

from fastnn.inputs.problem import Problem
from fastnn.rules.table import activation_row, loss_row
from fastnn.targets.cpu.thread_count import FLOPS_FOR_TWO

MOST_CLASSES = 32  # of a softmax regression by single rows; more fill the vectors of a panel


def is_linear(problem: Problem, rule: str) -> bool:
    """Return whether `step.linear` is for dense rows of a problem: for it there is one thread.

    That is one Dense of one output; or of several, on one row at a time, each a model of its own or
    all in a softmax.
    """
    network = problem.network
    k, n = network.shapes[0]
    first = activation_row(network.dense[0].activation)
    if (
        network.widths != network.shapes
        or len(network.shapes) > 1
        or network.dropouts[0] > 0
        or first.rowwise
        or first.random
        or first.trainable
    ):
        return False
    if loss_row(problem.loss).rowwise and not (
        problem.loss == "softmax_cross_entropy" and 1 < n <= MOST_CLASSES
    ):
        return False
    few = 6.0 * k * n < FLOPS_FOR_TWO
    return n == 1 or (problem.textbook and rule == problem.optimizer.rule and few)


def is_row_by_row(problem: Problem, entries: float) -> bool:
    """Return whether `step.sparse_outputs` is for rows of so many numbers stored, by one thread.

    That is one Dense of several outputs, each a model of its own, on one row at a time.
    """
    outputs = problem.network.outputs
    few = 6.0 * entries * outputs < FLOPS_FOR_TWO
    return problem.apart and outputs > 1 and few and problem.precision != "bfloat16"
