"""Where a network of one or two inputs says which class."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn.arguments import explained
from fastnn.errors import InvalidInput
from fastnn.graph.axes import axes_or_new, colour, marker
from fastnn.inputs.data import check_data
from fastnn.plots.subjects import check_trainer
from fastnn.rules.table import loss_row
from fastnn.targets.numpy.epoch import dense_rows

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from fastnn.inputs.data import Data
    from fastnn.inputs.problem import Problem
    from fastnn.training.trainer import Trainer

_STEPS = 250  # of the grid, on each side
_MARGIN = 0.08  # of the points' extent, on each side


@explained
def decision_boundary(trainer: Trainer, X: Any, y: Any, ax: Axes | None = None) -> Axes:
    """Draw points over the region of each class, with the boundary between the regions.

    Class c has the points where its output is above those of all others, so its boundary is::

        z_c - max over j != c of z_j = 0      with z = (-p, p) for one output p

    Of one input, the height is the probability of class 1 (of several classes, a curve each), or
    the output where the loss makes no probabilities; points then lie at the height of their labels,
    or, of several classes, along the lower edge.

    Parameters
    ----------
    trainer
        A classifier of one or two inputs: softmax_cross_entropy, or a binary loss on one output.
    X, y
        Points (n, 1) or (n, 2) and their labels (n,), as for `Trainer.fit`; the region drawn is
        theirs. A point whose label is missing (`ignore_nan`) is not drawn.
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
    check_trainer(trainer, "decision_boundary")
    problem = trainer.problem
    _check_drawable(problem)
    data = check_data(problem, X, y, names=trainer.feature_names)
    points, labels = dense_points(problem, data), _labels(problem, data)
    there = np.ones(len(data), bool)
    if data.weights is not None:
        there = np.reshape(data.weights, (len(data), -1))[:, 0] > 0
    ax = axes_or_new(ax, 6.5, 4.8)
    if problem.network.inputs == 1:
        _draw_on_a_line(ax, trainer, points[there, 0], labels[there])
    else:
        _draw_in_the_plane(ax, trainer, points, labels, there)
    ax.set_xlabel(input_name(trainer, data, 0))
    if problem.network.inputs == 2:
        ax.set_ylabel(input_name(trainer, data, 1))
    ax.legend(loc="upper left", bbox_to_anchor=(1, 1))  # outside, where no point is
    return ax


def dense_points(problem: Problem, data: Data) -> np.ndarray:
    """Return all features as an array (n, inputs)."""
    return dense_rows(problem, data.X, slice(None))


def input_name(trainer: Trainer, data: Data, index: int) -> str:
    """Return what an axis calls an input: the name of its column, where that is known."""
    names = trainer.feature_names or data.names
    return names[index] if names else f"input {index}"


def _labels(problem: Problem, data: Data) -> np.ndarray:
    """Return one label a row; of rows of probabilities, the most probable."""
    if loss_row(problem.loss).targets == "classes" and data.targets.ndim == 2:
        return data.targets.argmax(axis=1)
    return data.targets.reshape(len(data)).astype(np.int64)


def _draw_on_a_line(ax: Axes, trainer: Trainer, points: np.ndarray, labels: np.ndarray) -> None:
    """Draw curves over one input, the boundaries as upright lines, and the points."""
    problem = trainer.problem
    low, high = float(points.min()), float(points.max())
    margin = _MARGIN * ((high - low) or 1.0)
    across = np.linspace(low - margin, high + margin, 4 * _STEPS + 1)
    outputs = trainer.forward(across[:, None])
    binary = loss_row(problem.loss).targets == "binary"
    probable = loss_row(problem.loss).from_logits
    if not binary:
        heights, names = trainer.predict_proba(across[:, None]), "probability"
    elif probable:
        heights, names = trainer.predict_proba(across[:, None])[:, 1:], "probability of class 1"
    else:
        heights, names = outputs, "output"
    for index, curve in enumerate(heights.T):
        shade = "black" if binary else colour(index)
        label = names if binary else f"probability of class {index}"
        ax.plot(across, curve, color=shade, linewidth=1.8, label=label, zorder=2)
    leads = _leads(problem, outputs)
    winner = leads.argmax(axis=1)
    changes = np.flatnonzero(np.diff(winner))
    ends = np.array([across[0], *(_crossing(across, leads, int(at)) for at in changes), across[-1]])
    for place in ends[1:-1]:
        ax.axvline(place, color="black", linewidth=1.2, linestyle="--", zorder=1)
    for first, last, index in zip(ends, ends[1:], winner[[0, *(changes + 1)]], strict=False):
        ax.axvspan(first, last, color=colour(int(index)), alpha=0.2, linewidth=0, zorder=0)
    size = float(np.clip(600 / np.sqrt(max(len(labels), 1)), 8, 40))
    for index in np.unique(labels):
        mine = points[labels == index]
        height = float(index) if binary else 0.0
        if binary and not probable:
            height = float(2 * index - 1)
        ax.scatter(
            mine, np.full(len(mine), height), s=size, color=colour(index), marker=marker(index),
            edgecolors="black", linewidths=0.4, label=f"class {index}", zorder=3, clip_on=False,
        )  # fmt: skip
    if binary and not probable:
        names = "output; points at -1 and 1"
    ax.set_xlim(across[0], across[-1])
    ax.set_ylabel(names)


def _crossing(across: np.ndarray, leads: np.ndarray, at: int) -> float:
    """Return where the class changes between two places, between which leads are straight."""
    new = leads[at + 1].argmax()
    before, after = leads[at, new], leads[at + 1, new]
    share = before / (before - after) if before != after else 0.5
    return float(across[at] + share * (across[at + 1] - across[at]))


def _draw_in_the_plane(
    ax: Axes, trainer: Trainer, points: np.ndarray, labels: np.ndarray, there: np.ndarray
) -> None:
    """Draw the points over the regions, with the boundary between these."""
    problem = trainer.problem
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


def _check_drawable(problem: Problem) -> None:
    """Raise `InvalidInput` for what has no boundary that can be drawn."""
    network = problem.network
    inputs = network.widths[0][0]
    if inputs not in (1, 2):
        raise InvalidInput(
            f"decision_boundary draws networks of 1 or 2 inputs, not of {inputs}; "
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
