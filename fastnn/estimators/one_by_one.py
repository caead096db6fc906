"""Classes that end each for itself: a linear model of each against the rest, one after another.

Side by side, on the same rows in the same order, they take a third of the time. So this is for what
no engine ends an output of alone: 250,000 weights and more of the numbers that a row stores,
batches of more than one, other optimizers, rates that each class divides for itself, and CUDA.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from fastnn.estimators.base import Rows
from fastnn.inputs.parameters import Parameters
from fastnn.optimizers import Optimizer
from fastnn.rules.table import update_row
from fastnn.training.history import History
from fastnn.training.trainer import Trainer


def fit_each(
    model: Any,
    rows: Rows,
    start: tuple[np.ndarray, np.ndarray] | None,
    weight_of: np.ndarray | None,
    seeds: Iterator[int],
    dtype: Any,
) -> list[Any]:
    """Return a fitted model of two classes for each of `model.classes_`: the others, and that one.

    Parameters
    ----------
    model
        Has all parameters but those of a class; it stays as it is.
    rows
        X, as it is trained on; labels; weights.
    start
        W (features, classes) and b (classes,) to begin with; None: zeros.
    weight_of
        By which the rows of each class count more than those of the rest; None: 1.
    seeds, dtype
        Of the fits.
    """
    places, found = model._coded(rows.y), []
    for place in range(len(model.classes_)):
        part = copy.copy(model)
        part.classes_, part._trainer = np.array([False, True]), None
        part.random_state, part.standardize, part.dtype = next(seeds), False, dtype
        part.class_weight = None if weight_of is None else {True: float(weight_of[place])}
        own = None if start is None else (start[0][:, [place]], start[1][[place]])
        part._fit_rows(replace(rows, y=places == place), own, None, False)
        found.append(part)
    return found


def go_on_from(trainer: Trainer, parts: list[Any], scales: np.ndarray) -> None:
    """Have a trainer of all classes go on from where each one's has ended, optimizer and all.

    It has done as many updates as the class that ended last. What is kept of a class that ended
    sooner counts as if it were of as many, as scikit-learn's means of weights do: with the same
    mean of the weights, and the same means of the gradient and its square, bias corrected.

    Parameters
    ----------
    trainer
        With settings for all of them; its weights are replaced.
    parts
        Fitted models of each class against the rest.
    scales
        What its gradient by the output of each class is, for one in that class's own fit.
    """
    states = [part._trainer.__getstate__() for part in parts]
    step, epoch = (max(getattr(each, name) for each in states) for name in ("step", "epoch"))
    slots = []
    for number in range(len(states[0].slots)):
        factors = [
            _factor(trainer.optimizer, number, float(scale), state.step, step)
            for scale, state in zip(scales, states, strict=True)
        ]
        slots.append(_side_by_side([state.slots[number] for state in states], factors))
    parameters = _side_by_side([state.parameters for state in states], [1.0] * len(states))
    trainer.__setstate__(
        replace(
            trainer.__getstate__(),
            parameters=parameters,
            slots=slots,
            step=step,
            epoch=epoch,
            history=History(first_epoch=epoch),
        )  # fmt: skip
    )


# Of which power of the gradient each array of an optimizer's state is a sum or a mean.
_POWERS = {
    "momentum": (1,), "nesterov": (1,), "adam": (1, 2), "adamw": (1, 2), "nadam": (1, 2),
    "rmsprop": (2,), "adagrad": (2,), "lion": (1,), "sgd": (), "averaged_sgd": (),
}  # fmt: skip


def _factor(optimizer: Optimizer, number: int, scale: float, done: int, later: int) -> float:
    """Return what an array of state after `done` updates is multiplied by, to be one after `later`.

    The gradients of those that follow are `scale` times as large.
    """
    powers = _POWERS[optimizer.rule]
    if number == len(powers):  # the mean of the weights
        return 1.0
    factor = scale ** powers[number]
    if update_row(optimizer).state == "m, v":
        decay = optimizer.constants[number]
        factor *= (1.0 - decay**later) / (1.0 - decay**done)
    return factor


def _side_by_side(layers: list[Parameters], factors: list[float]) -> Parameters:
    """Return the layers of one output each as one of all outputs, times so much."""
    found = [
        [array * array.dtype.type(factor) for array in layer]
        for (layer,), factor in zip(layers, factors, strict=True)
    ]
    return [tuple(np.concatenate(arrays, axis=-1) for arrays in zip(*found, strict=True))]


def mean_losses(parts: list[Any]) -> list[float]:
    """Return the mean objective after each epoch; one that has ended keeps its last."""
    longest = max(part.n_iter_ for part in parts)
    curves = [part.loss_curve_ + part.loss_curve_[-1:] * (longest - part.n_iter_) for part in parts]
    return [float(value) for value in np.mean(curves, axis=0)]
