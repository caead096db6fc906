"""Penalties of linear models by which weights would grow: refused before they are trained."""

from __future__ import annotations

import math
from typing import Any

from fastnn.errors import InvalidInput

_HARMLESS = 16.0  # logarithm of what weights may grow by, of which later steps leave nothing


def check_decay(model: Any, l2: float, done: float) -> None:
    """Raise where steps would take so much of weights away that these turn round, and grow.

    scikit-learn's steps leave none then. Where rates fall so fast that it does no harm, both come
    to the same.

    Parameters
    ----------
    model
        A linear model that trains by plain SGD, with its parameters.
    l2
        By which a step multiplies weights by 1 - eta l2.
    done
        Updates done before.

    Raises
    ------
    InvalidInput
        Weights would become huge.
    """
    first, power = float(model.eta0) * l2, float(model.power_t)
    if first <= 2.0 or model.learning_rate not in ("invscaling", "adaptive"):
        return
    if model.learning_rate == "invscaling" and power > 0.0:
        growing = math.exp(min(700.0, math.log(first / 2.0) / power)) - done  # so many steps
        now = first / (1.0 + done) ** power
        if growing <= 0.0 or growing * math.log(now - 1.0) < _HARMLESS:
            return
    raise InvalidInput(
        f"alpha={model.alpha!r} with eta0={model.eta0!r} takes more than twice of each weight away "
        f"in a step, so that weights turn round and grow; take eta0={1.0 / l2:g} or less, a "
        "smaller alpha, or learning_rate='optimal' or 'constant', of which no step leaves less "
        "than no weight"
    )
