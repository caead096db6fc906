"""The weights into each unit of a layer, as images."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn.arguments import explained
from fastnn.errors import InvalidInput, whole
from fastnn.graph.axes import axes_or_new
from fastnn.network import Dense
from fastnn.plots.subjects import check_trainer

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from fastnn.training.trainer import Trainer

_MOST_UNITS = 64  # drawn where the caller does not choose
_GAP = 0.12  # between images side by side, of their width
_LINE = 0.28  # between rows of images, of their height; a number must find room there


@explained
def weights(
    trainer: Trainer,
    layer: int = 0,
    shape: tuple[int, int] | None = None,
    units: Sequence[int] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw the weights into each unit as an image: one image a unit, all on one scale.

    Column u of W (inputs, units) becomes an image of `shape`, rows from the top; white is 0.

    Parameters
    ----------
    trainer
        Whose weights.
    layer
        Which Dense layer, from 0.
    shape
        (rows, columns) of an image, such as (28, 28) for MNIST; None: a square.
    units
        Which units; None: all, but at most the first 64.
    ax
        Where to draw; None makes a new figure.

    Raises
    ------
    InvalidInput
        A layer or a unit that does not exist, or a shape that does not hold the layer's inputs.
    MissingExtra
        Matplotlib is not installed.
    """
    check_trainer(trainer, "weights")
    pairs = zip(trainer.network.parametric, trainer.parameters, strict=True)
    found = [arrays[0] for kind, arrays in pairs if isinstance(kind, Dense)]
    if whole(layer, "layer", 0) >= len(found):
        raise InvalidInput(f"layer must be 0 to {len(found) - 1}, not {layer}")
    W = found[layer]
    rows, columns = _image_shape(shape, W.shape[0])
    shown = _shown(units, W.shape[1])

    across = min(math.ceil(math.sqrt(len(shown) * 1.3)), len(shown))  # wider than high
    down = math.ceil(len(shown) / across)
    height, width = rows + math.ceil(_LINE * rows), columns + math.ceil(_GAP * columns)
    mosaic = np.full(((down - 1) * height + rows, (across - 1) * width + columns), np.nan)
    ax = axes_or_new(ax, 7, 1 + 5.6 * len(mosaic) / mosaic.shape[1])
    for place, unit in enumerate(shown):
        top, left = height * (place // across), width * (place % across)
        mosaic[top : top + rows, left : left + columns] = W[:, unit].reshape(rows, columns)
    limit = float(np.nanmax(np.abs(mosaic))) or 1.0
    image = ax.imshow(mosaic, cmap="RdBu_r", vmin=-limit, vmax=limit, interpolation="nearest")
    for place, unit in enumerate(shown):
        top, left = height * (place // across), width * (place % across)
        ax.text(left - 0.5, top - 0.6, str(unit), fontsize="x-small", va="bottom", color="0.25")
    ax.set_axis_off()
    ax.figure.colorbar(image, ax=ax, label="weight", fraction=0.046, pad=0.02)
    some = "" if len(shown) == W.shape[1] else f", {len(shown)} of {W.shape[1]} units"
    ax.set_title(f"weights into each unit of layer {layer}{some}", pad=14)
    return ax


def _image_shape(shape: Any, inputs: int) -> tuple[int, int]:
    """Return (rows, columns) of an image of so many inputs, or raise `InvalidInput`."""
    if shape is None:
        side = math.isqrt(inputs)
        if side * side != inputs:
            raise InvalidInput(
                f"the layer has {inputs} inputs, which make no square; give shape=(rows, columns)"
            )
        return side, side
    if not isinstance(shape, (tuple, list)) or len(shape) != 2:
        raise InvalidInput(f"shape must be (rows, columns), not {shape!r}")
    rows, columns = (whole(side, "a side of shape", 1) for side in shape)
    if rows * columns != inputs:
        raise InvalidInput(
            f"shape {rows} x {columns} has {rows * columns} pixels, but the layer {inputs} inputs"
        )
    return rows, columns


def _shown(units: Sequence[int] | None, count: int) -> list[int]:
    """Return which of `count` units to draw, or raise `InvalidInput`."""
    if units is None:
        return list(range(min(count, _MOST_UNITS)))
    if not isinstance(units, Iterable) or isinstance(units, str):
        raise InvalidInput(f"units must be a list of some of 0 to {count - 1}, not {units!r:.80}")
    units = list(units)
    found = [whole(unit, "a unit", 0) for unit in units]
    if not found or max(found) >= count:
        raise InvalidInput(f"units must be some of 0 to {count - 1}, not {units!r}")
    return found
