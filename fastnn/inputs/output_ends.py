"""How far each output of a linear model is from its own end: what engines read, and give back."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from fastnn.rules import ends

if TYPE_CHECKING:
    from fastnn.inputs.problem import Problem


def first_ends(
    problem: Problem,
    parameters: Sequence[tuple[np.ndarray, ...]],
    tol: float,
    patience: int,
    share: float,
    steps: int,
) -> np.ndarray:
    """Return what `fastnn.rules.ends` describes before the first epoch.

    Parameters
    ----------
    problem, parameters
        What is trained, and from where: one Dense layer, as `Problem.apart` says. Where the mean
        of the weights is kept, it begins with the weights themselves.
    tol, patience
        Of the rule.
    share
        What the penalty of an output is multiplied by in its objective.
    steps
        In an epoch.
    """
    outputs = problem.network.outputs
    row = np.zeros(ends.HEAD + ends.OF_OUTPUT * outputs)
    row[: ends.GOING + 1] = tol, patience, share, (steps - 1) / (2 * steps), outputs
    row[ends.HEAD + ends.BEST :: ends.OF_OUTPUT] = math.inf
    row[ends.HEAD + ends.PENALTY :: ends.OF_OUTPUT] = penalties_of_outputs(problem, parameters)
    return row


def penalties_of_outputs(
    problem: Problem, parameters: Sequence[tuple[np.ndarray, ...]]
) -> np.ndarray:
    """Return l1 sum|w| + l2/2 sum w^2 of each output of the one layer, float64 (outputs,)."""
    (l1, l2), W = problem.penalties[0], np.asarray(parameters[0][0], np.float64)
    found: np.ndarray = l1 * np.abs(W).sum(axis=0) + l2 / 2 * np.square(W).sum(axis=0)
    return found


def going(row: np.ndarray) -> int:
    """Return how many outputs are not at rest."""
    return int(row[ends.GOING])


def objective(row: np.ndarray) -> float:
    """Return the mean of the outputs' objectives, of those at rest the last."""
    return float(row[ends.OBJECTIVE])
