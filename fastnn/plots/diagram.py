"""The diagram of a network: its units, its weights, and what one row comes to in them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastnn.arguments import explained
from fastnn.errors import InvalidInput
from fastnn.graph.axes import axes_or_new
from fastnn.inputs.frames import feature_names
from fastnn.network import Dense
from fastnn.plots.subjects import check_trainer
from fastnn.rules.table import loss_row

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from fastnn.network import Network
    from fastnn.training.trainer import Trainer

_MOST_UNITS = 10  # of a layer that are drawn; of more, the first and the last ones
_MOST_WEIGHTS, _MOST_TARGETS = 30, 5  # between two layers, and units, that get numbers on lines
_ACROSS, _RADIUS = 3.0, 0.3  # between layers, and of a unit
_APART = 1.4  # between units
_PAPER = {"facecolor": "white", "edgecolor": "none", "pad": 0.6, "alpha": 0.75}
_FORWARD, _BACKWARD = "#0072B2", "#D55E00"


@explained
def network(trainer: Trainer, x: Any = None, y: Any = None, ax: Axes | None = None) -> Axes:
    """Draw the units and weights of a network, with what one row comes to on its way.

    In a unit stands its output a, beside it ``z = x W + b``, and on the way back dz, the
    derivative of the row's loss by z; beside a line its weight and dW. That by b is dz. Lines are
    blue for weights above 0 and orange for those below, the wider the larger they are.

    Parameters
    ----------
    trainer
        Whose network: of Dense layers; dropout does nothing here.
    x
        One row (inputs,). None: weights and biases alone.
    y
        Its target, as `Trainer.fit` takes it: derivatives are drawn too. They are those of the loss
        of this row and of the penalty l2.
    ax
        Where to draw; None makes a new figure.

    Raises
    ------
    InvalidInput
        A network with other layers than Dense and Dropout, a row or a target that does not fit,
        or y without x.
    MissingExtra
        Matplotlib is not installed.
    """
    check_trainer(trainer, "network")
    described, parameters = trainer.network, trainer.parameters
    if described.other_kinds:
        raise InvalidInput(
            "network draws Dense layers, and this network has "
            f"{' and '.join(described.other_kinds)}"
        )
    if y is not None and x is None:
        raise InvalidInput("y is the target of the row x, and there is no x; give both")
    row = None if x is None else _of_one_row(trainer, x, y)
    counts = [described.widths[0][0], *(units for _, units in described.widths)]
    places = [_places(count) for count in counts]
    biased = [dense.bias for dense in described.dense]
    highest = max(min(count, _MOST_UNITS + 1) for count in counts)
    ax = axes_or_new(ax, 1 + 2.3 * len(counts), 1.4 + 0.95 * highest)
    for layer, arrays in enumerate(parameters):
        _draw_weights(ax, layer, arrays[0], places, row)
    for column, count in enumerate(counts):
        _draw_units(ax, column, count, places[column], parameters, row, biased)
    _name_layers(ax, trainer, places, row)
    ax.set_aspect("equal")
    ax.set_xlim(-1.3, _ACROSS * (len(counts) - 1) + 1.3)
    half = _APART * (highest - 1) / 2
    ax.set_ylim(-half - 1.0, half + 1.2)
    ax.set_axis_off()
    return ax


def _places(count: int) -> dict[int, float]:
    """Return the height of each unit that is drawn, from the top."""
    half = _MOST_UNITS // 2
    shown = list(range(count))
    rows: list[int | None] = [*shown]
    if count > _MOST_UNITS:
        rows = [*shown[:half], None, *shown[-half:]]  # None: the dots
    middle = (len(rows) - 1) / 2
    return {unit: _APART * (middle - place) for place, unit in enumerate(rows) if unit is not None}


def _write(ax: Axes, x: float, y: float, text: str, colour: str, gid: str, **style: Any) -> None:
    usual: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": "small", "zorder": 5}
    ax.text(x, y, text, color=colour, gid=gid, **(usual | style))


class _Row(NamedTuple):
    """What a row comes to in each Dense layer, and the derivatives of its loss, if it has a target.

    x (inputs,); z, a and dz (units,) and dW (inputs, units) of each layer.
    """

    x: np.ndarray
    z: list[np.ndarray]
    a: list[np.ndarray]
    loss: float | None
    dz: list[np.ndarray]
    dW: list[np.ndarray]


def _as_table(x: Any) -> Any:
    """Return a row as a table of one, with the names of its columns where it has them."""
    if hasattr(x, "to_frame") and hasattr(x, "index"):  # as pandas takes a row out of a frame
        if all(isinstance(name, str) for name in x.index):
            return x.to_frame().T
    elif feature_names(x, "x") is not None:
        return x
    return np.reshape(np.asarray(x), (1, -1))


def _of_one_row(trainer: Trainer, x: Any, y: Any) -> _Row:
    X = _as_table(x)
    values = zip(trainer.problem.network.layers, trainer.activations(X), strict=True)
    dense = [each for layer, each in values if isinstance(layer, Dense)]
    way = np.asarray(X)[0], [each.z[0] for each in dense], [each.a[0] for each in dense]
    if y is None:
        return _Row(*way, None, [], [])
    found = trainer.gradients(X, np.asarray(y)[None])
    return _Row(
        *way, found.loss, [each[0] for each in found.dz], [each.dW for each in found.layers]
    )


def _draw_weights(
    ax: Axes, layer: int, W: np.ndarray, places: list[dict[int, float]], row: _Row | None
) -> None:
    """Draw the lines into one layer, with their weights where they can be read."""
    largest = float(np.abs(W).max()) or 1.0
    left, right = _ACROSS * layer + _RADIUS, _ACROSS * (layer + 1) - _RADIUS
    before, after = places[layer], places[layer + 1]
    written = len(before) * len(after) <= _MOST_WEIGHTS and len(after) <= _MOST_TARGETS
    for i, low in before.items():
        for j, high in after.items():
            w = float(W[i, j])
            colour, width = _FORWARD if w >= 0 else "#E69F00", 0.4 + 2.2 * abs(w) / largest
            ax.plot(
                (left, right), (low, high), color=colour, linewidth=width, alpha=0.55, zorder=1,
                gid=f"line {layer} {i} {j}",
            )  # fmt: skip
            if not written:
                continue
            # Here the heights of all labels are evenly apart, so that none lies on another.
            share = 1 / (len(after) + 1)
            x, y = left + share * (right - left), low + share * (high - low)
            style: dict[str, Any] = {"fontsize": "x-small", "bbox": _PAPER}
            _write(ax, x, y, f"{w:.3g}", "black", f"W {layer} {i} {j}", va="bottom", **style)
            if row is not None and row.dW:
                text = f"{row.dW[layer][i, j]:.3g}"
                _write(ax, x, y, text, _BACKWARD, f"dW {layer} {i} {j}", va="top", **style)


def _draw_units(
    ax: Axes,
    column: int,
    count: int,
    places: dict[int, float],
    parameters: list[tuple[np.ndarray, ...]],
    row: _Row | None,
    biased: list[bool],
) -> None:
    """Draw the units of one column; column 0 are the inputs."""
    from matplotlib.patches import Circle

    x, layer = _ACROSS * column, column - 1
    values = None if row is None else row.x if layer < 0 else row.a[layer]
    for unit, y in places.items():
        circle = Circle((x, y), _RADIUS, facecolor="white", edgecolor="black", zorder=3)
        circle.set_gid(f"unit {layer} {unit}")
        ax.add_patch(circle)
        if values is not None:
            name = f"x {unit}" if layer < 0 else f"a {layer} {unit}"
            _write(ax, x, y, f"{values[unit]:.3g}", _FORWARD, name)
        if layer < 0:
            continue
        if biased[layer]:
            bias, over = f"b {parameters[layer][1][unit]:.3g}", y + _RADIUS + 0.14
            _write(ax, x, over, bias, "black", f"b {layer} {unit}", fontsize="x-small")
        under = y - _RADIUS - 0.14
        if row is not None:
            text = f"z {row.z[layer][unit]:.3g}"
            _write(ax, x, under, text, _FORWARD, f"z {layer} {unit}", fontsize="x-small")
        if row is not None and row.dz:
            text = f"dz {row.dz[layer][unit]:.3g}"
            _write(ax, x, under - 0.2, text, _BACKWARD, f"dz {layer} {unit}", fontsize="x-small")
    if len(places) < count:
        _write(ax, x, 0, "\u22ee", "black", f"more {layer}", fontsize="x-large")


def _name_layers(
    ax: Axes, trainer: Trainer, places: list[dict[int, float]], row: _Row | None
) -> None:
    """Write what the columns, the inputs and the colours are."""
    from matplotlib.lines import Line2D

    described: Network = trainer.network
    titles = ["inputs"]
    for layer, dense in enumerate(described.parametric):
        assert isinstance(dense, Dense)
        titles.append(f"layer {layer}: {str(dense.activation):.24}")
    for column, title in enumerate(titles):
        top = max(places[column].values()) + _RADIUS + 0.5
        _write(ax, _ACROSS * column, top, title, "0.3", f"title {column}", fontsize="small")
    names = trainer.feature_names
    for unit, y in places[0].items():
        name = names[unit] if names else f"input {unit}"
        _write(ax, -_RADIUS - 0.1, y, name, "0.3", f"name {unit}", ha="right", fontsize="x-small")
    handles = [Line2D([], [], color="black", label="W, b")]
    if row is not None:
        handles.append(Line2D([], [], color=_FORWARD, label="forward: z, and a in the units"))
    if row is not None and row.loss is not None:
        handles.append(Line2D([], [], color=_BACKWARD, label="back: dz (and so db), dW"))
        loss = trainer.problem.loss
        name = loss if isinstance(loss, str) else loss_row(loss).name
        ax.set_title(f"{name:.40} of this row: {row.loss:.6g}")
    ax.legend(
        handles=handles, loc="upper center", bbox_to_anchor=(0.5, 0.0), ncols=3, frameon=False,
        fontsize="small",
    )  # fmt: skip
