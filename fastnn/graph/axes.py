"""Matplotlib, imported when something is drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastnn.errors import MissingExtra

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def pyplot() -> Any:
    """Return the module `matplotlib.pyplot`.

    Raises
    ------
    MissingExtra
        Matplotlib is not installed.
    """
    try:
        from matplotlib import pyplot
    except ImportError as error:
        raise MissingExtra(
            f"drawing needs Matplotlib, which cannot be imported here ({error}); "
            'install it with: pip install "fastnn[plots]"'
        ) from error
    return pyplot


def axes_or_new(ax: Axes | None, width: float, height: float) -> Axes:
    """Return `ax`, or for None the axes of a new figure of this size in inches.

    Raises
    ------
    MissingExtra
        Matplotlib is not installed.
    """
    module = pyplot()
    if ax is None:
        ax = module.subplots(figsize=(width, height), layout="constrained")[1]
    return ax
