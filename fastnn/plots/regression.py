"""A regression of one input: its points and what the network predicts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn.arguments import explained
from fastnn.errors import InvalidInput, true_or_false
from fastnn.graph.axes import axes_or_new, colour
from fastnn.inputs.data import check_data
from fastnn.plots.boundary import dense_points, input_name
from fastnn.plots.subjects import check_trainer
from fastnn.rules.table import activation_row, loss_row

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from fastnn.training.trainer import Trainer

_STEPS = 300
_MOST_AVOIDED = 300  # points that the legend avoids
_MARGIN = 0.05  # of the points' extent, on each side


@explained
def regression_line(
    trainer: Trainer, X: Any, y: Any, residuals: bool = False, ax: Axes | None = None
) -> Axes:
    """Draw points and the line, or the curve, that a network of one input predicts.

    Parameters
    ----------
    trainer
        A regression with one input and one output.
    X, y
        Points (n, 1) and their targets (n,), as for `Trainer.fit`. A point whose target is missing
        (`ignore_nan`) is not drawn.
    residuals
        Whether there is a line from each point to its prediction, which is its error.
    ax
        Where to draw; None makes a new figure.

    Raises
    ------
    InvalidInput
        Another number of inputs or outputs, a classifier, or data that `fit` would not take.
    MissingExtra
        Matplotlib is not installed.
    """
    check_trainer(trainer, "regression_line")
    residuals = true_or_false(residuals, "residuals")
    problem = trainer.problem
    inputs, outputs = problem.network.widths[0][0], problem.network.outputs
    if inputs != 1 or outputs != 1:
        raise InvalidInput(
            f"regression_line draws networks of 1 input and 1 output, not of {inputs} and "
            f"{outputs}; train one on one column of X"
        )
    if loss_row(problem.loss).targets not in ("real", "counts"):
        raise InvalidInput(
            f"loss {problem.loss!r} is a classifier's; decision_boundary draws one of one input"
        )
    data = check_data(problem, X, y, names=trainer.feature_names)
    points, targets = dense_points(problem, data)[:, 0], data.targets[:, 0]
    if data.weights is not None:
        there = np.reshape(data.weights, (len(data), -1))[:, 0] > 0
        points, targets = points[there], targets[there]
    ax = axes_or_new(ax, 6, 4.5)
    low, high = float(points.min()), float(points.max())
    margin = _MARGIN * ((high - low) or 1.0)
    across = np.linspace(low - margin, high + margin, _STEPS)
    if residuals:
        predicted = trainer.predict(points[:, None])
        ax.vlines(points, targets, predicted, color="0.6", linewidth=0.8, label="error", zorder=1)
    ax.scatter(points, targets, s=14, color=colour(0), alpha=0.7, label="points", zorder=2)
    label = "prediction"
    layers = problem.network.parametric
    if len(layers) == 1 and activation_row(layers[0].activation).name == "identity":
        (W, b), what = trainer.parameters[0][:2], "exp" if problem.loss == "poisson" else ""
        label = f"{W[0, 0]:.4g} x {'-' if b[0] < 0 else '+'} {abs(b[0]):.4g}"
        label = f"{what}({label})" if what else label
    ax.plot(
        across,
        trainer.predict(across[:, None]),
        color=colour(3),
        linewidth=2,
        label=label,
        zorder=3,
    )
    ax.set_xlabel(input_name(trainer, data, 0))
    name = getattr(y, "name", None)  # of a series
    ax.set_ylabel(name if isinstance(name, str) and name else "y")
    # Where no point is, if they are not so many that it would take long to find.
    ax.legend(loc="best" if len(points) <= _MOST_AVOIDED else "upper left")
    return ax
