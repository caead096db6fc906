"""Pictures of training and of networks, drawn with Matplotlib (the extra ``fastnn[plots]``).

Every function draws on the axes given as ``ax``, or on those of a new figure, and returns them
(`animate` an animation), so that titles, limits and files are Matplotlib's own business:
``ax.figure.savefig("loss.png")``. Matplotlib is imported at the first picture; where it is missing,
that raises `MissingExtra`.
"""

from __future__ import annotations

from fastnn.plots.animation import animate
from fastnn.plots.boundary import decision_boundary
from fastnn.plots.curves import activation, descent, loss_curves, loss_function
from fastnn.plots.diagram import network
from fastnn.plots.images import weights
from fastnn.plots.outcomes import confusion_matrix
from fastnn.plots.regression import regression_line
from fastnn.plots.surface import loss_surface

__all__ = [
    "activation",
    "animate",
    "confusion_matrix",
    "decision_boundary",
    "descent",
    "loss_curves",
    "loss_function",
    "loss_surface",
    "network",
    "regression_line",
    "weights",
]
