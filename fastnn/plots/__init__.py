"""Pictures of training and of networks, drawn with Matplotlib (the extra ``fastnn[plots]``).

Every function draws on the axes given as ``ax``, or on those of a new figure, and returns them, so
that titles, limits and files are Matplotlib's own business: ``ax.figure.savefig("loss.png")``.
Matplotlib is imported at the first picture; where it is missing, that raises `MissingExtra`.
"""

from __future__ import annotations

from fastnn.plots.boundary import decision_boundary
from fastnn.plots.confusion import confusion_matrix
from fastnn.plots.curves import activation, descent, loss_curves
from fastnn.plots.images import weights

__all__ = [
    "activation",
    "confusion_matrix",
    "decision_boundary",
    "descent",
    "loss_curves",
    "weights",
]
