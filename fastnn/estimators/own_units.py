"""Losses that a fit with `standardize` has trained with, for targets in their own units."""

from __future__ import annotations

import sys
from typing import Any

from fastnn.graph import variables
from fastnn.graph.custom import CustomLoss
from fastnn.graph.expression import as_expression, build
from fastnn.inputs.scaling import Scaling
from fastnn.interchange.formulas import translated
from fastnn.losses import BY_NAME, EpsilonInsensitive, Huber

_LARGEST = sys.float_info.max


def in_own_units(loss: Any, scaling: Scaling | None) -> Any:
    """Return what `loss` of scaled targets and outputs is of those in their own units.

    With y = scale y' + mean, l(p', y') is that of p and y, but for a factor: delta and epsilon are
    scale times as large, and a formula has (p - mean) / scale and (y - mean) / scale in it.

    Parameters
    ----------
    loss
        As `fastnn.Trainer.loss` has it.
    scaling
        Of the targets. None: the loss is of targets in their own units already. Of several outputs,
        for which a loss has one delta, it is times the mean scale, and formulas stay as they are.
    """
    if scaling is None:
        return loss
    scale = float(scaling.scale.mean())
    known = BY_NAME.get(loss, loss) if isinstance(loss, str) else loss
    if isinstance(known, Huber):
        return Huber(min(known.delta * scale, _LARGEST))
    if isinstance(known, EpsilonInsensitive):
        return type(known)(min(known.epsilon * scale, _LARGEST))
    if isinstance(known, CustomLoss) and len(scaling.mean) == 1:
        mean, names = float(scaling.mean[0]), known.expression.names
        inputs = {each.node.name: (each - mean) / scale for each in variables(" ".join(names))}
        formula = translated(
            known.expression, inputs, as_expression, lambda name, values: build(name, *values)
        )
        return CustomLoss(type(formula)(formula.node, names))
    return loss
