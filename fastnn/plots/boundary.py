"""Where in the plane a network says which class."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn.errors import InvalidInput
from fastnn.graph.axes import axes_or_new, colour, marker
from fastnn.inputs.data import check_data
from fastnn.inputs.sparse_rows import SparseRows
from fastnn.rules.table import loss_row

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from fastnn.inputs.problem import Problem
    from fastnn.training.trainer import Trainer

_STEPS = 250  # of the grid, on each side
_MARGIN = 0.08  # of the points' extent, on each side


def decision_boundary(trainer: Trainer, X: Any, y: Any, ax: Axes | None = None) -> Axes:
    """Draw points over the region of each class, with the boundary between the regions.

    Class c has the points where its output is above those of all others, so its boundary is::

        z_c - max over j != c of z_j = 0      with z = (-p, p) for one output p

    Parameters
    ----------
    trainer
        A classifier of two inputs: softmax_cross_entropy, or a binary loss on one output.
    X, y
        Points (n, 2) and their labels (n,), as for `Trainer.fit`; the region drawn is theirs. A
        point whose label is missing (`ignore_nan`) is not drawn.
    ax
        Where to draw; None makes a new figure.

    Raises
    ------
    InvalidInput
        Another number of inputs, a regression, several binary outputs, or data that `fit` would
        not take.
    MissingExtra
        Matplotlib is not installed.
    """
    problem = trainer.problem
    _check_planar(problem)
    data = check_data(problem, X, y)
    points = data.X.dense(slice(None), problem.dtype) if isinstance(data.X, SparseRows) else data.X
    labels = data.targets.reshape(len(data)).astype(np.int64)
    there = np.ones(len(data), bool) if data.weights is None else data.weights > 0
    ax = axes_or_new(ax, 6.5, 4.8)

    low, high = points.min(axis=0).astype(float), points.max(axis=0).astype(float)
    margin = _MARGIN * np.where(high > low, high - low, 1.0)
    across, up = np.linspace(low - margin, high + margin, _STEPS).T
    grid = np.stack(np.meshgrid(across, up), axis=-1).reshape(-1, 2)
    leads = _leads(problem, trainer.forward(grid)).reshape(_STEPS, _STEPS, -1)
    for index in range(leads.shape[-1]):
        lead = leads[:, :, index]
        if lead.max() > 0:
            levels = [0, 2 * lead.max()]
            ax.contourf(across, up, lead, levels, colors=[colour(index)], alpha=0.25, zorder=0)
        if lead.min() < 0 < lead.max():
            ax.contour(across, up, lead, [0], colors="black", linewidths=1.2, zorder=1)
    size = float(np.clip(600 / np.sqrt(len(labels)), 8, 40))  # many points need small markers
    for index in np.unique(labels[there]):
        chosen = points[there & (labels == index)]
        ax.scatter(
            chosen[:, 0], chosen[:, 1], s=size, color=colour(index), marker=marker(index),
            edgecolors="black", linewidths=0.4, label=f"class {index}", zorder=2,
        )  # fmt: skip
    ax.set_xlabel("input 0")
    ax.set_ylabel("input 1")
    ax.legend(loc="upper left", bbox_to_anchor=(1, 1))  # outside, where no point is
    return ax


def _check_planar(problem: Problem) -> None:
    """Raise `InvalidInput` for what has no boundary in the plane."""
    network = problem.network
    if network.inputs != 2:
        raise InvalidInput(
            f"decision_boundary draws networks of 2 inputs, not of {network.inputs}; "
            "train one on two columns of X"
        )
    kind = loss_row(problem.loss).targets
    if kind in ("real", "counts"):
        raise InvalidInput(f"loss {problem.loss!r} is a regression's, which has no classes to draw")
    if kind == "binary" and network.outputs != 1:
        raise InvalidInput(
            f"decision_boundary draws one binary output, not {network.outputs}; "
            "use softmax_cross_entropy for several classes"
        )


def _leads(problem: Problem, outputs: np.ndarray) -> np.ndarray:
    """Return by how much each class is ahead of the best other one, (m, classes)."""
    if loss_row(problem.loss).targets == "binary":
        return np.hstack((-outputs, outputs))
    last = np.sort(outputs, axis=1)
    best, second = last[:, -1:], last[:, -2:-1]
    return np.where(outputs == best, outputs - second, outputs - best)
