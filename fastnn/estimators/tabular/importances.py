"""Which columns predictions rest on: the rise of the loss where one is permuted (Breiman 2001)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fastnn.tabular.encodings import Coded
from fastnn.tabular.fields import Fields

_TIMES = 3


def importances(fields: Fields, coded: Coded, loss: Callable[[Coded], float]) -> np.ndarray:
    """Return how much the loss rises where the values of each column change rows, of sum 1.

    Parameters
    ----------
    fields
        What the columns are.
    coded
        Some rows.
    loss
        Of rows like these, in their order.

    Returns
    -------
    ndarray
        (columns,), at least 0; 0 for a column that is not used, or that makes predictions worse.
    """
    generator = np.random.default_rng(0)
    base, found = loss(coded), []
    number = code = 0
    for field in fields.fields:
        rises = []
        for _ in range(_TIMES if field.width or field.kind == "category" else 0):
            order = generator.permutation(len(coded))
            numbers, codes = coded.numbers.copy(), coded.codes.copy()
            if field.kind == "category":
                codes[:, code] = codes[order, code]
            else:
                columns = slice(number, number + field.width)
                numbers[:, columns] = numbers[order, columns]
            rises.append(loss(Coded(numbers, codes)) - base)
        number += field.width
        code += field.kind == "category"
        found.append(max(0.0, float(np.mean(rises))) if rises else 0.0)
    total = sum(found)
    return np.array(found) / (total or 1.0)
