"""What an ensemble takes the mean of, and what scores of that mean are computed from.

Of a classification that are probabilities, of counts rates, of a regression the outputs themselves,
as the row of the loss in `fastnn.rules.table` says. Losses and metrics of fastnn read raw outputs,
so a mean is brought back to those that stand for it: log p for softmax, log p / (1 - p) for a
sigmoid, and log of a rate.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from fastnn.errors import InvalidInput
from fastnn.inputs.problem import Problem
from fastnn.network import Dense, Network
from fastnn.optimizers import SGD
from fastnn.rules.table import ActivationName, loss_row
from fastnn.training.scores import predictions, probabilities

_LEAST = float(np.finfo(np.float32).tiny)  # what a probability is at least, for its logarithm


def kind_of(problem: Problem) -> tuple[str, bool, int]:
    """Return what members of one ensemble share: targets, whether probabilities, outputs."""
    row = loss_row(problem.loss)
    return row.targets, row.from_logits, problem.network.outputs


def has_link(problem: Problem) -> bool:
    """Return whether the mean is of probabilities or rates, not of outputs themselves."""
    targets, from_logits, _ = kind_of(problem)
    return targets == "counts" or (from_logits and targets in ("classes", "binary"))


def check_alike(problems: list[Problem]) -> None:
    """Raise `InvalidInput` where these networks do not predict the same thing."""
    for index, problem in enumerate(problems):
        if kind_of(problem) != kind_of(problems[0]):
            first, other = (
                f"loss {each.loss!r} with {each.network.outputs} outputs"
                for each in (problems[0], problem)
            )
            raise InvalidInput(
                f"members must predict the same, but member {index} has {other}, and member 0 "
                f"{first}; make an ensemble of each"
            )


def averaged(problem: Problem, outputs: np.ndarray) -> np.ndarray:
    """Return what the mean is taken of, (m, outputs), for raw outputs of one network."""
    targets, from_logits, columns = kind_of(problem)
    if from_logits and targets in ("classes", "binary"):
        found = probabilities(problem, outputs)
        return found[:, 1:] if targets == "binary" and columns == 1 else found
    if targets == "counts":
        return predictions(problem, outputs).reshape(outputs.shape)
    return outputs


def as_outputs(problem: Problem, mean: np.ndarray) -> np.ndarray:
    """Return the raw outputs, float64 (m, outputs), that stand for a mean."""
    targets, from_logits, _ = kind_of(problem)
    mean = mean.astype(np.float64)
    if targets == "counts" or (from_logits and targets == "classes"):
        return np.log(np.maximum(mean, _LEAST))
    if from_logits and targets == "binary":
        return np.log(np.maximum(mean, _LEAST)) - np.log(np.maximum(1.0 - mean, _LEAST))
    return mean


def labels(problem: Problem, mean: np.ndarray) -> np.ndarray:
    """Return what a mean predicts, in the form that targets have; as `scores.predictions` does."""
    targets, from_logits, columns = kind_of(problem)
    if targets == "classes":
        return mean.argmax(axis=1).astype(np.int64, copy=False)
    found = mean
    if targets == "binary":
        found = (mean >= (0.5 if from_logits else 0.0)).astype(np.int64)
    return found[:, 0] if columns == 1 else found


def table_of(problem: Problem, mean: np.ndarray) -> np.ndarray:
    """Return mean probabilities in the form of `scores.probabilities`."""
    if kind_of(problem)[0] == "binary" and problem.network.outputs == 1:
        return np.hstack((1.0 - mean, mean))
    return mean


def without_state(problem: Problem) -> Problem:
    """Return the problem with an optimizer that has no state."""
    return problem.changed(optimizer=SGD(0.1))


def averaging_problem(problem: Problem) -> Problem:
    """Return a problem whose network gives what is averaged: probabilities by a last activation.

    It has the same parameters, and nothing that only training needs.
    """
    targets, from_logits, _ = kind_of(problem)
    if not from_logits or targets not in ("classes", "binary"):
        return without_state(problem)
    *layers, last = problem.network.layers
    assert isinstance(last, Dense)  # as every network ends
    inside: ActivationName = "softmax" if targets == "classes" else "sigmoid"
    layers.append(replace(last, activation=inside))
    network = Network(problem.network.inputs, layers)
    return Problem(
        network, "mse", SGD(0.1), problem.batch_size, 0.0, 0.0, problem.dtype, 0,
        precision=problem.precision,
    )  # fmt: skip
