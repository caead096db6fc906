"""The loss over two parameters, and the ways of gradient descent over it."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn.arguments import explained
from fastnn.errors import InvalidInput, number, shown, true_or_false, whole
from fastnn.graph.axes import axes_or_new, colour, pyplot
from fastnn.inputs.arrays import real_numbers
from fastnn.inputs.data import Data, check_data
from fastnn.inputs.problem import Problem, penalty_of
from fastnn.plots.subjects import check_trainer
from fastnn.targets.numpy.epoch import take
from fastnn.targets.numpy.losses import loss_of
from fastnn.targets.numpy.passes import forward
from fastnn.training.callbacks import StepCallback

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from fastnn.training.trainer import Trainer

_GRID = 51  # points on each side
_MOST_STEPS = 20_000  # of all paths together
_LEVELS = 22
_MARGIN = 0.3  # of what the paths cover, on each side

# One number among the parameters: layer, "W" or "b", and its indices there.
Place = tuple[int, str, tuple[int, ...]]


@explained
def loss_surface(
    trainer: Trainer,
    X: Any,
    y: Any,
    paths: Mapping[str, Any] | None = None,
    epochs: int = 10,
    parameters: Sequence[Sequence[Any]] | None = None,
    limits: Sequence[Sequence[float]] | None = None,
    three_d: bool = False,
    ax: Axes | None = None,
) -> Axes:
    """Draw the loss over two parameters, and the paths that descent takes over it.

    The surface is what training goes down: the mean loss over all rows and the penalty, with all
    other parameters as the trainer has them. Each path is that of a copy of the trainer from where
    it is now, a point after every update: so steps of whole batches are orthogonal to the contours
    (if the axes have one scale), and those of minibatches and single rows wander.

    Parameters
    ----------
    trainer
        Stays as it is. The paths have its optimizer, seed and order of rows; they are computed by
        the definition of each step in NumPy, whatever its target is.
    X, y
        Rows and targets, as for `Trainer.fit`.
    paths
        What to draw by its name in the legend: a batch size, or given points (n, 2). None:
        all rows at once, minibatches, and single rows. An empty dict: none.
    epochs
        How many each path has.
    parameters
        Which two: (layer, "W", input, unit) or (layer, "b", unit), from 0. None: the two that there
        are. Of a network with more, paths are those of all parameters, seen in these two.
    limits
        ((low, high), (low, high)) of the two. None: all paths and some way beyond.
    three_d
        Whether the loss is a height, in place of contours. Axes given decide it themselves: those
        with ``projection="3d"`` take heights.
    ax
        Where to draw; None makes a new figure.

    Raises
    ------
    InvalidInput
        A network of more than two parameters and no choice of two, one that does not exist, or data
        that `fit` would not take.
    Diverged
        A path left all bounds; use a smaller learning rate.
    MissingExtra
        Matplotlib is not installed.
    """
    check_trainer(trainer, "loss_surface")
    three_d = true_or_false(three_d, "three_d")
    problem = trainer.problem
    data = check_data(problem, X, y, names=trainer.feature_names)
    chosen = _chosen(trainer, parameters)
    start = np.array([_value(trainer.parameters, place) for place in chosen])
    surface = _Surface(trainer, data, chosen)
    ways = _ways(trainer, X, y, len(data), paths, whole(epochs, "epochs", 0), chosen)
    across, up = _ranges(limits, [start[None], *ways.values()])
    heights = np.array([[surface.at((u, v)) for u in across] for v in up])

    if ax is None and three_d:
        figure = pyplot().figure(figsize=(7, 5.5), layout="constrained")
        ax = figure.add_subplot(projection="3d")
    ax = axes_or_new(ax, 6.8, 5)
    solid = hasattr(ax, "zaxis")
    if three_d and not solid:
        raise InvalidInput(
            'three_d needs axes made with projection="3d"; give such ones, or leave ax out'
        )
    penalised = any(l1 or l2 for l1, l2 in problem.penalties)
    what = "loss + penalty" if penalised else "loss"
    finite = np.ma.masked_invalid(heights)
    drawing: Any = ax
    if solid:
        grid = np.meshgrid(across, up)
        drawing.plot_surface(*grid, finite, cmap="viridis", alpha=0.55, rcount=_GRID, ccount=_GRID)
        drawing.set_zlabel(what)
    else:
        # Closer together near the lowest value, where descent slows down.
        levels = finite.min() + np.ptp(finite) * np.linspace(0, 1, _LEVELS) ** 2
        if np.all(np.diff(levels) > 0):
            filled = ax.contourf(across, up, finite, levels, cmap="viridis", alpha=0.75)
            ax.contour(across, up, finite, levels, colors="black", linewidths=0.3, alpha=0.5)
            ax.figure.colorbar(filled, ax=ax, label=what)
    for index, (label, way) in enumerate(ways.items()):
        places = way.T
        if solid:
            places = np.vstack((places, [surface.at(point) for point in way]))
        # The noisiest first, so that the smooth ones lie on top.
        order = 3 + len(ways) - index
        ax.plot(
            *places, ".-", color=colour((3, 5, 4, 1, 6)[index % 5]), linewidth=1.3, markersize=3,
            label=f"{label}, {len(way) - 1} updates", zorder=order,
        )  # fmt: skip
    begin = [*start, surface.at(start)] if solid else [*start]
    ax.plot(
        *[[each] for each in begin], "o", markerfacecolor="white", color="black", label="start",
        zorder=20,
    )  # fmt: skip
    names = [_name(trainer, place) for place in chosen]
    ax.set_xlabel(names[0])
    ax.set_ylabel(names[1])
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=2)  # below, where no path is
    return ax


def _chosen(trainer: Trainer, asked: Sequence[Sequence[Any]] | None) -> tuple[Place, Place]:
    """Return the two parameters to draw over, or raise `InvalidInput`."""
    found: list[Place] = []
    layers = trainer.network.parametric
    for layer, arrays in enumerate(trainer.parameters):
        for letter, array in zip("Wb", arrays, strict=False):
            if letter == "W" or getattr(layers[layer], "bias", True):
                found += [(layer, letter, place) for place in np.ndindex(array.shape)]
    if asked is None:
        if len(found) != 2 or trainer.network.other_kinds:
            raise InvalidInput(
                f"loss_surface draws over two parameters, and this network has {len(found)}; "
                'choose two, such as parameters=[(0, "W", 0, 0), (0, "b", 0)]'
            )
        return found[0], found[1]
    if not isinstance(asked, (list, tuple)) or len(asked) != 2:
        raise InvalidInput(f"parameters must be two of them, not {shown(asked)}")
    places: list[Place] = []
    for each in asked:
        place = (each[0], each[1], tuple(each[2:])) if isinstance(each, (tuple, list)) else each
        if place not in found or trainer.network.other_kinds:
            raise InvalidInput(
                f"parameters has {shown(each)}, which is none of the Dense network's: (layer, "
                f'"W", input, unit) or (layer, "b", unit), up to {found[-1]}'
            )
        places.append(place)
    if places[0] == places[1]:
        raise InvalidInput(f"parameters has {shown(asked[0])} twice; choose two that differ")
    return places[0], places[1]


def _value(parameters: list[tuple[np.ndarray, ...]], place: Place) -> float:
    layer, letter, index = place
    return float(parameters[layer]["Wb".index(letter)][index])


def _name(trainer: Trainer, place: Place) -> str:
    """Return what an axis calls a parameter."""
    layer, letter, index = place
    indices = ", ".join(map(str, index))
    of = "" if len(trainer.network.parametric) == 1 else f" of layer {layer}"
    if layer == 0 and letter == "W" and trainer.feature_names:
        return f"W[{indices}]{of}, of {trainer.feature_names[index[0]]}"
    return f"{letter}[{indices}]{of}"


class _Surface:
    """Mean loss and penalty over two of the parameters, in float64."""

    def __init__(self, trainer: Trainer, data: Data, chosen: tuple[Place, Place]) -> None:
        self.problem: Problem = trainer.problem.changed(dtype="float64")
        self.batch = take(self.problem, data, slice(None))
        self.parameters = [
            tuple(np.array(array, np.float64) for array in layer) for layer in trainer.parameters
        ]
        self.chosen = chosen

    @np.errstate(all="ignore")
    def at(self, point: Any) -> float:
        """Return the height at values of the two."""
        for (layer, letter, index), value in zip(self.chosen, point, strict=True):
            self.parameters[layer]["Wb".index(letter)][index] = value
        outputs = forward(self.problem, self.parameters, self.batch.X)[-1].A
        loss = loss_of(self.problem, outputs, self.batch.targets, self.batch.weights)
        return loss + penalty_of(self.problem, self.parameters)


def _ways(
    trainer: Trainer,
    X: Any,
    y: Any,
    rows: int,
    asked: Mapping[str, Any] | None,
    epochs: int,
    chosen: tuple[Place, Place],
) -> dict[str, np.ndarray]:
    """Return the points (n, 2) of each path by its name."""
    if asked is None:
        some = max(1, min(16, rows // 4))
        # Of so few rows that two are the same, one.
        named = {some: f"minibatches of {some}", 1: "single rows", rows: "all rows at once"}
        asked = {name: size for size, name in sorted(named.items(), reverse=True)}
    if not isinstance(asked, Mapping):
        raise InvalidInput(
            f"paths must be a dict of batch sizes or points by their names, not {shown(asked)}"
        )
    points = {
        name: real_numbers(value, f"path {name!r}")
        for name, value in asked.items()
        if isinstance(value, (list, tuple, np.ndarray))
    }
    sizes = {name: value for name, value in asked.items() if name not in points}
    for name, size in sizes.items():
        whole(size, f"the batch size of path {name!r}", 1)
    steps = epochs * sum(-(-rows // size) for size in sizes.values())
    if steps > _MOST_STEPS:
        raise InvalidInput(
            f"these paths have {steps} updates, above {_MOST_STEPS}; take fewer epochs or rows, "
            "larger batches, or fewer paths"
        )
    ways: dict[str, np.ndarray] = {}
    for name, value in asked.items():
        if name in sizes:
            ways[name] = _descended(trainer, X, y, int(value), epochs, chosen)
            continue
        way = points[name].astype(np.float64)
        if way.ndim != 2 or way.shape[1] != 2 or not np.isfinite(way).all():
            raise InvalidInput(
                f"path {name!r} must be a batch size or finite points (n, 2), not of shape "
                f"{way.shape}"
            )
        ways[name] = way
    return ways


def _descended(
    trainer: Trainer, X: Any, y: Any, size: int, epochs: int, chosen: tuple[Place, Place]
) -> np.ndarray:
    """Return the two parameters of a copy before training and after every update, (n, 2)."""
    mine = copy.copy(trainer)
    mine.target = "numpy"
    mine.set(batch_size=size)
    points = [[_value(mine.parameters, place) for place in chosen]]

    def look(view: Any, step: int, loss: float) -> None:
        points.append([_value(view.parameters, place) for place in chosen])

    callback = StepCallback(look, every=1)
    # What a short training has not learned is no news in a picture of it.
    mine._fit_in_turn(lambda text: None, X, y, epochs, callbacks=callback, progress=False)
    return np.array(points)


def _ranges(
    limits: Sequence[Sequence[float]] | None, drawn: list[np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the values of the two parameters at the points of the grid."""
    if limits is None:
        points = np.concatenate(drawn)
        low, high = points.min(axis=0), points.max(axis=0)
        margin = _MARGIN * np.where(high > low, high - low, 1.0)
        pairs = [*zip(low - margin, high + margin, strict=True)]
    else:
        pairs = []
        if not isinstance(limits, (list, tuple)) or len(limits) != 2:
            raise InvalidInput(f"limits must be ((low, high), (low, high)), not {shown(limits)}")
        for pair in limits:
            if not isinstance(pair, (list, tuple)) or len(pair) != 2:
                raise InvalidInput(f"limits has {shown(pair)}, which is no (low, high)")
            first, last = (number(each, "a limit") for each in pair)
            if first >= last:
                raise InvalidInput(f"limits must be (low, high), not ({first:g}, {last:g})")
            pairs.append((first, last))
    across, up = (np.linspace(first, last, _GRID) for first, last in pairs)
    return across, up
