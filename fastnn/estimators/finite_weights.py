"""What is said of fitted weights that have been set to NaN or infinity, which no fit leaves."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from fastnn.errors import InvalidInput
from fastnn.training.scores import is_finite


def refuse_not_finite(weights: Mapping[str, np.ndarray]) -> None:
    """Raise `InvalidInput` where a weight is not finite, under the names of attributes."""
    for name, array in weights.items():
        if not is_finite(array):
            place = tuple(np.argwhere(~np.isfinite(array))[0].tolist())
            at = place if len(place) > 1 else place[0]
            raise InvalidInput(
                f"weights must be finite numbers, but {name} is {array[place]} at {at}; set it to "
                "another number, or fit again"
            )
