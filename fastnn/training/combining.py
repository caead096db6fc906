"""What an ensemble takes the mean of, and what scores of that mean are computed from.

Of a classification that are probabilities, of counts rates, of a regression the outputs themselves,
as the row of the loss in `fastnn.rules.table` says. Losses and metrics of fastnn read raw outputs,
so a mean is brought back to those that stand for it: log p for softmax, log p / (1 - p) for a
sigmoid, and log of a rate.

Of a sigmoid p and 1 - p are averaged both, 1 - p being sigmoid(-z): where p rounds to 1, all that
tells one row from another is in 1 - p.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from fastnn.errors import InvalidInput
from fastnn.inputs.parameters import Parameters
from fastnn.inputs.problem import Problem
from fastnn.network import Dense, Network
from fastnn.optimizers import SGD
from fastnn.rules.table import ActivationName, loss_row
from fastnn.training.scores import predictions, probabilities


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
    """Return what the mean is taken of for raw outputs of one network.

    (m, outputs), but (m, 2 outputs) for binary ones with probabilities: those of label 0 of each,
    then those of label 1.
    """
    targets, from_logits, _ = kind_of(problem)
    if from_logits and targets == "classes":
        return probabilities(problem, outputs)
    if from_logits and targets == "binary":
        from fastnn.targets.numpy.activations import ACTIVATIONS

        return ACTIVATIONS["sigmoid"].value(np.hstack((-outputs, outputs)), 0.0)
    if targets == "counts":
        return predictions(problem, outputs).reshape(outputs.shape)
    return outputs


def means_shown(problem: Problem, mean: np.ndarray) -> np.ndarray:
    """Return a mean of what `averaged` gives as `fastnn.Ensemble.forward` does, (m, outputs)."""
    return mean if mean.shape[1] == problem.network.outputs else _of_ones(mean).copy()


def as_outputs(problem: Problem, mean: np.ndarray) -> np.ndarray:
    """Return the raw outputs, float64 (m, outputs), that stand for a mean.

    The mean may also be what `means_shown` gives, or of integers or bools, as shares of votes that
    are all 0 and 1. Logarithms are of what is at least the smallest normal number of its dtype.
    """
    mean = np.asarray(mean)
    if mean.dtype.kind != "f":
        mean = mean.astype(np.float64)
    targets, from_logits, columns = kind_of(problem)
    least = float(np.finfo(mean.dtype).tiny)
    mean = mean.astype(np.float64)
    if targets == "counts" or (from_logits and targets == "classes"):
        return np.log(np.maximum(mean, least))
    if from_logits and targets == "binary":
        if mean.shape[1] == columns:
            mean = np.hstack((1.0 - mean, mean))
        ones = _of_ones(mean)
        one = ones >= 0.5
        # By the smaller one of the two alone, so that an output is at least 0 where a label is 1.
        rest = np.where(one, np.minimum(_of_zeros(mean), 0.5), ones)
        size = np.log1p(-rest) - np.log(np.maximum(rest, least))
        return np.where(one, size, -size)
    return mean


def is_rounded_away(problems: list[Problem], mean: np.ndarray) -> bool:
    """Return whether some number of a mean is so small that its logarithm is wrong.

    Of networks in float64 and float32 the latter's numbers may be.
    """
    least = max(float(np.finfo(each.dtype).tiny) for each in problems)
    return has_link(problems[0]) and bool(mean.size) and bool(mean.min() < least)


def logarithms(problem: Problem, outputs: np.ndarray) -> np.ndarray:
    """Return the logarithms of what `averaged` gives, float64, however small that is."""
    z = outputs.astype(np.float64)
    targets, _, _ = kind_of(problem)
    if targets == "counts":
        return z
    if targets == "binary":
        return -np.logaddexp(0.0, np.hstack((z, -z)))
    found: np.ndarray = z - np.logaddexp.reduce(z, axis=1, keepdims=True)
    return found


def as_outputs_by_logarithms(problem: Problem, logarithm: np.ndarray) -> np.ndarray:
    """Return what `as_outputs` does, for the logarithm of a mean."""
    if kind_of(problem)[0] == "binary":
        return _of_ones(logarithm) - _of_zeros(logarithm)
    return logarithm


def labels(problem: Problem, mean: np.ndarray) -> np.ndarray:
    """Return what a mean predicts, in the form that targets have; as `scores.predictions` does."""
    targets, from_logits, columns = kind_of(problem)
    if targets == "classes":
        return mean.argmax(axis=1).astype(np.int64, copy=False)
    found = mean
    if targets == "binary":
        found = _of_ones(mean) >= 0.5 if from_logits else mean >= 0.0
        found = found.astype(np.int64)
    return found[:, 0] if columns == 1 else found


def table_of(problem: Problem, mean: np.ndarray) -> np.ndarray:
    """Return mean probabilities in the form of `scores.probabilities`."""
    if kind_of(problem)[0] == "binary" and problem.network.outputs > 1:
        return _of_ones(mean).copy()
    return mean


def _of_zeros(mean: np.ndarray) -> np.ndarray:
    """Return the part of a mean that is of label 0."""
    return mean[:, : mean.shape[1] // 2]


def _of_ones(mean: np.ndarray) -> np.ndarray:
    """Return the part of a mean that is of label 1."""
    return mean[:, mean.shape[1] // 2 :]


def without_state(problem: Problem) -> Problem:
    """Return the problem with an optimizer that has no state."""
    return problem.changed(optimizer=SGD(0.1))


def averaging_problem(problem: Problem) -> Problem:
    """Return a problem whose network gives what is averaged: probabilities by a last activation.

    Its parameters are `averaging_parameters`. It has nothing that only training needs.
    """
    targets, from_logits, columns = kind_of(problem)
    if not from_logits or targets not in ("classes", "binary"):
        return without_state(problem)
    *layers, last = problem.network.layers
    assert isinstance(last, Dense)  # as every network ends
    inside: ActivationName = "softmax" if targets == "classes" else "sigmoid"
    units = columns if targets == "classes" else 2 * columns
    layers.append(replace(last, activation=inside, units=units))
    network = Network(problem.network.inputs, layers)
    return Problem(
        network, "mse", SGD(0.1), problem.batch_size, 0.0, 0.0, problem.dtype, 0,
        precision=problem.precision,
    )  # fmt: skip


def averaging_parameters(problem: Problem, parameters: Parameters) -> Parameters:
    """Return the parameters of `averaging_problem`: where there are -z beside z, W beside -W."""
    targets, from_logits, _ = kind_of(problem)
    if not from_logits or targets != "binary":
        return parameters
    *others, last = parameters
    return [*others, tuple(np.concatenate((-each, each), axis=-1) for each in last)]
