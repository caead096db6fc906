"""A network's attributes, such as `coefs_`: from a trainer, and as its parameters again."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn.errors import InvalidInput
from fastnn.inputs.arrays import real_numbers
from fastnn.rules.table import loss_row

if TYPE_CHECKING:
    from fastnn.estimators.restarts import Scalings
    from fastnn.inputs.parameters import Parameters
    from fastnn.inputs.problem import Problem
    from fastnn.training.trainer import Trainer

# What scikit-learn calls what a loss makes of the outputs.
OUT_ACTIVATIONS = {
    "softmax_cross_entropy": "softmax",
    "binary_cross_entropy": "logistic",
    "poisson": "exp",
}
_NAMES = "coefs_", "intercepts_"


def shown(
    trainer: Trainer,
    scalings: Scalings,
    parameters: Parameters | None = None,
) -> dict[str, Any]:
    """Return the attributes that make an estimator predict as a trainer does now.

    With `parameters`, as with those instead of its own.
    """
    found = trainer.parameters if parameters is None else parameters
    return {
        "_trainer": trainer,
        "x_scaling_": scalings[0],
        "y_scaling_": scalings[1],
        "n_outputs_": trainer.network.outputs,
        "n_layers_": len(trainer.network.dense) + 1,
        "out_activation_": OUT_ACTIVATIONS.get(loss_row(trainer.loss).name, "identity"),
        "coefs_": [layer[0] for layer in found],
        "intercepts_": [layer[1] for layer in found],
        "_slopes": [layer[2:] for layer in found],
    }


def parameters_of(
    problem: Problem, coefs: Any, intercepts: Any, slopes: Sequence[tuple[np.ndarray, ...]]
) -> Parameters:
    """Return `coefs_` and `intercepts_`, as they are now, as parameters in the problem's dtype.

    Arrays of that dtype are not copied, and not looked through.

    Raises
    ------
    InvalidInput
        What was written there is not one array of numbers of the right shape for each layer.
    """
    shapes, dtype = problem.network.shapes, problem.dtype
    if not (
        type(coefs) is type(intercepts) is list and len(coefs) == len(intercepts) == len(shapes)
    ):
        _check_lengths(shapes, coefs, intercepts)
    found: Parameters = []
    for place, (shape, W, b) in enumerate(zip(shapes, coefs, intercepts, strict=True)):
        # A prediction of one row comes this way: it is to cost no more than these comparisons.
        if not (type(W) is np.ndarray and W.dtype == dtype and W.shape == shape):
            W = _as_written(W, shape, dtype, f"coefs_[{place}]")
        if not (type(b) is np.ndarray and b.dtype == dtype and b.shape == shape[1:]):
            b = _as_written(b, shape[1:], dtype, f"intercepts_[{place}]")
        found.append((W, b, *slopes[place]))
    return found


def check_written(problem: Problem, coefs: Any, intercepts: Any) -> None:
    """Raise `InvalidInput` where one of the weights is no finite number, or cannot be one."""
    _check_lengths(problem.network.shapes, coefs, intercepts)
    for name, arrays in zip(_NAMES, (coefs, intercepts), strict=True):
        for place, (k, n) in enumerate(problem.network.shapes):
            shape = (k, n) if name == "coefs_" else (n,)
            _as_written(arrays[place], shape, problem.dtype, f"{name}[{place}]")


def _check_lengths(shapes: Sequence[tuple[int, int]], coefs: Any, intercepts: Any) -> None:
    """Raise unless there is one array for each layer."""
    for name, arrays in zip(_NAMES, (coefs, intercepts), strict=True):
        listed = isinstance(arrays, (list, tuple, np.ndarray))
        if listed and len(arrays) == len(shapes):
            continue
        wanted = ", ".join(str((k, n) if name == "coefs_" else (n,)) for k, n in shapes)
        what = type(arrays).__name__ + (f" of {len(arrays)}" if listed else "")
        raise InvalidInput(
            f"{name} must be a list of {len(shapes)} arrays, one for each layer, of the shapes "
            f"{wanted}, but is a {what}; write such a list, or fit anew"
        )


def _as_written(value: Any, shape: tuple[int, ...], dtype: np.dtype[Any], what: str) -> np.ndarray:
    """Return the array of a layer in the dtype of the network, or raise `InvalidInput`."""
    array = real_numbers(value, what)
    if array.shape != shape:
        raise InvalidInput(
            f"{what} has shape {array.shape}, but that layer of the fitted network has {shape}; "
            "write an array of this shape, or fit anew for other layers"
        )
    with np.errstate(over="ignore"):
        found = array.astype(dtype, copy=False)
    wrong = ~np.isfinite(found)
    if wrong.any():
        place = tuple(np.argwhere(wrong)[0].tolist())
        remedy = "weights must be finite numbers"
        if math.isfinite(array[place]):
            remedy = f"{dtype}, the dtype of the network, has no such number"
        raise InvalidInput(f"{what} has {array[place].item()!r} at {list(place)}, but {remedy}")
    return found
