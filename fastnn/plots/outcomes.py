"""Which classes are taken for which others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn.arguments import explained
from fastnn.errors import InvalidInput
from fastnn.graph.axes import axes_or_new

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MOST_WRITTEN = 20  # classes up to which the counts are written into the cells
_MOST_CLASSES = 2_000
_FEW = 6  # classes up to which zeros are written too


@explained
def confusion_matrix(y_true: Any, y_predicted: Any, ax: Axes | None = None) -> Axes:
    """Draw how many rows of each class are predicted as each class.

    Cell (t, p) has the count of rows with label t and prediction p; its shade is the share of
    class t. What is right lies on the diagonal.

    Parameters
    ----------
    y_true, y_predicted
        Labels of one shape (n,), n >= 1: class indices from 0, or strings or booleans, whose
        classes are those that are there, in ascending order.
    ax
        Where to draw; None makes a new figure.

    Raises
    ------
    InvalidInput
        Other arrays than these.
    MissingExtra
        Matplotlib is not installed.
    """
    true, predicted = _labels(y_true, "y_true"), _labels(y_predicted, "y_predicted")
    if len(true) != len(predicted):
        raise InvalidInput(
            f"y_true has {len(true)} labels but y_predicted {len(predicted)}; give one for each row"
        )
    names: list[str] = []
    if true.dtype.kind not in "iu" or predicted.dtype.kind not in "iu":
        found, places = np.unique(
            np.concatenate([true, predicted]).astype(str), return_inverse=True
        )
        names, true, predicted = found.tolist(), places[: len(true)], places[len(true) :]
    classes = len(names) or 1 + int(max(true.max(), predicted.max()))
    if classes > _MOST_CLASSES:
        raise InvalidInput(
            f"the labels make {classes} classes, more than the {_MOST_CLASSES} that can be drawn; "
            "number them anew, such as with numpy.unique(y, return_inverse=True)[1]"
        )
    counts = np.bincount(classes * true + predicted, minlength=classes**2)
    counts = counts.reshape(classes, classes)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)

    side = float(np.clip(2.5 + 0.4 * classes, 4, 9))
    ax = axes_or_new(ax, side + 0.8, side)
    image = ax.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    if classes <= _MOST_WRITTEN:
        ax.set_xticks(range(classes), names or None)
        ax.set_yticks(range(classes), names or None)
        for (row, column), count in np.ndenumerate(counts):
            if count or classes <= _FEW:
                ink = "white" if shares[row, column] > 0.5 else "black"
                text = str(count)
                size = "medium" if classes <= _FEW else "small"
                ax.text(column, row, text, ha="center", va="center", color=ink, fontsize=size)
    ax.figure.colorbar(image, ax=ax, label="share of the true class", fraction=0.046)
    ax.set_xlabel("predicted class")
    ax.set_ylabel("true class")
    ax.set_title(f"{np.trace(counts)} of {len(true)} right")
    return ax


def _labels(values: Any, what: str) -> np.ndarray:
    """Return `values` as int64 (n,) or labels of another kind, or raise `InvalidInput`."""
    try:
        found = np.asarray(values)
    except ValueError:  # ragged
        found = np.empty((0, 0))
    named = found.dtype.kind in "UTb" or (
        found.dtype == object and all(isinstance(value, str) for value in found.flat)
    )
    if (found.dtype.kind not in "iu" and not named) or found.ndim != 1 or not len(found):
        raise InvalidInput(
            f"{what} must be labels of shape (n,), n >= 1, class indices or strings, not "
            f"{found.dtype} of shape {found.shape}; predict gives them"
        )
    if named:
        return found
    if found.min() < 0:
        row = int(found.argmin())
        raise InvalidInput(f"{what} must be class indices from 0; row {row} has {found[row]}")
    # Those that are too large for int64 are more classes than can be drawn.
    return np.minimum(found.astype(np.uint64), 2**31).astype(np.int64)
