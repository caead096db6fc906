"""Weights in the units of X and y, and in those that `standardize` trains in.

In the caller's units a layer sums numbers as large as mean / scale, which float32 rounds too much
where columns are far from 0, such as times in seconds: so weights in such units are float64.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from fastnn.errors import InvalidInput
from fastnn.inputs.parameters import Parameters, check_parameters, start_slots
from fastnn.inputs.problem import Precision
from fastnn.inputs.scaling import SMALL, Scaling
from fastnn.training.trainer import Trainer

_ROUNDED = 1 << 4  # times the precision: up to so much of its terms a sum may be rounded
# What becomes of 1 by the rounding of a product's factors, where that is not the dtype's.
_PRECISIONS = {"bfloat16": 2.0**-7, "tf32": 2.0**-10}
# Beyond these scales numbers in the caller's units, or weights on them, have fewer bits in float32.
_LEAST, _MOST = 2.0**-100, 2.0**100
Layer = tuple[np.ndarray, np.ndarray]


def inside(layer: Layer, of_X: Scaling | None, of_y: Scaling | None, intercept: bool) -> Layer:
    """Return W (features, outputs) and b (outputs,) as they are trained.

    Without an `intercept` what is left of b by rounding alone is none.
    """
    W, b = layer
    size = np.abs(b)  # of what b is the sum of, whose rounding is no intercept
    eps = max(np.finfo(np.result_type(each, "f2")).eps for each in layer)
    if of_y is not None:
        size = (size + np.abs(of_y.mean)) / of_y.scale
        W, b = W / of_y.scale, (b - of_y.mean) / of_y.scale
    if of_X is not None:
        b, size = b + of_X.mean @ W, size + np.abs(of_X.mean) @ np.abs(W)
        W = W * of_X.scale[:, None]
        if not intercept:
            b = np.where(np.abs(b) > _ROUNDED * eps * size, b, 0.0)
    return W, b


def outside(layer: Any, of_X: Scaling | None, of_y: Scaling | None) -> Layer:
    """Return W and b in the units of X and y: float64 where that are others than inside.

    Raises
    ------
    InvalidInput
        One is infinite in these units.
    """
    W, b = layer
    if of_X is None and of_y is None:
        return W, b
    W, b = W.astype(np.float64), b.astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        if of_X is not None:
            W, b = W / of_X.scale[:, None], b - (of_X.mean / of_X.scale) @ W
        if of_y is not None:
            W, b = W * of_y.scale, b * of_y.scale + of_y.mean
    if not (np.isfinite(W).all() and np.isfinite(b).all()):
        raise InvalidInput(
            "weights would be infinite in units of such a scale; multiply the columns of X whose "
            "standard deviation is that small, or divide y"
        )
    return W, b


def are_now(kept: Layer, trained: Layer) -> bool:
    """Return whether weights that are kept are still those that were trained.

    Those of an earlier version, or that were made smaller, are rounded.
    """
    return all(
        np.array_equal(theirs.astype(mine.dtype) if mine.dtype.kind == "f" else theirs, mine)
        for mine, theirs in zip(kept, trained, strict=True)
    )


def folded(parameters: Parameters, of_X: Scaling | None, of_y: Scaling | None) -> Parameters:
    """Return parameters of a whole network in the units of X and y, as `outside` does of one layer.

    Warns
    -----
    RoundingWarning
        They are rounded too much in float64, too.
    """
    if of_X is None and of_y is None:
        return parameters
    found = [tuple(array.astype(np.float64) for array in layer) for layer in parameters]
    found = found if of_X is None else of_X.fold_inputs(found)
    return found if of_y is None else of_y.fold_outputs(found)


def numbers_outside(
    parameters: Parameters,
    of_X: Scaling,
    of_y: Scaling | None,
    dtype: np.dtype[Any],
    precision: Precision = "float32",
) -> tuple[np.dtype[Any], Precision]:
    """Return the dtype and the precision of a Trainer that predicts in the caller's units.

    Those that the parameters were trained in, where their rounding is small there, too.
    """
    size, scales = of_X.size_of_inputs(parameters), of_X.scale
    if of_y is not None:
        size, scales = max(size, of_y.size_of_outputs()), np.append(scales, of_y.scale)
    eps = float(np.finfo(dtype).eps)
    if ((scales < _LEAST) | (scales > _MOST)).any() or eps * size > SMALL:
        return np.dtype(np.float64), "float32"
    exact = _PRECISIONS.get(precision, 0.0) * size > SMALL
    return dtype, "float32" if exact else precision


def in_numbers(
    trainer: Trainer, parameters: Parameters, dtype: np.dtype[Any], precision: Precision
) -> Trainer:
    """Return a copy of a trainer, of another dtype, from parameters and an optimizer's start."""
    problem = replace(trainer.problem, dtype=dtype, precision=precision)
    checked = check_parameters(problem, parameters)
    found = Trainer.__new__(Trainer)
    found.__setstate__(
        replace(
            trainer.__getstate__(),
            problem=problem,
            parameters=checked,
            slots=start_slots(problem, checked),
            step=0,
            rate_factor=1.0,
            earlier=None,
        )  # fmt: skip
    )
    return found
