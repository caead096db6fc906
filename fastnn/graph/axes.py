"""Matplotlib, imported when something is drawn, and the colours and markers of all drawings.

They stay apart for colour-blind readers too, and in grey.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastnn.errors import InvalidInput, importing, shown

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def pyplot() -> Any:
    """Return the module `matplotlib.pyplot`.

    Raises
    ------
    MissingExtra
        Matplotlib is not installed.
    """
    with importing("drawing needs Matplotlib, which", 'pip install "fastnn[plots]"'):
        from matplotlib import pyplot
    return pyplot


def axes_or_new(ax: Axes | None, width: float, height: float) -> Axes:
    """Return `ax`, or for None the axes of a new figure of this size in inches.

    Raises
    ------
    InvalidInput
        Something else in the place of axes, such as a figure or an array of several.
    MissingExtra
        Matplotlib is not installed.
    """
    module = pyplot()
    if ax is None:
        ax = module.subplots(figsize=(width, height), layout="constrained")[1]
    if not isinstance(ax, module.Axes):
        raise InvalidInput(
            f"ax must be axes of Matplotlib, such as plt.subplots()[1], not {shown(ax):.80}; of a "
            "figure of several, one of them"
        )
    return ax


# Okabe & Ito 2008, "Color Universal Design"; black, which is for outlines, is left out.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#F0E442")
MARKERS = ("o", "^", "s", "D", "v", "P", "X")


def colour(index: int) -> str:
    """Return the colour of a curve or a class; beyond the last they begin anew."""
    return COLOURS[index % len(COLOURS)]


def marker(index: int) -> str:
    """Return the marker of a class; classes that share a colour have different ones."""
    return MARKERS[(index + index // len(COLOURS)) % len(MARKERS)]
